//! What the three methods that judge tokens share: a request, and the place of the verdicts in an answer.

use crate::{
    authority::{Invalid, ValidateRequest},
    edge::thumbprint_of,
    proto::v1 as pb,
    rpc::convert::revision_of,
};

/// The field of the verdicts in `ValidateResponse`, `BatchValidateResponse` and `StreamValidateResponse`.
pub(in crate::rpc) const VERDICTS: u32 = 1;

/// The domain form of one request.
pub(in crate::rpc) fn validate_request(request: pb::ValidateRequest) -> Result<ValidateRequest, Invalid> {
    let min_revision = revision_of("min_revision", &request.min_revision)?;
    let thumbprint = thumbprint_of(&request.certificate_thumbprint)?;
    ValidateRequest::new(request.token, request.audiences, request.scopes, min_revision, thumbprint)
}
