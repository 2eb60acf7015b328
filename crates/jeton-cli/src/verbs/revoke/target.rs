//! The target of a revocation, and how it is named to people.

use crate::term::escape::escape;
use crate::verbs::inspect;
use jeton_proto::v1::revocation_target::Kind;

/// The target of a revocation, with a name for people.
pub struct NamedTarget {
    /// As the API names it.
    pub kind: Kind,
    /// The jti in the text of a token.
    jti: Option<String>,
}

impl NamedTarget {
    /// A target that the API names.
    pub fn new(kind: Kind) -> Self {
        let jti = if let Kind::Token(text) = &kind { inspect::claimed_jti(text) } else { None };
        Self { kind, jti }
    }

    /// Returns whether it hits more than one session: such a target is confirmed, and goes to the admin listener.
    pub fn is_wide(&self) -> bool {
        match self.kind {
            Kind::Token(_) | Kind::Jti(_) | Kind::SessionId(_) | Kind::Id(_) => false,
            Kind::Subject(_)
            | Kind::ClientId(_)
            | Kind::KeyId(_)
            | Kind::AllForAudience(_)
            | Kind::IssuerId(_) => true,
        }
    }

    /// `subject svc:billing`. Never token text.
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::Token(text) if text.starts_with("jtr_") => "session of a refresh token".to_owned(),
            Kind::Token(_) => self.jti.as_ref().map_or("token".to_owned(), |jti| format!("token {jti}")),
            Kind::Jti(jti) => format!("jti {}", escape(jti)),
            Kind::Id(id) => format!("id {}", escape(id)),
            Kind::SessionId(session) => format!("session {}", escape(session)),
            Kind::Subject(subject) => format!("subject {}", escape(subject)),
            Kind::ClientId(client) => format!("client {}", escape(client)),
            Kind::KeyId(key) => format!("key {}", escape(key)),
            Kind::AllForAudience(audience) => format!("audience {}", escape(audience)),
            Kind::IssuerId(issuer) => format!("issuer {}", escape(issuer)),
        }
    }

    /// Returns whether it is a key: its sessions live on, so their number says nothing.
    pub fn is_key(&self) -> bool {
        matches!(self.kind, Kind::KeyId(_))
    }

    #[cfg(test)]
    pub fn of_subject(subject: &str) -> Self {
        Self::new(Kind::Subject(subject.to_owned()))
    }

    /// The text that a person types to confirm.
    pub fn name(&self) -> &str {
        match &self.kind {
            Kind::Token(_) => "",
            Kind::Jti(name)
            | Kind::Id(name)
            | Kind::SessionId(name)
            | Kind::Subject(name)
            | Kind::ClientId(name)
            | Kind::KeyId(name)
            | Kind::AllForAudience(name)
            | Kind::IssuerId(name) => name,
        }
    }
}
