//! The one evaluator: (token text, state, now, what the caller accepts) → verdict. Every endpoint
//! that judges a token calls it. A verified signature may be remembered; time and revocation are judged at every call.

use std::sync::Arc;

use jeton_token::{LIFETIME_CAP_S, RawToken, Rejected, Revision, Thumbprint, UnixSeconds, Verified};

use super::{KeyRecord, KeyState, KnownToken, Leeway, Reason, Root, VerifiedCache};

/// The first fault of a token, in the order of `jeton.v1.TokenStatus`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Status {
    /// No fault.
    Active,
    /// This issuer could not have made such a token.
    Malformed,
    /// `kid` names no key of this issuer.
    UnknownKey,
    /// The signature does not verify.
    BadSignature,
    /// `iss` is another issuer.
    WrongIssuer,
    /// `exp - iat` is above the cap.
    LifetimeExceedsCap,
    /// `nbf` or `iat` lies in the future, past the leeway.
    NotYetValid,
    /// `exp` has been reached.
    Expired,
    /// Revoked, by any kind of target.
    Revoked,
    /// None of the accepted audiences is in `aud`.
    WrongAudience,
    /// A required scope is missing.
    MissingScope,
    /// Bound to another certificate, or none was presented.
    WrongBinding,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 12] = [
        Self::Active,
        Self::Malformed,
        Self::UnknownKey,
        Self::BadSignature,
        Self::WrongIssuer,
        Self::LifetimeExceedsCap,
        Self::NotYetValid,
        Self::Expired,
        Self::Revoked,
        Self::WrongAudience,
        Self::MissingScope,
        Self::WrongBinding,
    ];

    /// Its number in the API.
    #[must_use]
    pub fn number(self) -> i32 {
        i32::try_from(self.place()).unwrap_or_default().saturating_add(1)
    }

    /// Its index in `ALL`.
    #[must_use]
    pub fn place(self) -> usize {
        Self::ALL.iter().position(|status| *status == self).unwrap_or_default()
    }

    /// Returns whether the status depends on the accepted audiences; faults that are checked before them do not.
    #[must_use]
    pub fn depends_on_audience(self) -> bool {
        match self {
            Self::Active | Self::WrongAudience | Self::MissingScope | Self::WrongBinding => true,
            Self::Malformed
            | Self::UnknownKey
            | Self::BadSignature
            | Self::WrongIssuer
            | Self::LifetimeExceedsCap
            | Self::NotYetValid
            | Self::Expired
            | Self::Revoked => false,
        }
    }

    /// Its name in the API, without the prefix.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Malformed => "MALFORMED",
            Self::UnknownKey => "UNKNOWN_KEY",
            Self::BadSignature => "BAD_SIGNATURE",
            Self::WrongIssuer => "WRONG_ISSUER",
            Self::LifetimeExceedsCap => "LIFETIME_EXCEEDS_CAP",
            Self::NotYetValid => "NOT_YET_VALID",
            Self::Expired => "EXPIRED",
            Self::Revoked => "REVOKED",
            Self::WrongAudience => "WRONG_AUDIENCE",
            Self::MissingScope => "MISSING_SCOPE",
            Self::WrongBinding => "WRONG_BINDING",
        }
    }
}

/// The requirements of the caller.
#[derive(Clone, Copy, Debug)]
pub struct Accepted<'a> {
    /// One of these must be in `aud`; `None`: any will do.
    pub audiences: Option<&'a [String]>,
    /// All of these must be in `scope`.
    pub scopes: &'a [String],
    /// The thumbprint of the certificate that the bearer presented.
    pub thumbprint: Option<Thumbprint>,
}

/// The verdict on one token.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The first fault, or ACTIVE.
    pub status: Status,
    /// The claims, if signature and form are good, whatever the status.
    pub token: Option<Arc<KnownToken>>,
    /// The reason of the revocation, if that is the status.
    pub reason: Option<Reason>,
    /// The revision of the verdict: read before the look-ups.
    pub revision: Revision,
    /// Wall clock at the verdict, milliseconds: read after the look-ups.
    pub server_time_ms: i64,
}

impl Verdict {
    /// Returns whether the token claims a revision that this replica had not reached.
    #[must_use]
    pub fn token_is_ahead(&self) -> bool {
        self.token.as_ref().is_some_and(|token| token.revision > self.revision)
    }
}

/// The inputs of judging besides the token.
pub struct Judge<'a, I> {
    /// The root of the call's snapshot.
    pub root: &'a Root<I>,
    /// Signatures that were found good before.
    pub cache: &'a VerifiedCache,
    /// `iss` of this issuer's tokens.
    pub issuer: &'a str,
}

impl<I> Clone for Judge<'_, I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I> Copy for Judge<'_, I> {}

impl<I: Leeway> Judge<'_, I> {
    /// Judges one token. The time is read by `now_ms` after the look-ups: so a call that is paused in between cannot
    /// miss a revocation that was purged because its token had expired.
    #[must_use]
    pub fn evaluate(&self, text: &str, accepted: Accepted<'_>, now_ms: impl Fn() -> i64) -> Verdict {
        let revision = self.root.applied();
        let verified = match self.verify(text, || UnixSeconds::new(now_ms().div_euclid(1000))) {
            Ok(verified) => verified,
            Err(status) => {
                return Verdict { status, token: None, reason: None, revision, server_time_ms: now_ms() };
            }
        };
        let keys = self.root.keys.load();
        let key = keys.find(&verified.key_id, UnixSeconds::new(i64::MIN));
        let reason = self.revocation(&verified, key.map(AsRef::as_ref), revision);
        let server_time_ms = now_ms();
        let now = UnixSeconds::new(server_time_ms.div_euclid(1000));
        let Some(key) = key.filter(|key| !key.is_gone(now)) else {
            return Verdict {
                status: Status::UnknownKey,
                token: None,
                reason: None,
                revision,
                server_time_ms,
            };
        };
        let status = self.judge(&verified, key, reason, now, accepted);
        let reason = reason.filter(|_| status == Status::Revoked);
        Verdict { status, token: Some(verified), reason, revision, server_time_ms }
    }

    /// Checks form, key, signature and form of the claims, in this order: so a key that is gone is unknown whatever the
    /// signature. A cached token may be of a key that has gone since.
    pub fn verify(&self, text: &str, now: impl FnOnce() -> UnixSeconds) -> Result<Arc<KnownToken>, Status> {
        let place = self.cache.place(text);
        if let Some(verified) = self.cache.get(place) {
            return Ok(verified);
        }
        let raw = RawToken::parse(text).map_err(|_| Status::Malformed)?;
        let keys = self.root.keys.load();
        let key = keys.find(raw.key_id(), now()).ok_or(Status::UnknownKey)?;
        // The algorithm is a property of the key; this issuer makes no header that names another.
        if key.verifying.algorithm() != raw.algorithm() {
            return Err(Status::Malformed);
        }
        let verified = key.verifying.verify_and_see(&raw, |claims| {
            let encode = self.cache.encode().filter(|_| !claims.custom.is_empty());
            encode.map(|encode| encode(&claims.custom))
        });
        let (verified, encoded) = verified.map_err(|rejected| match rejected {
            Rejected::BadSignature => Status::BadSignature,
            Rejected::MalformedClaims(_) => Status::Malformed,
        })?;
        let verified = Arc::new(KnownToken::new(verified, encoded));
        self.cache.insert(place, &verified);
        Ok(verified)
    }

    /// The reason why the token is revoked, by any kind of target.
    #[must_use]
    pub fn revocation(
        &self,
        verified: &Verified,
        key: Option<&KeyRecord>,
        applied: Revision,
    ) -> Option<Reason> {
        // A revision that the log has not reached proves nothing: it counts as older than every mark.
        let revision = if verified.revision > applied { Revision::ZERO } else { verified.revision };
        self.root
            .tokens
            .get(&verified.jti)
            .or_else(|| self.root.sessions.get(&verified.session_id?))
            .or_else(|| self.root.marks.hit_token(verified, revision))
            .or_else(|| key.filter(|key| key.life.state == KeyState::Revoked).map(|_| Reason::Unspecified))
    }

    fn judge(
        &self,
        token: &Verified,
        key: &KeyRecord,
        revoked: Option<Reason>,
        now: UnixSeconds,
        accepted: Accepted<'_>,
    ) -> Status {
        if token.issuer() != self.issuer {
            return Status::WrongIssuer;
        }
        if token.expire_time.since(token.issue_time) > LIFETIME_CAP_S {
            return Status::LifetimeExceedsCap;
        }
        let not_before = token.not_before.unwrap_or(token.issue_time).max(token.issue_time);
        if not_before > now && not_before > now.saturating_add(self.early_s(token)) {
            return Status::NotYetValid;
        }
        // No token outlives the key that signed it, leeway or not.
        let expire_time = key.life.expire_time.map_or(token.expire_time, |end| token.expire_time.min(end));
        if now >= expire_time && now >= expire_time.saturating_add(self.leeway_s(token)) {
            return Status::Expired;
        }
        if revoked.is_some() {
            return Status::Revoked;
        }
        if accepted
            .audiences
            .is_some_and(|accepted| !token.audiences().any(|named| accepted.iter().any(|it| it == named)))
        {
            return Status::WrongAudience;
        }
        if !accepted.scopes.iter().all(|wanted| token.scopes().any(|scope| scope == wanted)) {
            return Status::MissingScope;
        }
        if token.certificate_thumbprint.is_some() && token.certificate_thumbprint != accepted.thumbprint {
            return Status::WrongBinding;
        }
        Status::Active
    }

    /// The seconds before its own times at which a token is accepted: at least as many as this server's clock is known
    /// to be behind.
    fn early_s(&self, token: &Verified) -> i64 {
        self.leeway_s(token).max(self.root.known_behind_s())
    }

    /// The clock tolerance that the policies in force allow this token; looked up only if it could change the answer.
    #[must_use]
    pub fn leeway_s(&self, token: &Verified) -> i64 {
        self.root.issuing.leeway_s(token)
    }
}
