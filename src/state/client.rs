//! Callers of jeton: what they may do, and the credentials that name them.

use std::{collections::HashMap, sync::Arc};

use crate::token::UnixSeconds;

use super::FAMILY_ANY;

/// What a client may do. The numbers are those of `jeton.v1.Permission`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Permission {
    /// Issue and Refresh.
    Issue,
    /// Validate and its kin.
    Validate,
    /// Revoke one token or session of any client.
    RevokeAny,
    /// Revoke by subject, client or key, on the admin listener.
    RevokeWide,
    /// Follow the log of revocations.
    Watch,
    /// Read through the admin API.
    AdminRead,
    /// Write through the admin API.
    AdminWrite,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 7] = [
        Self::Issue,
        Self::Validate,
        Self::RevokeAny,
        Self::RevokeWide,
        Self::Watch,
        Self::AdminRead,
        Self::AdminWrite,
    ];

    /// By its number.
    #[must_use]
    pub fn from_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|permission| permission.number() == number)
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> i16 {
        match self {
            Self::Issue => 1,
            Self::Validate => 2,
            Self::RevokeAny => 3,
            Self::RevokeWide => 4,
            Self::Watch => 5,
            Self::AdminRead => 6,
            Self::AdminWrite => 7,
        }
    }

    /// Its name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Issue => "PERMISSION_ISSUE",
            Self::Validate => "PERMISSION_VALIDATE",
            Self::RevokeAny => "PERMISSION_REVOKE_ANY",
            Self::RevokeWide => "PERMISSION_REVOKE_WIDE",
            Self::Watch => "PERMISSION_WATCH",
            Self::AdminRead => "PERMISSION_ADMIN_READ",
            Self::AdminWrite => "PERMISSION_ADMIN_WRITE",
        }
    }
}

/// A registered caller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Client {
    /// Its identifier, the `client_id` claim of what it obtains.
    pub client_id: String,
    /// What it may do.
    pub permissions: Vec<Permission>,
    /// Audiences that it may issue and validate for; `*` is any.
    pub audiences: Vec<String>,
    /// Subjects that it may issue for: exact, or a prefix followed by `*`.
    pub subjects: Vec<String>,
    /// Refused at once.
    pub disabled: bool,
}

impl Client {
    /// Whether it holds the permission.
    #[must_use]
    pub fn may(&self, permission: Permission) -> bool {
        self.permissions.contains(&permission)
    }

    /// Whether it is registered for every audience.
    #[must_use]
    pub fn covers_any_audience(&self) -> bool {
        self.audiences.iter().any(|registered| registered == FAMILY_ANY)
    }

    /// Whether it is registered for this audience.
    #[must_use]
    pub fn covers_audience(&self, audience: &str) -> bool {
        self.audiences.iter().any(|registered| registered == FAMILY_ANY || registered == audience)
    }

    /// Whether it is registered for this subject.
    #[must_use]
    pub fn covers_subject(&self, subject: &str) -> bool {
        self.subjects.iter().any(|registered| match registered.strip_suffix('*') {
            Some(prefix) => subject.starts_with(prefix),
            None => registered == subject,
        })
    }
}

/// An API key as it is stored: no text, only the hash of it.
#[derive(Clone, Debug)]
pub struct ApiKeyRecord {
    /// The part of the key that is no secret.
    pub api_key_id: String,
    /// Whose it is.
    pub client_id: String,
    /// SHA-256 of the whole text.
    pub secret_hash: [u8; 32],
    /// End of its life.
    pub expire_time: Option<UnixSeconds>,
}

/// All clients with their keys.
#[derive(Debug, Default)]
pub struct Clients {
    clients: HashMap<String, Arc<Client>>,
    api_keys: HashMap<String, (ApiKeyRecord, Arc<Client>)>,
}

impl Clients {
    /// Of clients and the keys that are theirs.
    #[must_use]
    pub fn new(clients: Vec<Client>, api_keys: Vec<ApiKeyRecord>) -> Self {
        let clients: HashMap<_, _> =
            clients.into_iter().map(|client| (client.client_id.clone(), Arc::new(client))).collect();
        let api_keys = api_keys
            .into_iter()
            .filter_map(|key| {
                let client = Arc::clone(clients.get(&key.client_id)?);
                Some((key.api_key_id.clone(), (key, client)))
            })
            .collect();
        Self { clients, api_keys }
    }

    /// The client with this identifier.
    #[must_use]
    pub fn get(&self, client_id: &str) -> Option<&Arc<Client>> {
        self.clients.get(client_id)
    }

    /// The key with this id, and whose it is.
    #[must_use]
    pub fn api_key(&self, api_key_id: &str) -> Option<(&ApiKeyRecord, &Arc<Client>)> {
        self.api_keys.get(api_key_id).map(|(key, client)| (key, client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i11_a_subject_is_covered_exactly_or_by_prefix() {
        let client = Client {
            client_id: "c".into(),
            permissions: vec![],
            audiences: vec!["api".into()],
            subjects: vec!["svc:billing".into(), "user:*".into()],
            disabled: false,
        };
        assert!(client.covers_subject("svc:billing"));
        assert!(!client.covers_subject("svc:billing2"));
        assert!(client.covers_subject("user:7"));
        assert!(client.covers_audience("api"));
        assert!(!client.covers_audience("*"));
    }
}
