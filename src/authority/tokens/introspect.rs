//! Introspection (RFC 7662) and `ext_authz`: judge a token that a bearer presented, for software that knows nothing of
//! jeton. The same evaluator as for Validate, with any of the caller's audiences.

use crate::{
    authority::{
        Authority, Caller, Error, Invalid,
        tokens::form::{check_audiences, check_scopes},
    },
    state::{Accepted, Permission, Snapshot, Verdict},
};
use jeton_token::Thumbprint;

/// A request of introspection or `ext_authz`.
#[derive(Clone, Debug, Default)]
pub struct BearerRequest {
    /// Unchecked text.
    pub token: String,
    /// Audiences to accept, among those of the caller's registration; empty: all of them.
    pub audiences: Vec<String>,
    /// Scopes that the token must have.
    pub scopes: Vec<String>,
    /// The thumbprint of the certificate that the bearer presented.
    pub certificate_thumbprint: Option<Thumbprint>,
}

impl BearerRequest {
    /// Checks the form of the names. The token is judged.
    pub fn check(&self) -> Result<(), Invalid> {
        check_scopes(&self.scopes)?;
        check_audiences(&self.audiences)
    }
}

impl Authority {
    /// Judges one token by what the caller is registered for; `*` accepts any audience (V8). The form of the request has
    /// been checked.
    pub async fn judge_bearer(
        &self,
        snapshot: Snapshot,
        caller: &Caller,
        request: &BearerRequest,
    ) -> Result<Verdict, Error> {
        caller.must(Permission::Validate)?;
        caller.must_cover_audiences(&request.audiences)?;
        let verdict = self.judge_brought(&snapshot, caller, request);
        // The token was minted by a replica that has read more of the log: look once more; after that its `rev` counts
        // for nothing.
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
