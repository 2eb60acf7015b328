//! The part of a verified token that is kept.

use std::sync::Arc;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::actor::Actor;
use super::claims::Claims;
use super::revision::Revision;
use super::thumbprint::Thumbprint;
use super::time::UnixSeconds;

/// Audiences have no control characters.
const BETWEEN_AUDIENCES: char = '\n';
/// Scope tokens have no spaces (RFC 6749 section 3.3).
const BETWEEN_SCOPES: char = ' ';

/// Claims whose signature verified and whose form is good. Their validity now is judged elsewhere.
///
/// Kept by the million, and read at each call: so all texts are stored as one.
#[derive(Debug)]
pub struct Verified {
    /// `jti`.
    pub jti: Uuid,
    /// `sid`.
    pub session_id: Option<Uuid>,
    /// `iat`.
    pub issue_time: UnixSeconds,
    /// `nbf`.
    pub not_before: Option<UnixSeconds>,
    /// `exp`.
    pub expire_time: UnixSeconds,
    /// `rev`.
    pub revision: Revision,
    /// `cnf.x5t#S256`.
    pub certificate_thumbprint: Option<Thumbprint>,
    /// The key that signed it.
    pub key_id: Arc<str>,
    texts: Box<str>,
    /// The ends of the texts: `iss`, `sub`, `client_id`, `aud`, `scope`, `idp`, `act`; the custom claims' JSON follows.
    ends: [u16; 7],
}

impl Verified {
    /// Keeps `claims`, which the key `key_id` has signed.
    #[must_use]
    pub fn new(claims: &Claims<'_>, key_id: Arc<str>) -> Self {
        let mut texts = String::with_capacity(256);
        let mut ends = [0; 7];
        let mut end = ends.iter_mut();
        let mut ended = |texts: &String| {
            // A token is at most 8 KiB of text.
            end.next().into_iter().for_each(|end| *end = u16::try_from(texts.len()).unwrap_or(u16::MAX));
        };
        for text in [&claims.issuer, &claims.subject, &claims.client_id] {
            texts.push_str(text);
            ended(&texts);
        }
        for (list, between) in [(&claims.audiences, BETWEEN_AUDIENCES), (&claims.scopes, BETWEEN_SCOPES)] {
            for (index, text) in list.iter().enumerate() {
                if index > 0 {
                    texts.push(between);
                }
                texts.push_str(text);
            }
            ended(&texts);
        }
        texts.push_str(claims.identity_provider.as_deref().unwrap_or_default());
        ended(&texts);
        if let Some(actor) = &claims.actor {
            texts.push_str(&actor.to_json().to_string());
        }
        ended(&texts);
        if !claims.custom.is_empty() {
            // Claims that came as JSON can be written as JSON.
            texts.push_str(&serde_json::to_string(&claims.custom).unwrap_or_default());
        }
        Self {
            jti: claims.jti,
            session_id: claims.session_id,
            issue_time: claims.issue_time,
            not_before: claims.not_before,
            expire_time: claims.expire_time,
            revision: claims.revision,
            certificate_thumbprint: claims.certificate_thumbprint,
            key_id,
            texts: texts.into_boxed_str(),
            ends,
        }
    }

    /// `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        let [end, ..] = self.ends;
        self.text(0, end)
    }

    /// `sub`.
    #[must_use]
    pub fn subject(&self) -> &str {
        let [start, end, ..] = self.ends;
        self.text(start, end)
    }

    /// `client_id`.
    #[must_use]
    pub fn client_id(&self) -> &str {
        let [_, start, end, ..] = self.ends;
        self.text(start, end)
    }

    /// `aud`, 1 to 10 of them.
    pub fn audiences(&self) -> impl Iterator<Item = &str> {
        let [_, _, start, end, ..] = self.ends;
        self.text(start, end).split(BETWEEN_AUDIENCES)
    }

    /// `scope` as it is in the token; empty if the claim is absent.
    #[must_use]
    pub fn scope(&self) -> &str {
        let [_, _, _, start, end, ..] = self.ends;
        self.text(start, end)
    }

    /// `idp`; empty if the claim is absent.
    #[must_use]
    pub fn identity_provider(&self) -> &str {
        let [.., start, end, _] = self.ends;
        self.text(start, end)
    }

    /// `act`.
    #[must_use]
    pub fn actor(&self) -> Option<Actor> {
        let [.., start, end] = self.ends;
        // Written above, or absent.
        serde_json::from_str(self.text(start, end)).ok().and_then(Actor::from_json)
    }

    /// The scope tokens of `scope`.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        let scope = self.scope();
        (!scope.is_empty()).then(|| scope.split(BETWEEN_SCOPES)).into_iter().flatten()
    }

    /// Returns whether the token has custom claims.
    #[must_use]
    pub fn has_custom(&self) -> bool {
        let [.., end] = self.ends;
        usize::from(end) < self.texts.len()
    }

    /// The custom claims.
    #[must_use]
    pub fn custom(&self) -> Map<String, Value> {
        let [.., start] = self.ends;
        // Written above, or absent.
        self.texts.get(start.into()..).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
    }

    /// The length of the custom claims' JSON, in bytes.
    #[must_use]
    pub fn custom_bytes(&self) -> usize {
        let [.., start] = self.ends;
        self.texts.len().saturating_sub(start.into())
    }

    /// The bytes that it takes on the heap.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>().saturating_add(self.texts.len())
    }

    fn text(&self, start: u16, end: u16) -> &str {
        self.texts.get(start.into()..end.into()).unwrap_or_default()
    }
}
