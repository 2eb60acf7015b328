//! A verdict, as its caller may read it.

use super::convert::{millis, seconds, struct_from};
use crate::{authority::Judged, proto::v1 as pb, state::Reason};

/// What the token says is answered in full to callers that are registered for it, to others its
/// `jti` alone.
pub(super) fn verdict(judged: &Judged) -> pb::Verdict {
    let verdict = &judged.verdict;
    let bare = pb::Verdict {
        status: verdict.status.number(),
        revision: verdict.revision.to_string(),
        server_time: Some(millis(verdict.server_time_ms)),
        revocation_reason: i32::from(verdict.reason.map_or(0, Reason::number)),
        ..pb::Verdict::default()
    };
    let Some(token) = &verdict.token else { return bare };
    let claims = &token.claims;
    let jti = claims.jti.to_string();
    if !judged.disclosed {
        return pb::Verdict { jti, ..bare };
    }
    pb::Verdict {
        subject: claims.subject.clone(),
        audiences: claims.audiences.clone(),
        scopes: claims.scopes.clone(),
        jti,
        session_id: claims.session_id.map(|id| id.to_string()).unwrap_or_default(),
        client_id: claims.client_id.clone(),
        issue_time: Some(seconds(claims.issue_time)),
        expire_time: Some(seconds(claims.expire_time)),
        claims: (!claims.custom.is_empty()).then(|| struct_from(&claims.custom)),
        ..bare
    }
}
