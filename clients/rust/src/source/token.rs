//! A token in hand.

use std::{fmt, sync::Arc, time::Duration};

use http::HeaderValue;

use crate::{Secret, files::bearer, token::IssuedToken};

/// A token that a token source holds. It does not print; clones are cheap.
#[derive(Clone)]
pub struct Token(Arc<Held>);

struct Held {
    secret: Secret,
    authorization: Option<HeaderValue>,
    jti: String,
    session_id: String,
}

impl Token {
    pub(crate) fn new(issued: &IssuedToken) -> Self {
        Self(Arc::new(Held {
            authorization: bearer(&issued.access_token),
            secret: issued.access_token.clone(),
            jti: issued.jti.clone(),
            session_id: issued.session_id.clone(),
        }))
    }

    /// Identifies the token, for logs.
    #[must_use]
    pub fn jti(&self) -> &str {
        &self.0.jti
    }

    /// The session of the token; empty: it belongs to none.
    #[must_use]
    pub fn session_id(&self) -> &str {
        &self.0.session_id
    }

    /// The text of the token.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.0.secret.reveal()
    }

    /// The token as an argument of the calls of a [`Client`](crate::Client).
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.0.secret
    }

    /// `Bearer …`.
    pub(crate) fn authorization(&self) -> Option<&HeaderValue> {
        self.0.authorization.as_ref()
    }

    /// Returns whether both are the same token.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.0.jti)
    }
}

/// A token with its times, by the clock of its source.
#[derive(Clone, Debug)]
pub(crate) struct Lifetime {
    pub(crate) token: Token,
    pub(crate) dead_at: Duration,
    pub(crate) renew_at: Duration,
    pub(crate) warn_at: Duration,
}

impl Lifetime {
    /// Of a token that was asked for at `sent`. Of the times of the answer only differences are used.
    pub(crate) fn new(issued: &IssuedToken, sent: Duration) -> Self {
        let between = |end: Option<jiff::Timestamp>| {
            let (begin, end) = issued.issue_time.zip(end)?;
            Duration::try_from(end.duration_since(begin)).ok()
        };
        let lifetime = between(issued.expire_time).unwrap_or_default();
        let renew_in = between(issued.refresh_time).filter(|it| !it.is_zero() && *it < lifetime);
        let renew_in = renew_in.unwrap_or_else(|| lifetime.mul_f64(0.8));
        // The token's times are whole seconds: it may die up to a second before.
        let margin = Duration::from_secs(1).min(lifetime.checked_div(4).unwrap_or_default());
        let dead_at = sent.saturating_add(lifetime).saturating_sub(margin);
        let warn_at = dead_at.saturating_sub(lifetime.checked_div(10).unwrap_or_default());
        Self {
            token: Token::new(issued),
            dead_at,
            // A short-lived token would be dead, or near to it, before the server's time for it.
            renew_at: sent.saturating_add(renew_in).min(warn_at.saturating_sub(margin)),
            warn_at,
        }
    }
}
