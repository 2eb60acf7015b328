//! Issue, with and without a session.

use std::sync::Arc;

use crate::{
    authority::{Authority, Background, Error, Invalid, IssueRequest, Issued, TryIssued, check_clock},
    edge::{Admission, Answer},
};

/// Mints the token that a message asks for; `form` is the request in it. Every answer costs a signature.
pub fn issue(
    authority: &Arc<Authority>,
    background: &Background,
    admission: Admission,
    form: Result<IssueRequest, Invalid>,
) -> Result<Answer<Issued>, Error> {
    let Admission { snapshot, caller, turn } = admission;
    let request = form?;
    request.check()?;
    if turn.shed_costly {
        return Err(Error::Overloaded);
    }
    check_clock(&snapshot)?;
    if request.refreshable {
        // Opens a session, which is a row: from a snapshot of its own, on a thread that may wait.
        let authority = Arc::clone(authority);
        let opening = async move {
            let snapshot = authority.clock_checked_snapshot().await?;
            authority.issue(&snapshot, &caller.again(&snapshot)?, request).await
        };
        let opening = background.detached(opening);
        return Ok(Answer::later(opening));
    }
    Ok(match authority.try_issue(&snapshot, &caller, request)? {
        TryIssued::Whole(token) => Answer::Now(token),
        TryIssued::ToAudit(unaudited) => {
            let authority = Arc::clone(authority);
            Answer::later(async move { authority.audit_issue(&snapshot, *unaudited).await })
        }
    })
}
