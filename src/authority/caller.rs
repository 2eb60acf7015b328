//! Who calls, and what it may do.

use std::sync::Arc;

use super::{Authority, Denied, Error};
use crate::{
    state::{Client, Pass, Permission, Root},
    token::{ApiKey, UnixSeconds, hash_eq},
};

/// A credential that was found good: it names a key of a client. Whether both still stand is asked
/// of each root anew.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credential {
    api_key_id: String,
    secret_hash: [u8; 32],
}

/// An authenticated caller.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Its registration.
    pub client: Arc<Client>,
    /// What it showed.
    credential: Credential,
    /// W3C trace id of the call, for the audit.
    pub trace_id: String,
}

impl Credential {
    /// Checks the text of an API key. One answer, whatever is wrong with it.
    pub fn check(text: &str, root: &Root, now: UnixSeconds) -> Result<Self, Error> {
        let key = ApiKey::parse(text).ok_or(Error::Unauthenticated)?;
        let credential = Self { api_key_id: key.id().to_owned(), secret_hash: key.hash() };
        credential.client(root, now)?;
        Ok(credential)
    }

    /// The client that it names in this root.
    fn client(&self, root: &Root, now: UnixSeconds) -> Result<Arc<Client>, Error> {
        let clients = root.clients.load();
        let (record, client) = clients.api_key(&self.api_key_id).ok_or(Error::Unauthenticated)?;
        let good = hash_eq(&record.secret_hash, &self.secret_hash)
            && record.expire_time.is_none_or(|end| now < end)
            && !client.disabled;
        if good { Ok(Arc::clone(client)) } else { Err(Error::Unauthenticated) }
    }
}

impl Authority {
    /// The caller, as the root at this gate knows it.
    pub fn caller(&self, pass: &Pass, credential: &Credential, trace_id: &str) -> Result<Caller, Error> {
        let client = credential.client(&pass.root, pass.issue_time())?;
        Ok(Caller { client, credential: credential.clone(), trace_id: trace_id.to_owned() })
    }

    /// The same caller, as the root at a later gate knows it.
    pub(super) fn caller_again(&self, pass: &Pass, caller: &Caller) -> Result<Caller, Error> {
        self.caller(pass, &caller.credential, &caller.trace_id)
    }
}

impl Caller {
    /// Refuses a caller without the permission.
    pub fn must(&self, permission: Permission) -> Result<(), Denied> {
        if self.client.may(permission) { Ok(()) } else { Err(Denied::Permission(permission)) }
    }

    /// Refuses the first audience that the caller is not registered for.
    pub fn must_cover_audiences(&self, audiences: &[String]) -> Result<(), Denied> {
        match audiences.iter().find(|audience| !self.client.covers_audience(audience)) {
            Some(audience) => Err(Denied::Audience(audience.clone())),
            None => Ok(()),
        }
    }

    /// Refuses a subject that the caller is not registered for.
    pub fn must_cover_subject(&self, subject: &str) -> Result<(), Denied> {
        if self.client.covers_subject(subject) { Ok(()) } else { Err(Denied::Subject(subject.to_owned())) }
    }
}
