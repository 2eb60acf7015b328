//! A revocation as the log carries it.

use uuid::Uuid;

use crate::token::UnixSeconds;

use super::{Mark, MarkKind};

/// Why a revocation was made. The numbers are those of `jeton.v1.RevocationReason`.
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

    /// By its number.
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

    /// The name that metadata and metrics use: the API's, without its prefix.
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

/// One entry of the log that changes what is in memory. To apply it twice changes nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// The token with this `jti` is revoked.
    Token {
        /// The `jti`.
        id: Uuid,
        /// May be forgotten from here on.
        expire_time: UnixSeconds,
        /// Why.
        reason: Reason,
    },
    /// The session with this `sid` is revoked, with all its tokens.
    Session {
        /// The `sid`.
        id: Uuid,
        /// May be forgotten from here on.
        expire_time: UnixSeconds,
        /// Why.
        reason: Reason,
    },
    /// A wide revocation.
    Mark(Mark),
    /// A mark has been removed: a full pass over the sessions has outlived it.
    MarkRemoved {
        /// The kind of target.
        kind: MarkKind,
        /// The target.
        target: String,
        /// The audience it was narrowed to; empty for all.
        audience: String,
    },
}
