//! Revoke, over gRPC and RFC 7009. It is never shed: revocations go on while a server has more to do than time.

use std::sync::Arc;

use crate::{
    authority::{Authority, Background, Caller, Denied, Error, RevokeRequest, RevokeTarget, Revoked},
    edge::{Listener, Origin},
    state::MarkKind,
};

/// Revokes what a message names. Runs to its end even if the caller goes away.
pub async fn revoke(
    authority: &Arc<Authority>,
    background: &Background,
    listener: Listener,
    origin: Origin,
    request: RevokeRequest,
) -> Result<Revoked, Error> {
    let request = RevokeRequest { asks_for_much: origin.asks_for_much(), ..request };
    let authority = Arc::clone(authority);
    let revoking = background.detached(async move {
        let admission = origin.again(&authority).await?;
        must_be_narrow(&request.target, listener, &admission.caller)?;
        authority.revoke(&admission.snapshot, &admission.caller, &request).await
    });
    revoking.await
}

/// Refuses wide targets on the public listener. A mesh can tell calls apart only by path, so wide targets have a
/// listener of their own.
fn must_be_narrow(target: &RevokeTarget, listener: Listener, caller: &Caller) -> Result<(), Denied> {
    let RevokeTarget::Wide { kind, .. } = target else { return Ok(()) };
    let target_kind = match kind {
        MarkKind::Subject => "subject",
        MarkKind::Client => "client_id",
        MarkKind::Key => "key_id",
        MarkKind::Audience => "all_for_audience",
        MarkKind::Issuer => "issuer_id",
    };
    if listener == Listener::Public {
        Err(caller.denied(Denied::WideRevocation { target_kind }))
    } else {
        Ok(())
    }
}
