//! The part that Issue and Refresh share: from terms and claims to a signed token.

use std::borrow::Cow;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    authority::{Authority, Error, Invalid},
    mint::{Ask, Basis, LifetimeError, refresh_time},
    state::{Accepted, Snapshot, Status, Terms},
};
use jeton_token::{
    Actor, Claims, CustomClaimError, MintError, SigningKey, TOKEN_BYTES_MAX, Thumbprint, UnixSeconds,
    chance_of, check_custom, new_uuid_v7,
};

/// One token in so many is judged before it is handed out: a damaged key or build shows at once.
const CHECKED_ONE_IN: u64 = 256;

/// The claims that the caller decides.
pub(in crate::authority) struct Draft {
    pub(in crate::authority) subject: String,
    pub(in crate::authority) audiences: Vec<String>,
    pub(in crate::authority) scopes: Vec<String>,
    pub(in crate::authority) client_id: String,
    pub(in crate::authority) custom: Map<String, Value>,
    pub(in crate::authority) certificate_thumbprint: Option<Thumbprint>,
    /// The short id of a trusted issuer; empty: none.
    pub(in crate::authority) identity_provider: String,
    pub(in crate::authority) actor: Option<Actor>,
    pub(in crate::authority) session_id: Option<Uuid>,
    pub(in crate::authority) session_end: Option<UnixSeconds>,
    pub(in crate::authority) ask: Ask,
}

/// A signed token and its facts.
#[derive(Debug)]
pub(in crate::authority) struct Minted {
    pub(in crate::authority) text: String,
    pub(in crate::authority) jti: Uuid,
    pub(in crate::authority) issue_time: UnixSeconds,
    pub(in crate::authority) expire_time: UnixSeconds,
    pub(in crate::authority) refresh_time: UnixSeconds,
    pub(in crate::authority) basis: Basis,
}

impl Authority {
    /// Signs (rev, iat) of the snapshot, not of now: a mark that was acknowledged meanwhile is above them and hits.
    pub(in crate::authority) fn mint(
        &self,
        snapshot: &Snapshot,
        terms: &Terms,
        draft: Draft,
    ) -> Result<Minted, Error> {
        let issue_time = snapshot.issue_time();
        let lifetime = terms
            .lifetime(draft.ask, issue_time, draft.session_end)
            .map_err(|(error, audience)| lifetime_error(error, audience, draft.ask))?;
        let algorithm = terms.algorithm();
        let signers = snapshot.root.issuing.signers.load();
        let key = signers.signer(algorithm).ok_or(Error::SigningKeyUnavailable(Some(algorithm)))?;
        let claims = Claims {
            issuer: Cow::Borrowed(&self.issuer),
            subject: draft.subject.into(),
            audiences: draft.audiences.into_iter().map(Cow::Owned).collect(),
            scopes: draft.scopes.into_iter().map(Cow::Owned).collect(),
            client_id: draft.client_id.into(),
            jti: new_uuid_v7(snapshot.issue_time_ms),
            session_id: draft.session_id,
            issue_time,
            not_before: None,
            expire_time: lifetime.expire_time,
            revision: snapshot.revision,
            certificate_thumbprint: draft.certificate_thumbprint,
            identity_provider: Some(draft.identity_provider).filter(|idp| !idp.is_empty()).map(Cow::Owned),
            actor: draft.actor,
            custom: draft.custom,
        };
        let text = key.mint(&claims).map_err(|error| mint_error(error, key))?;
        // The random part of the id serves two purposes, neither of which is secret: the choice of tokens to check, and
        // the time to renew.
        let chance = chance_of(claims.jti);
        // The check uses its low bits, the jitter its high bits.
        let (check, jitter) = (chance.checked_rem(CHECKED_ONE_IN), chance.rotate_left(2));
        if check == Some(0) {
            self.check(snapshot, &text, key)?;
        }
        Ok(Minted {
            text,
            jti: claims.jti,
            issue_time,
            expire_time: lifetime.expire_time,
            refresh_time: refresh_time(issue_time, lifetime.expire_time, jitter),
            basis: lifetime.basis,
        })
    }

    /// Judges a token of our own. If it fails, the key is out of use until it is loaded again.
    fn check(&self, snapshot: &Snapshot, text: &str, key: &SigningKey) -> Result<(), Error> {
        let accepted = Accepted { audiences: None, scopes: &[], thumbprint: None };
        let verdict = self.judge(&snapshot.root).evaluate(text, accepted, || self.clock.now_ms());
        match verdict.status {
            Status::Malformed
            | Status::UnknownKey
            | Status::BadSignature
            | Status::WrongIssuer
            | Status::LifetimeExceedsCap
            | Status::NotYetValid => {
                tracing::error!(
                    jeton.key_id = key.key_id(),
                    jeton.status = verdict.status.name(),
                    "a token of our own making does not validate: its key is out of use"
                );
                snapshot.root.issuing.signers.rcu(|signers| signers.without_signer(key.key_id()));
                Err(Error::SigningKeyUnavailable(Some(key.algorithm())))
            }
            // A good token may have come to this since the snapshot was taken, or the status depends on the bearer.
            Status::Active
            | Status::Expired
            | Status::Revoked
            | Status::WrongAudience
            | Status::MissingScope
            | Status::WrongBinding => Ok(()),
        }
    }
}

/// The error for a requested lifetime, named by the request's field.
pub(in crate::authority) fn lifetime_error(error: LifetimeError, audience: String, ask: Ask) -> Error {
    let field = match ask {
        Ask::ExpireAt { .. } => "expire_time",
        Ask::Ttl { .. } | Ask::Default => "ttl",
    };
    let invalid = match error {
        LifetimeError::TooShort { requested_ms } => Invalid::TtlTooShort { requested_ms },
        LifetimeError::ExceedsMaximum { requested_s, max_s, likely_milliseconds } => {
            Invalid::TtlExceedsMaximum { field, audience, requested_s, max_s, likely_milliseconds }
        }
        LifetimeError::ExpireTimePast { expire_time, server_time } => {
            Invalid::ExpireTimePast { expire_time, server_time }
        }
        LifetimeError::Invalid { rule } => Invalid::field(field, rule),
    };
    invalid.into()
}

/// Refuses custom claims that only the issuer sets, or that no token can carry.
pub(in crate::authority) fn check_claims(custom: &Map<String, Value>) -> Result<(), Invalid> {
    check_custom(custom).map_err(|error| match error {
        CustomClaimError::Reserved { claim } => Invalid::ClaimReserved { claim },
        CustomClaimError::NumberUnsafe { claim } => Invalid::ClaimNumberUnsafe { claim },
        CustomClaimError::TooLarge { size_bytes, max } => {
            Invalid::field("claims", format!("at most {max} bytes as JSON, not {size_bytes}"))
        }
        CustomClaimError::Form { rule, .. } => Invalid::field("claims", rule),
    })
}

fn mint_error(error: MintError, key: &SigningKey) -> Error {
    match error {
        MintError::TooLarge { size_bytes, largest_claim } => {
            Invalid::TokenTooLarge { size_bytes, max_size_bytes: TOKEN_BYTES_MAX, largest_claim }.into()
        }
        MintError::LifetimeExceedsCap { lifetime_s } => {
            Error::Internal(format!("a lifetime of {lifetime_s} s"))
        }
        MintError::Signing => {
            tracing::error!(jeton.key_id = key.key_id(), "this key cannot sign");
            Error::SigningKeyUnavailable(Some(key.algorithm()))
        }
    }
}
