//! Prints the messages that hold a secret, without it: their fields are `debug_redact`.

use std::fmt::{Debug, Formatter, Result};

use crate::v1;

/// In place of a secret.
const SECRET: &str = "[secret]";

macro_rules! message {
    ($message:ident hides $secret:ident shows $($shown:ident),* $(,)?) => {
        impl Debug for v1::$message {
            fn fmt(&self, f: &mut Formatter<'_>) -> Result {
                let Self { $secret, $($shown),* } = self;
                let hidden = if $secret.is_empty() { "" } else { SECRET };
                let mut told = f.debug_struct(stringify!($message));
                told.field(stringify!($secret), &hidden);
                $(told.field(stringify!($shown), $shown);)*
                told.finish()
            }
        }
    };
}

message!(CreateApiKeyResponse hides secret shows api_key);
message!(IssuedToken hides access_token shows
    jti, session_id, issue_time, expire_time, refresh_time, expiration_basis, refresh);
message!(RefreshCredential hides refresh_token shows expire_time, session_expire_time);
message!(RefreshRequest hides refresh_token shows scopes, ttl);
message!(TestAssertionRequest hides assertion shows);
message!(ValidateRequest hides token shows audiences, scopes, min_revision, certificate_thumbprint);

impl Debug for v1::ExplainRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("ExplainRequest").field("question", &self.question).finish()
    }
}

impl Debug for v1::explain_request::Question {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Token(_) => f.debug_tuple("Token").field(&SECRET).finish(),
            Self::Id(text) => f.debug_tuple("Id").field(text).finish(),
            Self::Jti(text) => f.debug_tuple("Jti").field(text).finish(),
            Self::SessionId(text) => f.debug_tuple("SessionId").field(text).finish(),
            Self::Subject(text) => f.debug_tuple("Subject").field(text).finish(),
        }
    }
}

impl Debug for v1::RevocationTarget {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { kind, issue_cutoff_time, audience } = self;
        let mut told = f.debug_struct("RevocationTarget");
        told.field("kind", kind).field("issue_cutoff_time", issue_cutoff_time).field("audience", audience);
        told.finish()
    }
}

impl Debug for v1::revocation_target::Kind {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Token(_) => f.debug_tuple("Token").field(&SECRET).finish(),
            Self::Jti(text) => f.debug_tuple("Jti").field(text).finish(),
            Self::SessionId(text) => f.debug_tuple("SessionId").field(text).finish(),
            Self::Subject(text) => f.debug_tuple("Subject").field(text).finish(),
            Self::ClientId(text) => f.debug_tuple("ClientId").field(text).finish(),
            Self::KeyId(text) => f.debug_tuple("KeyId").field(text).finish(),
            Self::IssuerId(text) => f.debug_tuple("IssuerId").field(text).finish(),
            Self::AllForAudience(text) => f.debug_tuple("AllForAudience").field(text).finish(),
            Self::Id(text) => f.debug_tuple("Id").field(text).finish(),
        }
    }
}
