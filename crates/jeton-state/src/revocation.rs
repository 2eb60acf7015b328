//! A revocation as the log carries it.

use uuid::Uuid;

use jeton_token::UnixSeconds;

use super::{Mark, MarkKind};

/// The reason of a revocation. The numbers are those of `jeton.v1.RevocationReason`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Reason {
    /// Not given.
    #[default]
    Unspecified,
    /// The holder signed off.
    Logout,
    /// The token was seen where it must not be.
    Leaked,
    /// The account, client or key is believed compromised.
    Compromised,
    /// The subject or client was disabled or removed.
    Deprovisioned,
    /// Roles or scopes changed.
    PrivilegeChange,
    /// A spent refresh token was presented. Set by the server only.
    RefreshReuse,
    /// An operator's decision, explained in the note.
    Administrative,
}

impl Reason {
    const ALL: [Self; 8] = [
        Self::Unspecified,
        Self::Logout,
        Self::Leaked,
        Self::Compromised,
        Self::Deprovisioned,
        Self::PrivilegeChange,
        Self::RefreshReuse,
        Self::Administrative,
    ];

    /// The reason with this number.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> i16 {
        match self {
            Self::Unspecified => 0,
            Self::Logout => 1,
            Self::Leaked => 2,
            Self::Compromised => 3,
            Self::Deprovisioned => 4,
            Self::PrivilegeChange => 5,
            Self::RefreshReuse => 6,
            Self::Administrative => 7,
        }
    }

    /// The name in metadata and metrics: that of the API, without its prefix.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "UNSPECIFIED",
            Self::Logout => "LOGOUT",
            Self::Leaked => "LEAKED",
            Self::Compromised => "COMPROMISED",
            Self::Deprovisioned => "DEPROVISIONED",
            Self::PrivilegeChange => "PRIVILEGE_CHANGE",
            Self::RefreshReuse => "REFRESH_REUSE",
            Self::Administrative => "ADMINISTRATIVE",
        }
    }
}

/// An entry of the log that changes the state in memory. Applying it twice changes nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// The token with this `jti` is revoked.
    Token {
        /// The `jti`.
        id: Uuid,
        /// It may be forgotten from then on.
        expire_time: UnixSeconds,
        /// The reason.
        reason: Reason,
    },
    /// The session with this `sid` is revoked, with all its tokens.
    Session {
        /// The `sid`.
        id: Uuid,
        /// It may be forgotten from then on.
        expire_time: UnixSeconds,
        /// The reason.
        reason: Reason,
    },
    /// A wide revocation.
    Mark(Mark),
    /// A mark has been removed: a full sweep of the sessions has followed its end.
    MarkRemoved {
        /// The kind of target.
        kind: MarkKind,
        /// The target.
        target: String,
        /// The audience it was narrowed to; empty for all.
        audience: String,
    },
}
