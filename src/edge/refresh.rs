//! Refresh. It is never shed: a session that is not renewed in time ends.

use std::sync::Arc;

use crate::{
    authority::{Authority, Background, Error, Issued, Presence, RefreshRequest, check_clock},
    edge::{Admission, Origin},
};

/// Spends the refresh token that a message presents. Runs to its end even if the caller goes away, which is then known.
pub async fn refresh(
    authority: &Arc<Authority>,
    background: &Background,
    origin: Origin,
    request: RefreshRequest,
) -> Result<Issued, Error> {
    // Held until the call is answered or its caller has gone.
    let (presence, _waits) = Presence::since(origin.arrived_us());
    let authority = Arc::clone(authority);
    let spending = background.detached(async move {
        let Admission { snapshot, caller, .. } = origin.again(&authority).await?;
        check_clock(&snapshot)?;
        authority.refresh(&snapshot, &caller, &presence, &request).await
    });
    spending.await
}
