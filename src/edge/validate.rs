//! Validate: unary, of a stream's message. A batch judges its requests in parts, by the same checks.

use std::sync::Arc;

use crate::{
    authority::{Authority, Error, Invalid, Judged, ValidateRequest, check_clock},
    edge::{Admission, Answer},
};

/// Judges the token of a message that has been read; `form` is the request in it.
pub fn validate(
    authority: &Arc<Authority>,
    admission: Admission,
    form: Result<ValidateRequest, Invalid>,
) -> Result<Answer<Judged>, Error> {
    let Admission { snapshot, caller, turn } = admission;
    let request = form?;
    if turn.shed_costly {
        authority.must_have_verified(request.token())?;
    }
    check_clock(&snapshot)?;
    if let Some(judged) = authority.try_validate(&snapshot, &caller, &request)? {
        return Ok(Answer::Now(judged));
    }
    // The request or the token names a revision that this replica has not reached.
    let authority = Arc::clone(authority);
    Ok(Answer::later(async move { authority.validate(snapshot, &caller, &request).await }))
}
