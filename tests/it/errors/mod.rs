//! The catalogue of refusals: E1. A walk over the enum, and the auth layer.

mod auth;
mod catalogue;
mod credentials;
mod faults;

use std::collections::HashMap;

use jeton::proto::v1::ErrorReason;
use tonic::Status;

use crate::world::World;

/// The answers to faults, each with its call.
#[derive(Default)]
pub struct Answers(Vec<(ErrorReason, &'static str, Status)>);

impl Answers {
    /// Notes an answer that is to be a refusal for this reason.
    pub fn add<T: std::fmt::Debug>(
        &mut self,
        reason: ErrorReason,
        call: &'static str,
        answer: Result<T, Status>,
    ) {
        let status = answer.expect_err(&format!("{call} must refuse: {}", reason.as_str_name()));
        self.0.push((reason, call, status));
    }
}

/// The reason why a reason is not produced here. Exhaustive: a new reason of the catalogue does not compile until it is
/// decided.
fn not_here(reason: ErrorReason) -> Option<&'static str> {
    match reason {
        ErrorReason::Unspecified => Some("no reason at all"),
        ErrorReason::RateLimited => Some("no rate is set here: `auth` meets them"),
        ErrorReason::QuotaExceeded => Some("no quota is set here: `clients::quota` meets them"),
        ErrorReason::HighWaterExceeded => Some("no list is so long here: `revoke::bulk` has one"),
        ErrorReason::Overloaded => Some("nobody is that busy here: `listeners::crowd` is"),
        ErrorReason::DeadlineExceeded => {
            Some("a client says it by itself: `validate::wire` reads what the server says")
        }
        ErrorReason::ServerDraining => Some("no call is taken any more once a server drains"),
        ErrorReason::FieldRequired
        | ErrorReason::FieldInvalid
        | ErrorReason::TtlExceedsMaximum
        | ErrorReason::TtlTooShort
        | ErrorReason::ExpireTimePast
        | ErrorReason::ClaimReserved
        | ErrorReason::ClaimNumberUnsafe
        | ErrorReason::TokenTooLarge
        | ErrorReason::AudienceNotAllowed
        | ErrorReason::SubjectNotAllowed
        | ErrorReason::ScopeNotAllowed
        | ErrorReason::SubjectLocked
        | ErrorReason::ClientLocked
        | ErrorReason::RefreshTokenInvalid
        | ErrorReason::RefreshTokenExpired
        | ErrorReason::RefreshTokenReused
        | ErrorReason::SessionRevoked
        | ErrorReason::CallerUnauthenticated
        | ErrorReason::CallerForbidden
        | ErrorReason::WideRevocationForbidden
        | ErrorReason::AffectedSessionsExceeded
        | ErrorReason::BatchTooLarge
        | ErrorReason::EtagMismatch
        | ErrorReason::NotFound
        | ErrorReason::AlreadyExists
        | ErrorReason::PageTokenInvalid
        | ErrorReason::RevisionInvalid
        | ErrorReason::StoreUnavailable
        | ErrorReason::RevocationStateStale
        | ErrorReason::SigningKeyUnavailable
        | ErrorReason::ClockSkew
        | ErrorReason::NotServedHere
        | ErrorReason::MessageTooLarge
        | ErrorReason::Internal => None,
    }
}

#[tokio::test]
async fn e1_every_reason_of_the_catalogue_is_answered_as_the_catalogue_says() {
    let mut answers = Answers::default();
    let mut world = World::start().await;
    faults::of_requests(&world, &mut answers).await;
    faults::of_callers(&world, &mut answers).await;
    faults::of_refreshes(&world, &mut answers).await;
    faults::of_admin(&world, &mut answers).await;
    faults::of_clocks(&world, &mut answers).await;
    faults::of_keys(&mut world, &mut answers).await;
    faults::of_the_database(&world, &mut answers).await;
    faults::of_ours(&world, &mut answers).await;

    let catalogue = catalogue::read();
    let mut seen = HashMap::<ErrorReason, u32>::new();
    for (reason, call, status) in &answers.0 {
        catalogue::hold(&catalogue, *reason, call, status);
        *seen.entry(*reason).or_default() += 1;
    }
    let all: Vec<_> = (0..).map_while(|number| ErrorReason::try_from(number).ok()).collect();
    assert_eq!(all.len(), catalogue.len(), "numbered without a gap, and each has a comment");
    for reason in all {
        let name = reason.as_str_name();
        match not_here(reason) {
            None => assert!(seen.contains_key(&reason), "{name} was never produced"),
            Some(why) => assert!(!seen.contains_key(&reason), "{name} is produced after all: {why}"),
        }
    }
}
