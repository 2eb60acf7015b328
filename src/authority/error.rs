//! The refusals of operations, named by what the caller can do. One mapping, in `rpc`, turns them into statuses.

use std::time::Duration;

use crate::{
    replica::{EpochOver, QueueFull, StoredKeyError},
    state::{LockKind, Permission, Reason},
    store::StoreError,
};
use jeton_token::{Algorithm, UnixSeconds};

/// Every refusal of an operation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request itself is wrong: correct it.
    #[error("invalid request: {0:?}")]
    Invalid(Invalid),
    /// The caller may not do this: ask an administrator.
    #[error("denied: {0:?}")]
    Denied(Denied),
    /// The refresh token is of no use: sign in again.
    #[error("refresh refused: {0:?}")]
    RefreshRefused(RefreshRefused),
    /// No credential, or a bad one.
    #[error("the caller is not authenticated")]
    Unauthenticated,
    /// More sessions would be hit than the caller allows: raise the limit, or narrow the target.
    #[error("{affected} sessions would be hit, {max} are allowed")]
    TooManyAffected {
        /// Live sessions that would be hit.
        affected: i64,
        /// The number that the caller allows.
        max: i64,
    },
    /// A bulk revocation would take the memory of the fleet above its high-water mark: make room, or force it.
    #[error("{held} revocations are held, {target_count} are to be added, the mark is {high_water}")]
    AboveHighWater {
        /// Revocations that this replica holds.
        held: i64,
        /// Those that would come.
        target_count: i64,
        /// The mark.
        high_water: i64,
    },
    /// Another write came first: read again.
    #[error("the etag is stale")]
    EtagMismatch {
        /// The etag now; empty if there is nothing.
        current: String,
    },
    /// The resource does not exist.
    #[error("{resource_type} {name} does not exist")]
    NotFound {
        /// The type of the resource.
        resource_type: &'static str,
        /// Its name.
        name: String,
    },
    /// The resource exists already.
    #[error("{resource_type} {name} exists already")]
    AlreadyExists {
        /// The type of the resource.
        resource_type: &'static str,
        /// Its name.
        name: String,
    },
    /// A client or a subject has as much as it may have: retry when some of it has ended.
    #[error("{quota} {of:?}")]
    QuotaExceeded {
        /// The quantity that is limited.
        of: Quantity,
        /// The number that it may have.
        quota: i64,
        /// The time until a retry makes sense.
        retry: Duration,
    },
    /// Too many calls per second: retry later.
    #[error("more than {limit_per_second} per second")]
    RateLimited {
        /// The number that is allowed.
        limit_per_second: u32,
        /// The time until a retry makes sense.
        retry: Duration,
    },
    /// The server is overloaded: retry later, or at another replica.
    #[error("this server is overloaded")]
    Overloaded,
    /// The state cannot be proven fresh: retry later, or at another replica.
    #[error("the revocation state is {age_ms:?} ms old")]
    Stale {
        /// The time since the log was last read; `None` if it never was.
        age_ms: Option<i64>,
    },
    /// This process is shutting down: call another replica.
    #[error("this server is shutting down")]
    Draining,
    /// The database is away: retry later.
    #[error("the database is out of reach")]
    StoreUnavailable,
    /// The log passed into another epoch during a change, and may have lost it: check, and send it again.
    #[error("the log is in another epoch than the change")]
    EpochOver,
    /// No key may sign with this algorithm now; with `None`, no key may open sessions.
    #[error("no {} key may sign", .0.map_or("MAC", Algorithm::as_str))]
    SigningKeyUnavailable(Option<Algorithm>),
    /// The MAC key of this refresh token cannot be used here.
    #[error("the MAC key of this refresh token cannot be used")]
    MacKeyUnavailable {
        /// Its id.
        id: [u8; 4],
        /// jeton did not write its row as it is; otherwise it is sealed under another master key.
        refused: bool,
    },
    /// Server and database clocks are too far apart.
    #[error("server and database clocks are {offset_ms} ms apart")]
    ClockSkew {
        /// Database clock minus server clock.
        offset_ms: i64,
    },
    /// A defect on our side.
    #[error("a defect: {0}")]
    Internal(String),
}

/// A limited quantity.
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
    /// Returns whether it comes from the server's state, not from the request: the same request may do better later, or
    /// at another replica.
    #[must_use]
    pub fn is_for_now(&self) -> bool {
        match self {
            Self::RateLimited { .. }
            | Self::Overloaded
            | Self::Stale { .. }
            | Self::Draining
            | Self::StoreUnavailable
            | Self::EpochOver
            | Self::ClockSkew { .. }
            | Self::Internal(_) => true,
            Self::Invalid(_)
            | Self::Denied(_)
            | Self::RefreshRefused(_)
            | Self::Unauthenticated
            | Self::TooManyAffected { .. }
            | Self::AboveHighWater { .. }
            | Self::EtagMismatch { .. }
            | Self::NotFound { .. }
            | Self::AlreadyExists { .. }
            | Self::QuotaExceeded { .. }
            | Self::SigningKeyUnavailable(_)
            | Self::MacKeyUnavailable { .. } => false,
        }
    }

    /// The same error; a fault of the request is changed by `change`.
    #[must_use]
    pub fn map_invalid(self, change: impl FnOnce(Invalid) -> Invalid) -> Self {
        if let Self::Invalid(invalid) = self { Self::Invalid(change(invalid)) } else { self }
    }
}

/// A fault of a request.
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
        /// The rule for its values.
        rule: String,
    },
    /// The TTL is above the maximum.
    TtlExceedsMaximum {
        /// The field that was sent: `ttl` or `expire_time`.
        field: &'static str,
        /// The audience whose maximum it is.
        audience: String,
        /// The requested TTL.
        requested_s: i64,
        /// The maximum.
        max_s: i64,
        /// The value looks like milliseconds.
        likely_milliseconds: bool,
    },
    /// The TTL is below a second.
    TtlTooShort {
        /// The requested TTL.
        requested_ms: i64,
    },
    /// The end is not in the future.
    ExpireTimePast {
        /// The requested end.
        expire_time: UnixSeconds,
        /// The server's clock.
        server_time: UnixSeconds,
    },
    /// A custom claim has a name that the issuer sets.
    ClaimReserved {
        /// The claim's name.
        claim: String,
    },
    /// A number in a custom claim cannot be kept exactly.
    ClaimNumberUnsafe {
        /// The claim's name.
        claim: String,
    },
    /// The token would be longer than peers accept in a header.
    TokenTooLarge {
        /// Its length.
        size_bytes: usize,
        /// The greatest length.
        max_size_bytes: usize,
        /// The claim to shorten first.
        largest_claim: String,
    },
    /// Too many requests in one batch.
    BatchTooLarge {
        /// The number of requests.
        size: usize,
        /// The greatest number.
        max_size: usize,
    },
    /// A message is longer than its method accepts, bytes.
    MessageTooLarge {
        /// Its length, as sent or announced.
        size: u64,
        /// The greatest length.
        max_size: u64,
    },
    /// A page token that is foreign, or of another query.
    PageToken,
    /// A revision that is malformed, or of another log.
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

    /// A revision is malformed, or of another log.
    #[must_use]
    pub fn revision(field: impl Into<String>) -> Self {
        Self::Revision { field: field.into() }
    }

    /// The same fault in a part of a larger request.
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

/// An act that the caller may not do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Denied {
    /// It lacks a permission.
    Permission(Permission),
    /// It is not registered for this audience.
    Audience(String),
    /// It is not registered for this subject.
    Subject(String),
    /// A scope outside the policy, or the session.
    Scope {
        /// The scope.
        scope: String,
        /// The audience whose policy it is; empty: the session.
        audience: String,
    },
    /// The subject or the client is locked.
    Locked {
        /// Which of both.
        kind: LockKind,
        /// The end of the lock.
        until: UnixSeconds,
    },
    /// A wide target on the public listener.
    WideRevocation {
        /// `subject`, `client_id` or `key_id`.
        target_kind: &'static str,
    },
}

impl Denied {
    /// The reason that is answered, and the thing that was requested.
    #[must_use]
    pub fn kind(&self) -> (&'static str, &'static str) {
        match self {
            Self::Permission(permission) => ("CALLER_FORBIDDEN", permission.name()),
            Self::Audience(_) => ("AUDIENCE_NOT_ALLOWED", "an audience"),
            Self::Subject(_) => ("SUBJECT_NOT_ALLOWED", "a subject"),
            Self::Scope { .. } => ("SCOPE_NOT_ALLOWED", "a scope"),
            Self::Locked { kind: LockKind::Subject, .. } => ("SUBJECT_LOCKED", "a locked subject"),
            Self::Locked { kind: LockKind::Client, .. } => ("CLIENT_LOCKED", "a token"),
            Self::WideRevocation { target_kind } => ("WIDE_REVOCATION_FORBIDDEN", *target_kind),
        }
    }
}

/// Reasons why a refresh token is of no use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RefreshRefused {
    /// Not a token of this issuer, or not of this caller.
    Invalid,
    /// Past a limit.
    Expired {
        /// `idle` or `absolute`.
        limit: &'static str,
        /// The end of the session.
        expire_time: UnixSeconds,
    },
    /// Spent; the session is revoked now.
    Reused {
        /// The session.
        session_id: uuid::Uuid,
    },
    /// The session was revoked.
    Revoked {
        /// The session.
        session_id: uuid::Uuid,
        /// The reason of its revocation.
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
            // Logged once elsewhere: by the store that the database is away, and by the passage into another epoch that
            // the log is another.
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
