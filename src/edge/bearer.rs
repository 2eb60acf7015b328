//! Introspection and `ext_authz`: one operation, which judges a token that a bearer presented to others.

use crate::{
    authority::{Authority, BearerRequest, Error, check_clock},
    edge::Admission,
    state::Verdict,
};

/// Judges the token of a message that has been read. Waits only if the token is ahead of this replica.
pub async fn judge_bearer(
    authority: &Authority,
    admission: Admission,
    request: &BearerRequest,
) -> Result<Verdict, Error> {
    let Admission { snapshot, caller, turn } = admission;
    request.check()?;
    if turn.shed_costly {
        authority.must_have_verified(&request.token)?;
    }
    check_clock(&snapshot)?;
    authority.judge_bearer(snapshot, &caller, request).await
}
