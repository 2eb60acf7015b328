//! Why an operation is refused, by what the caller can do about it. One mapping, in `rpc`, turns it
//! into a status.

use std::time::Duration;

use crate::{
    replica::{EpochOver, QueueFull, StoredKeyError},
    state::{Permission, Reason},
    store::StoreError,
    token::{Algorithm, UnixSeconds},
};

/// Every refusal of an operation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request itself is wrong: mend it.
    #[error("invalid request: {0:?}")]
    Invalid(Invalid),
    /// The caller may not: ask an administrator.
    #[error("denied: {0:?}")]
    Denied(Denied),
    /// The refresh token is of no use: sign in anew.
    #[error("refresh refused: {0:?}")]
    RefreshRefused(RefreshRefused),
    /// No credential, or a bad one.
    #[error("the caller is not authenticated")]
    Unauthenticated,
    /// More would be hit than the caller allows: raise the limit, or aim better.
    #[error("{affected} sessions would be hit, {max} are allowed")]
    TooManyAffected {
        /// Live sessions that would be hit.
        affected: i64,
        /// What the caller allows.
        max: i64,
    },
    /// Somebody else was first: read again.
    #[error("the etag is stale")]
    EtagMismatch {
        /// The etag now; empty where there is nothing.
        current: String,
    },
    /// There is no such thing.
    #[error("{resource_type} {name} does not exist")]
    NotFound {
        /// What kind of thing.
        resource_type: &'static str,
        /// Which.
        name: String,
    },
    /// There is such a thing already.
    #[error("{resource_type} {name} exists already")]
    AlreadyExists {
        /// What kind of thing.
        resource_type: &'static str,
        /// Which.
        name: String,
    },
    /// A client or a subject has as much as it may have: come back when some of it has ended.
    #[error("{quota} {of:?}")]
    QuotaExceeded {
        /// Of what.
        of: Quantity,
        /// How many it may have.
        quota: i64,
        /// When to come back.
        retry: Duration,
    },
    /// Too often: come back.
    #[error("more than {limit_per_second} per second")]
    RateLimited {
        /// What is allowed.
        limit_per_second: u32,
        /// When to come back.
        retry: Duration,
    },
    /// Too much at once: come back, or ask another replica.
    #[error("more is waiting than there is time for")]
    Overloaded,
    /// The state cannot be proven fresh: come back, or ask another replica.
    #[error("the revocation state is {age_ms:?} ms old")]
    Stale {
        /// Since the log was last read; none: it never was.
        age_ms: Option<i64>,
    },
    /// This process is ending: ask another replica.
    #[error("this server is shutting down")]
    Draining,
    /// The database is away: come back.
    #[error("the database is out of reach")]
    StoreUnavailable,
    /// The log passed into another epoch while a change was waited for, and may have lost it: look, and send it again.
    #[error("the log is in another epoch than the change")]
    EpochOver,
    /// No key may sign with this algorithm now; without one, none may authenticate this refresh token.
    #[error("no {} key may sign", .0.map_or("MAC", Algorithm::as_str))]
    SigningKeyUnavailable(Option<Algorithm>),
    /// Server and database clocks are too far apart.
    #[error("server and database clocks are {offset_ms} ms apart")]
    ClockSkew {
        /// Database minus server.
        offset_ms: i64,
    },
    /// A defect on our side.
    #[error("a defect: {0}")]
    Internal(String),
}

/// What a client or a subject may have so much of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quantity {
    /// Live revocations by bare jti.
    BareRevocations,
    /// Live sessions of a client.
    Sessions,
    /// Live sessions of a subject.
    SubjectSessions,
}

impl Error {
    /// The same error; where it is a fault of the request, with this done to it.
    #[must_use]
    pub fn map_invalid(self, change: impl FnOnce(Invalid) -> Invalid) -> Self {
        if let Self::Invalid(invalid) = self { Self::Invalid(change(invalid)) } else { self }
    }
}

/// What is wrong with a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Invalid {
    /// A required field is empty.
    Required {
        /// Its path, snake case.
        field: String,
    },
    /// A field has the wrong form.
    Field {
        /// Its path, snake case.
        field: String,
        /// What it must be.
        rule: String,
    },
    /// The TTL is above the maximum.
    TtlExceedsMaximum {
        /// What was sent: `ttl` or `expire_time`.
        field: &'static str,
        /// Whose maximum.
        audience: String,
        /// Asked for.
        requested_s: i64,
        /// Allowed.
        max_s: i64,
        /// The value looks like milliseconds.
        likely_milliseconds: bool,
    },
    /// The TTL is below a second.
    TtlTooShort {
        /// Asked for.
        requested_ms: i64,
    },
    /// The end is not in the future.
    ExpireTimePast {
        /// Asked for.
        expire_time: UnixSeconds,
        /// Our clock.
        server_time: UnixSeconds,
    },
    /// A custom claim has a name that the issuer sets.
    ClaimReserved {
        /// Which.
        claim: String,
    },
    /// A number in a custom claim cannot be kept exactly.
    ClaimNumberUnsafe {
        /// Which.
        claim: String,
    },
    /// The token would outgrow what peers let through in a header.
    TokenTooLarge {
        /// What it would be.
        size_bytes: usize,
        /// What it may be.
        max_size_bytes: usize,
        /// What to shorten first.
        largest_claim: String,
    },
    /// Too many at once.
    BatchTooLarge {
        /// Asked for.
        size: usize,
        /// Allowed.
        max_size: usize,
    },
    /// A message is longer than its method takes, bytes.
    MessageTooLarge {
        /// What was sent, or announced.
        size: u64,
        /// Allowed.
        max_size: u64,
    },
    /// Foreign, or from another query.
    PageToken,
    /// A revision that is malformed, or from another log.
    Revision {
        /// The path of its field, snake case.
        field: String,
    },
}

impl Invalid {
    /// A required field is empty.
    #[must_use]
    pub fn required(field: impl Into<String>) -> Self {
        Self::Required { field: field.into() }
    }

    /// A field has the wrong form.
    #[must_use]
    pub fn field(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::Field { field: field.into(), rule: rule.into() }
    }

    /// A revision is malformed, or from another log.
    #[must_use]
    pub fn revision(field: impl Into<String>) -> Self {
        Self::Revision { field: field.into() }
    }

    /// The same fault of a part of a larger request.
    #[must_use]
    pub fn within(self, prefix: &str) -> Self {
        match self {
            Self::Required { field } => Self::Required { field: format!("{prefix}.{field}") },
            Self::Field { field, rule } => Self::Field { field: format!("{prefix}.{field}"), rule },
            Self::Revision { field } => Self::Revision { field: format!("{prefix}.{field}") },
            other @ (Self::TtlExceedsMaximum { .. }
            | Self::TtlTooShort { .. }
            | Self::ExpireTimePast { .. }
            | Self::ClaimReserved { .. }
            | Self::ClaimNumberUnsafe { .. }
            | Self::TokenTooLarge { .. }
            | Self::BatchTooLarge { .. }
            | Self::MessageTooLarge { .. }
            | Self::PageToken) => other,
        }
    }
}

/// What the caller may not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Denied {
    /// It lacks a permission.
    Permission(Permission),
    /// It is not registered for this audience.
    Audience(String),
    /// It is not registered for this subject.
    Subject(String),
    /// Outside the policy, or the session.
    Scope {
        /// Which.
        scope: String,
        /// Whose policy; empty: the session.
        audience: String,
    },
    /// A wide target on the public listener.
    WideRevocation {
        /// `subject`, `client_id` or `key_id`.
        target_kind: &'static str,
    },
}

impl Denied {
    /// The reason that is answered, and what was asked for.
    #[must_use]
    pub fn kind(&self) -> (&'static str, &'static str) {
        match self {
            Self::Permission(permission) => ("CALLER_FORBIDDEN", permission.name()),
            Self::Audience(_) => ("AUDIENCE_NOT_ALLOWED", "an audience"),
            Self::Subject(_) => ("SUBJECT_NOT_ALLOWED", "a subject"),
            Self::Scope { .. } => ("SCOPE_NOT_ALLOWED", "a scope"),
            Self::WideRevocation { target_kind } => ("WIDE_REVOCATION_FORBIDDEN", *target_kind),
        }
    }
}

/// Why a refresh token is of no use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RefreshRefused {
    /// Not one of this issuer, or not of this caller.
    Invalid,
    /// Past a limit.
    Expired {
        /// `idle` or `absolute`.
        limit: &'static str,
        /// When.
        expire_time: UnixSeconds,
    },
    /// Spent; the session is revoked now.
    Reused {
        /// Which session.
        session_id: uuid::Uuid,
    },
    /// The session was revoked.
    Revoked {
        /// Which session.
        session_id: uuid::Uuid,
        /// Why.
        reason: Reason,
    },
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

impl From<Denied> for Error {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

impl From<RefreshRefused> for Error {
    fn from(refused: RefreshRefused) -> Self {
        Self::RefreshRefused(refused)
    }
}

impl From<EpochOver> for Error {
    fn from(_over: EpochOver) -> Self {
        Self::EpochOver
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            // That the database has gone is said once, by the store.
            // So is, by who passes from one epoch to the next, that the log is another.
            StoreError::Unreachable(_)
            | StoreError::Unfit(_)
            | StoreError::Late
            | StoreError::Closed
            | StoreError::ForeignLog => {
                tracing::debug!(error = %error, "a call was refused: the database is away, or another");
                Self::StoreUnavailable
            }
            StoreError::MayBeLost => {
                tracing::warn!(error = %error, "a call was refused");
                Self::StoreUnavailable
            }
            StoreError::OlderSchema { .. }
            | StoreError::NewerSchema { .. }
            | StoreError::ForeignSchema { .. }
            | StoreError::Url(_)
            | StoreError::Statement(_)
            | StoreError::NoMasterKey
            | StoreError::Corrupt { .. } => Self::Internal(error.to_string()),
        }
    }
}

impl From<StoredKeyError> for Error {
    fn from(error: StoredKeyError) -> Self {
        match error {
            StoredKeyError::Store(error) => error.into(),
            other @ (StoredKeyError::WrongMasterKey { .. }
            | StoredKeyError::ForeignClients { .. }
            | StoredKeyError::Damaged { .. }
            | StoredKeyError::NotMade
            | StoredKeyError::Duplicate { .. }
            | StoredKeyError::Pending { .. }
            | StoredKeyError::Busy) => Self::Internal(other.to_string()),
        }
    }
}

impl From<QueueFull> for Error {
    fn from(QueueFull: QueueFull) -> Self {
        Self::Overloaded
    }
}
