//! Clients and their API keys: read from the database, written through the log, in effect on every
//! replica when a call returns.

use crate::{
    authority::{
        Authority, Caller, Error, Invalid,
        admin::{
            client_form::{
                check_api_key_id, check_api_key_ttl, check_client_name, check_registration, check_whole,
            },
            page::page,
        },
    },
    state::{Permission, Snapshot},
    store::{ApiKeyRow, ClientRow, ClientWrite, NewAudit},
};
use jeton_token::{ApiKey, Revision, UnixSeconds};

/// Tries of a write that others were faster than; each try starts from what they wrote. One of the rivals succeeds each
/// time, so this many may write one client at once.
const TRIES_MAX: u32 = 64;
/// The most API keys of a client, expired ones included: a rotation uses two at a time, in each of a few places.
const API_KEYS_MAX: i64 = 20;
/// The rule that keeps a deployment from locking everybody out (C6).
const LAST_ADMINISTRATOR: &str = "one that leaves a client which is not disabled, has PERMISSION_ADMIN_WRITE, \
                                  and has a certificate or a live API key";

/// A field of a client that a write may name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientField {
    /// For people.
    DisplayName,
    /// Certificates.
    CertificateUris,
    /// Its permissions.
    Permissions,
    /// Audiences.
    Audiences,
    /// Subjects.
    Subjects,
    /// The subject of what it obtains for itself.
    OwnSubject,
    /// All its calls are refused.
    Disabled,
}

impl ClientField {
    /// Every field, with its name in masks, errors and the audit.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::DisplayName, "display_name"),
        (Self::CertificateUris, "certificate_uris"),
        (Self::Permissions, "permissions"),
        (Self::Audiences, "audiences"),
        (Self::Subjects, "subjects"),
        (Self::OwnSubject, "own_subject"),
        (Self::Disabled, "disabled"),
    ];
}

/// A change of one client.
#[derive(Clone, Debug)]
pub struct ClientUpdate {
    /// The new values, and the client that they are for.
    pub client: ClientRow,
    /// The fields to write; a field that is named and empty is cleared.
    pub fields: Vec<ClientField>,
    /// The etag that the caller has read.
    pub etag: Option<Revision>,
}

/// A new API key.
#[derive(Debug)]
pub struct NewApiKey {
    /// Its text, which is kept nowhere else.
    pub key: ApiKey,
    /// Its facts.
    pub facts: ApiKeyRow,
}

impl Authority {
    /// One client.
    pub async fn get_client(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        client_id: &str,
    ) -> Result<ClientRow, Error> {
        caller.must(Permission::AdminRead)?;
        self.check_stored_name(client_id).await?;
        let mut row = self.store.client(client_id).await?.ok_or_else(|| missing(client_id))?;
        add_last_uses(snapshot, &mut row);
        Ok(row)
    }

    /// A page of clients, by their names.
    pub async fn list_clients(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        page_size: i32,
        page_token: &str,
    ) -> Result<(Vec<ClientRow>, String), Error> {
        caller.must(Permission::AdminRead)?;
        let page = page("clients", page_size, page_token)?;
        let mut rows = self.store.clients_after(page.after_name()?, page.limit()).await?;
        let next = page.cut(&mut rows, |row| row.client.client_id.clone());
        for row in &mut rows {
            add_last_uses(snapshot, row);
        }
        Ok((rows, next))
    }

    /// Registers a client.
    pub async fn create_client(&self, caller: &Caller, mut new: ClientRow) -> Result<ClientRow, Error> {
        caller.must(Permission::AdminWrite)?;
        check_client_name("client.client_id", &new.client.client_id)?;
        check_registration(&new)?;
        check_whole(&new.client)?;
        let audit = self.audit_of(caller, "CreateClient", &new.client.client_id);
        let (written, create_time) = self.store.create_client(&new, &audit).await?;
        let revision = written_at(written, &new.client.client_id, "client")?;
        new.client.revision = revision;
        new.create_time = create_time.unwrap_or(new.create_time);
        self.changed(&audit, revision).await?;
        Ok(new)
    }

    /// Changes a client.
    pub async fn update_client(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        update: &ClientUpdate,
    ) -> Result<ClientRow, Error> {
        caller.must(Permission::AdminWrite)?;
        let client_id = &update.client.client.client_id;
        check_client_name("client.client_id", client_id)?;
        check_registration(&update.client)?;
        let note = note_of(update);
        for _ in 0..TRIES_MAX {
            let stored = self.store.client(client_id).await?;
            // A refused row is no base for another: that would vouch for values that jeton did not write.
            let stored = stored.filter(|row| !row.is_refused()).ok_or_else(|| missing(client_id))?;
            check_etag(&stored, update.etag)?;
            let expected = stored.client.revision;
            let mut merged = merge(stored, update);
            check_whole(&merged.client)?;
            let audit = NewAudit { note: note.clone(), ..self.audit_of(caller, "UpdateClient", client_id) };
            let written = self.store.update_client(&merged, expected, &audit).await?;
            if written == ClientWrite::Stale {
                continue;
            }
            merged.client.revision = written_at(written, client_id, &format!("client.{}", decisive(update)))?;
            self.changed(&audit, merged.client.revision).await?;
            add_last_uses(snapshot, &mut merged);
            return Ok(merged);
        }
        Err(Error::Overloaded)
    }

    /// Removes a client with its keys. All tokens that it obtained are dead on every replica when this returns.
    pub async fn delete_client(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        client_id: &str,
        etag: Option<Revision>,
    ) -> Result<(), Error> {
        caller.must(Permission::AdminWrite)?;
        self.check_stored_name(client_id).await?;
        for _ in 0..TRIES_MAX {
            let stored = self.store.client(client_id).await?.ok_or_else(|| missing(client_id))?;
            check_etag(&stored, etag)?;
            let (expected, mark_end) = (stored.client.revision, self.wide_end(snapshot));
            let audit = self.audit_of(caller, "DeleteClient", client_id);
            let written = self.store.delete_client(client_id, expected, mark_end, &audit).await?;
            if written == ClientWrite::Stale {
                continue;
            }
            self.changed(&audit, written_at(written, client_id, "client_id")?).await?;
            return Ok(());
        }
        Err(Error::Overloaded)
    }

    /// Adds an API key that lives for `ttl_s`, or without end.
    pub async fn create_api_key(
        &self,
        caller: &Caller,
        client_id: &str,
        ttl_s: Option<i64>,
    ) -> Result<NewApiKey, Error> {
        caller.must(Permission::AdminWrite)?;
        check_client_name("client_id", client_id)?;
        check_api_key_ttl(ttl_s)?;
        let key = ApiKey::generate();
        let expire_time = ttl_s.map(|ttl_s| self.now().saturating_add(ttl_s));
        let audit =
            NewAudit { note: key.id().to_owned(), ..self.audit_of(caller, "CreateApiKey", client_id) };
        let written = self.store.create_api_key(client_id, &key, expire_time, API_KEYS_MAX, &audit).await?;
        let (written, create_time) = written;
        self.changed(&audit, written_at(written, client_id, "client_id")?).await?;
        let facts = ApiKeyRow {
            api_key_id: key.id().to_owned(),
            create_time: create_time.unwrap_or_else(|| self.clock.now()),
            expire_time,
            last_use_time: None,
            refused: None,
        };
        Ok(NewApiKey { key, facts })
    }

    /// Removes an API key: it is refused on every replica when this returns.
    pub async fn delete_api_key(
        &self,
        caller: &Caller,
        client_id: &str,
        api_key_id: &str,
    ) -> Result<(), Error> {
        caller.must(Permission::AdminWrite)?;
        self.check_stored_name(client_id).await?;
        if let Err(invalid) = check_api_key_id(api_key_id) {
            let stored = self.store.client(client_id).await?;
            // jeton did not write such a row; it can be removed like any other.
            if stored.is_none_or(|row| row.api_keys.iter().all(|key| key.api_key_id != api_key_id)) {
                return Err(invalid.into());
            }
        }
        let audit =
            NewAudit { note: api_key_id.to_owned(), ..self.audit_of(caller, "DeleteApiKey", client_id) };
        let written = self.store.delete_api_key(client_id, api_key_id, &audit).await?;
        if written == ClientWrite::Stale {
            return Err(Error::NotFound { resource_type: "api_key", name: api_key_id.to_owned() });
        }
        self.changed(&audit, written_at(written, client_id, "api_key_id")?).await?;
        Ok(())
    }

    /// Checks the name of a client that is to be read or removed. A row that jeton did not write may have any name.
    async fn check_stored_name(&self, client_id: &str) -> Result<(), Error> {
        let Err(invalid) = check_client_name("client_id", client_id) else { return Ok(()) };
        // Postgres knows no NUL.
        if !client_id.contains('\0') && self.store.client(client_id).await?.is_some() {
            return Ok(());
        }
        Err(invalid.into())
    }

    fn audit_of(&self, caller: &Caller, action: &'static str, client_id: &str) -> NewAudit {
        NewAudit { client_id: Some(client_id.to_owned()), ..self.audit(caller, action) }
    }
}

/// The revision of a write, or the reason why there is none. `field`: the field of the request that would have to
/// differ.
fn written_at(written: ClientWrite, client_id: &str, field: &str) -> Result<Revision, Error> {
    let taken = |resource_type, name| Err(Error::AlreadyExists { resource_type, name });
    match written {
        ClientWrite::Written(revision) => Ok(revision),
        ClientWrite::Stale => Err(missing(client_id)),
        ClientWrite::ClientTaken => taken("client", client_id.to_owned()),
        ClientWrite::CertificateTaken(uri) => taken("certificate_uri", uri),
        ClientWrite::LastAdministrator => Err(Invalid::field(field, LAST_ADMINISTRATOR).into()),
        ClientWrite::TooManyKeys => {
            let rule =
                format!("of a client with fewer than {API_KEYS_MAX} API keys: delete one that is not used");
            Err(Invalid::field(field, rule).into())
        }
    }
}

fn missing(client_id: &str) -> Error {
    Error::NotFound { resource_type: "client", name: client_id.to_owned() }
}

/// The audit note of an update: its fields, with their values if they are short and say what a client may do.
fn note_of(update: &ClientUpdate) -> String {
    let client = &update.client.client;
    let words = |(field, name): &(ClientField, &str)| match field {
        ClientField::Disabled if client.disabled => "disabled".to_owned(),
        ClientField::Disabled => "enabled".to_owned(),
        ClientField::Permissions => {
            let names = client.permissions.iter().map(|it| it.name().trim_start_matches("PERMISSION_"));
            format!("{name}={}", names.collect::<Vec<_>>().join(","))
        }
        ClientField::DisplayName
        | ClientField::CertificateUris
        | ClientField::Audiences
        | ClientField::Subjects
        | ClientField::OwnSubject => (*name).to_owned(),
    };
    let named = ClientField::ALL.iter().filter(|(field, _)| update.fields.contains(field));
    named.map(words).collect::<Vec<_>>().join(" ")
}

/// The field that would remove the last administrator.
fn decisive(update: &ClientUpdate) -> &'static str {
    let takes = |field: &ClientField| match field {
        ClientField::Disabled => update.client.client.disabled,
        ClientField::Permissions => !update.client.client.may(Permission::AdminWrite),
        ClientField::CertificateUris => update.client.client.certificate_uris.is_empty(),
        ClientField::DisplayName
        | ClientField::Audiences
        | ClientField::Subjects
        | ClientField::OwnSubject => false,
    };
    // From the end, because `disabled` is the plainest.
    let named =
        ClientField::ALL.iter().rev().find(|(field, _)| update.fields.contains(field) && takes(field));
    named.map_or("client_id", |(_, name)| *name)
}

fn check_etag(stored: &ClientRow, etag: Option<Revision>) -> Result<(), Error> {
    let current = stored.client.revision;
    match etag {
        Some(etag) if etag != current => Err(Error::EtagMismatch { current: current.to_string() }),
        _ => Ok(()),
    }
}

fn merge(stored: ClientRow, update: &ClientUpdate) -> ClientRow {
    let (mut merged, given) = (stored, &update.client);
    for field in &update.fields {
        let (into, from) = (&mut merged.client, &given.client);
        match field {
            ClientField::DisplayName => merged.display_name.clone_from(&given.display_name),
            ClientField::CertificateUris => into.certificate_uris.clone_from(&from.certificate_uris),
            ClientField::Permissions => into.permissions.clone_from(&from.permissions),
            ClientField::Audiences => into.audiences.clone_from(&from.audiences),
            ClientField::Subjects => into.subjects.clone_from(&from.subjects),
            ClientField::OwnSubject => into.own_subject.clone_from(&from.own_subject),
            ClientField::Disabled => into.disabled = from.disabled,
        }
    }
    merged
}

/// Adds the uses that this replica knows of and has not written yet.
fn add_last_uses(snapshot: &Snapshot, row: &mut ClientRow) {
    let clients = snapshot.root.issuing.clients.load();
    for key in &mut row.api_keys {
        let here: Option<UnixSeconds> =
            clients.api_key(&key.api_key_id).and_then(|(record, _)| record.last_use.time());
        key.last_use_time = key.last_use_time.max(here);
    }
}
