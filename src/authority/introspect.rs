//! Introspection (RFC 7662) and its kin: judges a token that somebody brought, for software that
//! knows nothing of jeton. The same evaluator as Validate, for any audience of the caller's.

use super::{Authority, Caller, Error, issue::check_audiences, issue::check_scopes};
use crate::{
    state::{Accepted, Permission, Snapshot, Verdict},
    token::Thumbprint,
};

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct BearerRequest {
    /// Text that nobody has looked at.
    pub token: String,
    /// Of those of the caller's registration, the audiences to accept; empty: all of them.
    pub audiences: Vec<String>,
    /// Scopes that the token must have.
    pub scopes: Vec<String>,
    /// Of the certificate that the bearer presented.
    pub certificate_thumbprint: Option<Thumbprint>,
}

impl Authority {
    /// Judges one token by what the caller is registered for; `*` accepts any audience (V8).
    pub async fn judge_bearer(
        &self,
        snapshot: Snapshot,
        caller: &Caller,
        request: &BearerRequest,
    ) -> Result<Verdict, Error> {
        caller.must(Permission::Validate)?;
        check_scopes(&request.scopes)?;
        check_audiences(&request.audiences)?;
        caller.must_cover_audiences(&request.audiences)?;
        let verdict = self.judge_brought(&snapshot, caller, request);
        // Minted by a replica that knows more: one look, then what the token claims counts for nothing.
        let verdict = if verdict.token_is_ahead() {
            let snapshot = self.renewed_snapshot().await?;
            let caller = caller.again(&snapshot)?;
            caller.must(Permission::Validate)?;
            caller.must_cover_audiences(&request.audiences)?;
            self.judge_brought(&snapshot, &caller, request)
        } else {
            verdict
        };
        self.metrics.validated(verdict.status.place());
        Ok(verdict)
    }

    fn judge_brought(&self, snapshot: &Snapshot, caller: &Caller, request: &BearerRequest) -> Verdict {
        let audiences = match (request.audiences.as_slice(), caller.client.covers_any_audience()) {
            ([], true) => None,
            ([], false) => Some(caller.client.audiences.as_slice()),
            (named, _) => Some(named),
        };
        let accepted =
            Accepted { audiences, scopes: &request.scopes, thumbprint: request.certificate_thumbprint };
        self.judge(&snapshot.root).evaluate(&request.token, accepted, || self.clock.now_ms())
    }
}
