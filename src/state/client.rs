//! Callers of jeton: their rights, and the credentials that name them.

use std::sync::Arc;

use hashbrown::HashMap;

use jeton_token::{Revision, UnixSeconds};

use crate::state::{FAMILY_ANY, LastUse};

/// A right of a client. The numbers are those of `jeton.v1.Permission`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Permission {
    /// Issue and Refresh.
    Issue,
    /// Validate, `BatchValidate`, `StreamValidate` and introspection.
    Validate,
    /// Revoke one token or session of any client.
    RevokeAny,
    /// Revoke by subject, client, audience or key, on the admin listener.
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

    /// The permission with this number.
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
    /// Its identifier, the `client_id` claim of its tokens.
    pub client_id: String,
    /// The log's revision of its latest change.
    pub revision: Revision,
    /// Certificates that authenticate it, by their SPIFFE ID.
    pub certificate_uris: Vec<String>,
    /// Its permissions.
    pub permissions: Vec<Permission>,
    /// Audiences that it may issue and validate for; `*` is any.
    pub audiences: Vec<String>,
    /// Subjects that it may issue for: exact, or a prefix followed by `*`.
    pub subjects: Vec<String>,
    /// The subject of what it obtains for itself; empty: its identifier.
    pub own_subject: String,
    /// Its calls are refused.
    pub disabled: bool,
}

impl Client {
    /// Returns whether it holds the permission.
    #[must_use]
    pub fn may(&self, permission: Permission) -> bool {
        self.permissions.contains(&permission)
    }

    /// Returns whether it is registered for every audience.
    #[must_use]
    pub fn covers_any_audience(&self) -> bool {
        self.audiences.iter().any(|registered| registered == FAMILY_ANY)
    }

    /// Returns whether it is registered for this audience.
    #[must_use]
    pub fn covers_audience(&self, audience: &str) -> bool {
        self.audiences.iter().any(|registered| registered == FAMILY_ANY || registered == audience)
    }

    /// The subject of what it obtains for itself (RFC 9068 section 2.2). It need not be registered for it.
    #[must_use]
    pub fn own_subject(&self) -> &str {
        if self.own_subject.is_empty() { &self.client_id } else { &self.own_subject }
    }

    /// Returns whether it is registered for this subject.
    #[must_use]
    pub fn covers_subject(&self, subject: &str) -> bool {
        self.subjects.iter().any(|registered| match registered.strip_suffix('*') {
            Some(prefix) => subject.starts_with(prefix),
            None => registered == subject,
        })
    }
}

/// An API key as it is stored: only the hash of its text.
#[derive(Clone, Debug)]
pub struct ApiKeyRecord {
    /// The public part of the key.
    pub api_key_id: String,
    /// The client that it belongs to.
    pub client_id: String,
    /// SHA-256 of the whole text.
    pub secret_hash: [u8; 32],
    /// End of its life.
    pub expire_time: Option<UnixSeconds>,
    /// Shared by all successive readings of this key.
    pub last_use: Arc<LastUse>,
}

/// All clients with their keys.
#[derive(Clone, Debug, Default)]
pub struct Clients {
    by_id: HashMap<String, Arc<Client>>,
    api_keys: HashMap<String, (ApiKeyRecord, Arc<Client>)>,
    certificates: HashMap<String, Arc<Client>>,
}

impl Clients {
    /// Builds the set of clients and their keys.
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
        let uris = |client: &Arc<Client>| {
            let client = Arc::clone(client);
            let uris = client.certificate_uris.clone();
            uris.into_iter().map(move |uri| (uri, Arc::clone(&client)))
        };
        let certificates = clients.values().flat_map(uris).collect();
        Self { by_id: clients, api_keys, certificates }
    }

    /// These, with the last uses that `before` has.
    #[must_use]
    pub fn with_last_uses_of(mut self, before: &Self) -> Self {
        for (key, _) in self.api_keys.values_mut() {
            if let Some((same, _)) = before.api_keys.get(&key.api_key_id) {
                key.last_use = Arc::clone(&same.last_use);
            }
        }
        self
    }

    /// Uses of keys that must be written: the key's id, and its use.
    pub fn uses_to_note(&self) -> impl Iterator<Item = (&str, &LastUse)> {
        let keys = self.api_keys.values().map(|(key, _)| (key.api_key_id.as_str(), key.last_use.as_ref()));
        keys.filter(|(_, last_use)| last_use.to_note().is_some())
    }

    /// The client with this identifier.
    #[must_use]
    pub fn get(&self, client_id: &str) -> Option<&Arc<Client>> {
        self.by_id.get(client_id)
    }

    /// Every client with the ids of its keys, in order.
    #[must_use]
    pub fn by_name(&self) -> Vec<(&Client, Vec<&str>)> {
        let keys_of = |client_id: &str| {
            let of_client = self.api_keys.values().filter(|(key, _)| key.client_id == client_id);
            let mut ids: Vec<&str> = of_client.map(|(key, _)| key.api_key_id.as_str()).collect();
            ids.sort_unstable();
            ids
        };
        let mut clients: Vec<_> =
            self.by_id.values().map(|client| (client.as_ref(), keys_of(&client.client_id))).collect();
        clients.sort_by(|a, b| a.0.client_id.cmp(&b.0.client_id));
        clients
    }

    /// The clients that may administer at `now`: not disabled, with the permission, and with a credential that is good.
    pub fn administrators(&self, now: UnixSeconds) -> impl Iterator<Item = &str> {
        let has_key = move |client: &Client| {
            let mut keys = self.api_keys_of(&client.client_id);
            keys.any(|key| key.expire_time.is_none_or(|end| now < end))
        };
        let administers = move |client: &&Client| {
            !client.disabled
                && client.may(Permission::AdminWrite)
                && (!client.certificate_uris.is_empty() || has_key(client))
        };
        self.iter().filter(administers).map(|client| client.client_id.as_str())
    }

    /// Every client.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Client> {
        self.by_id.values().map(AsRef::as_ref)
    }

    /// The API keys of a client.
    pub(super) fn api_keys_of<'a>(&'a self, client_id: &'a str) -> impl Iterator<Item = &'a ApiKeyRecord> {
        self.api_keys.values().map(|(key, _)| key).filter(move |key| key.client_id == client_id)
    }

    /// The client that certificates with this SPIFFE ID authenticate.
    #[must_use]
    pub fn by_certificate(&self, uri: &str) -> Option<&Arc<Client>> {
        self.certificates.get(uri)
    }

    /// The key with this id, and its client.
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
            revision: Revision::ZERO,
            certificate_uris: vec![],
            permissions: vec![],
            audiences: vec!["api".into()],
            subjects: vec!["svc:billing".into(), "user:*".into()],
            own_subject: String::new(),
            disabled: false,
        };
        assert!(client.covers_subject("svc:billing"));
        assert!(!client.covers_subject("svc:billing2"));
        assert!(client.covers_subject("user:7"));
        assert!(client.covers_audience("api"));
        assert!(!client.covers_audience("*"));
    }
}
