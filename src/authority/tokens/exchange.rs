//! Token exchange (RFC 8693): the state of a token of ours that is presented as a subject or an actor.

use std::sync::Arc;

use crate::{
    authority::Authority,
    state::{Accepted, KnownToken, Snapshot, Status},
};
use jeton_token::Thumbprint;

impl Authority {
    /// The token, if it is ACTIVE in this snapshot; otherwise its status. `thumbprint`: of the certificate that the caller
    /// presented, to which it may be bound.
    pub fn exchangeable(
        &self,
        snapshot: &Snapshot,
        text: &str,
        thumbprint: Option<Thumbprint>,
    ) -> Result<Arc<KnownToken>, Status> {
        let accepted = Accepted { audiences: None, scopes: &[], thumbprint };
        let verdict = self.judge(&snapshot.root).evaluate(text, accepted, || self.clock.now_ms());
        verdict.token.filter(|_| verdict.status == Status::Active).ok_or(verdict.status)
    }
}
