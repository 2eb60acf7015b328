//! The caller and its rights.

use std::sync::Arc;

use crate::{
    authority::{
        Authority, Denied, Error, RefreshRefused,
        access::assertion::{Purpose, Vouched, is_jws},
    },
    replica::Refusals,
    state::{Client, Permission, Root, Snapshot},
    tls::{Peer, PeerCertificate},
};
use jeton_token::{UnixSeconds, hash_eq, is_api_key_id, named_id, sha256};

/// API keys are shorter. Of a longer text only so much is hashed, bytes.
const API_KEY_BYTES_MAX: usize = 128;

/// The credential that a caller presents.
#[derive(Clone, Copy, Debug)]
pub enum PresentedCredential<'a> {
    /// The text of an API key; empty if something else was sent.
    ApiKey(&'a str),
    /// An API key with the name of its client, in either of two spellings (RFC 6749 section 2.3.1).
    Named {
        /// The API key.
        api_key: &'a str,
        /// The client's name.
        client_id: [&'a str; 2],
    },
    /// The certificate of the connection, if it has one.
    Certificate,
    /// An assertion of a trusted issuer, which was found good.
    Vouched(&'a Vouched),
}

/// A credential that was found good: it names a client. Each root is asked again whether it still holds.
#[derive(Clone, Debug)]
pub struct Credential {
    kind: Kind,
    /// Counts the refusals of its client.
    refusals: Refusals,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Kind {
    ApiKey { id: String, hash: [u8; 32] },
    Certificate(PeerCertificate),
    Assertion(Vouched),
}

/// A client whose credential was found good in a snapshot: valid as long as that snapshot is used.
#[derive(Debug)]
pub struct AuthenticatedClient {
    credential: Arc<Credential>,
    client: Arc<Client>,
}

impl AuthenticatedClient {
    /// Its name.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client.client_id
    }

    /// Refuses a client without the permission, before any of its request is read.
    pub fn must(&self, permission: Permission) -> Result<(), Denied> {
        if self.client.may(permission) {
            return Ok(());
        }
        let denied = Denied::Permission(permission);
        let (reason, what) = denied.kind();
        self.credential.refusals.count(&self.client.client_id, reason, what);
        Err(denied)
    }

    /// The caller of a call with this trace id.
    #[must_use]
    pub fn into_caller(self, trace_id: String) -> Caller {
        let Self { credential, client } = self;
        Caller { client, credential, trace_id }
    }
}

/// The facts about a credential that its owner may be told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CredentialFacts {
    /// The part of an API key that is no secret.
    pub api_key_id: Option<String>,
    /// The URI of a certificate.
    pub certificate_uri: Option<String>,
    /// The end of its life; `None`: it has none.
    pub expire_time: Option<UnixSeconds>,
}

/// An authenticated caller.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Its registration.
    pub client: Arc<Client>,
    /// The credential that it presented.
    credential: Arc<Credential>,
    /// W3C trace id of the call, for the audit.
    pub trace_id: String,
}

impl Credential {
    /// The credential of an API key's text. A text that cannot be a key is hashed as well, so that the time taken does
    /// not tell what is wrong with it.
    fn of_api_key(text: &str, refusals: Refusals) -> Self {
        let hashed = text.as_bytes().get(..API_KEY_BYTES_MAX).unwrap_or(text.as_bytes());
        let id = named_id(text).unwrap_or_default().to_owned();
        Self { kind: Kind::ApiKey { id, hash: sha256(&[hashed]) }, refusals }
    }

    /// The client that the credential names in this root.
    fn client(&self, root: &Root, now: UnixSeconds) -> Option<Arc<Client>> {
        let clients = root.issuing.clients.load();
        let client = match &self.kind {
            Kind::ApiKey { id, hash } => {
                let found = clients.api_key(id);
                let stored = found.map_or(&[0; 32], |(record, _)| &record.secret_hash);
                let same = hash_eq(stored, hash);
                let (record, client) = found.filter(|_| same)?;
                let alive = record.expire_time.is_none_or(|end| now < end) && !client.disabled;
                if !alive {
                    return None;
                }
                record.last_use.used(now);
                client
            }
            Kind::Certificate(certificate) => {
                // A connection may outlive the certificate that it was opened with.
                let client = clients.by_certificate(certificate.uri.as_str())?;
                (now <= certificate.not_after).then_some(client)?
            }
            Kind::Assertion(vouched) => {
                let issuers = root.issuing.issuers.load();
                let issuer = issuers.get(&vouched.issuer_id)?;
                let holds = !issuer.disabled
                    && issuer.revision == vouched.issuer_revision
                    && now < vouched.expire_time;
                clients.get(&vouched.client_id).filter(|_| holds)?
            }
        };
        (!client.disabled).then(|| Arc::clone(client))
    }
}

impl Authority {
    /// Authenticates a caller. The refusal is the same whatever is wrong, until one address has failed too often.
    pub fn authenticate(
        &self,
        snapshot: &Snapshot,
        presented: PresentedCredential<'_>,
        peer: &Peer,
    ) -> Result<AuthenticatedClient, Error> {
        let (text, known) = match presented {
            PresentedCredential::ApiKey(api_key) | PresentedCredential::Named { api_key, .. } => {
                (Some(api_key), self.known_keys.get(api_key))
            }
            PresentedCredential::Certificate | PresentedCredential::Vouched(_) => (None, None),
        };
        let of = |kind| Credential { kind, refusals: self.refusals.clone() };
        let found = || match (presented, text) {
            (PresentedCredential::Vouched(vouched), _) => Some(of(Kind::Assertion(vouched.clone()))),
            (PresentedCredential::ApiKey(_), Some(jws)) if is_jws(jws) => self
                .vouched(snapshot, jws, Purpose::Identity)
                .ok()
                .map(|vouched| of(Kind::Assertion(vouched))),
            (_, Some(api_key)) => Some(Credential::of_api_key(api_key, self.refusals.clone())),
            (_, None) => peer.certificate.clone().map(|it| of(Kind::Certificate(it))),
        };
        let fits = |client: &Arc<Client>| match presented {
            PresentedCredential::Named { client_id, .. } => client_id.contains(&client.client_id.as_str()),
            PresentedCredential::ApiKey(_)
            | PresentedCredential::Certificate
            | PresentedCredential::Vouched(_) => true,
        };
        let is_known = known.is_some();
        let credential = known.or_else(|| found().map(Arc::new));
        let known = credential.and_then(|credential| {
            let client = credential.client(&snapshot.root, snapshot.now()).filter(fits)?;
            Some(AuthenticatedClient { credential, client })
        });
        let known = known.ok_or_else(|| {
            self.log_refused(text, peer);
            // The client is unknown, so the refusal is counted for the address.
            self.refusals.count_stranger(peer.address, "CALLER_UNAUTHENTICATED", "a bad credential");
            self.rates.failed(peer.address, &self.clock)
        })?;
        if let Some(api_key) = text.filter(|_| !is_known) {
            self.known_keys.insert(api_key, &known.credential);
        }
        Ok(known)
    }

    /// Logs some of the refused credentials: whoever knows the address can tell what is set up wrongly.
    fn log_refused(&self, api_key: Option<&str>, peer: &Peer) {
        let Some(left_out) = self.refusal_lines.turn(self.clock.now_s()) else { return };
        tracing::warn!(
            client.address = %peer.address,
            jeton.api_key_id = api_key.and_then(named_id).filter(|id| is_api_key_id(id)),
            jeton.certificate = peer.certificate.as_ref().map(|it| display(it.uri.as_str())),
            jeton.left_out = Some(left_out).filter(|left_out| *left_out > 0),
            "a credential was refused"
        );
    }

    /// Counts a call, and refuses it beyond the caller's rate.
    pub fn check_rate(&self, caller: &Caller) -> Result<(), Error> {
        self.rates.called(&caller.client.client_id, &self.clock)
    }
}

impl Caller {
    /// The same caller, as a later snapshot has it.
    pub fn again(&self, snapshot: &Snapshot) -> Result<Self, Error> {
        let client = self.credential.client(&snapshot.root, snapshot.now()).ok_or(Error::Unauthenticated)?;
        Ok(Self { client, ..self.clone() })
    }

    /// The facts about its credential.
    #[must_use]
    pub fn credential_facts(&self, snapshot: &Snapshot) -> CredentialFacts {
        match &self.credential.kind {
            Kind::ApiKey { id, .. } => {
                let clients = snapshot.root.issuing.clients.load();
                let expire_time = clients.api_key(id).and_then(|(record, _)| record.expire_time);
                CredentialFacts { api_key_id: Some(id.clone()), expire_time, ..CredentialFacts::default() }
            }
            Kind::Certificate(certificate) => CredentialFacts {
                certificate_uri: Some(certificate.uri.as_str().to_owned()),
                expire_time: Some(certificate.not_after),
                ..CredentialFacts::default()
            },
            Kind::Assertion(vouched) => {
                CredentialFacts { expire_time: Some(vouched.expire_time), ..CredentialFacts::default() }
            }
        }
    }

    /// The assertion by which it is known, if it is.
    #[must_use]
    pub fn vouched(&self) -> Option<&Vouched> {
        match &self.credential.kind {
            Kind::Assertion(vouched) => Some(vouched),
            Kind::ApiKey { .. } | Kind::Certificate(_) => None,
        }
    }

    /// Counts that the caller was denied something.
    #[must_use]
    pub fn denied(&self, denied: Denied) -> Denied {
        let (reason, what) = denied.kind();
        self.refused(reason, what);
        denied
    }

    /// Counts a refusal to the caller. `reason` is an `ErrorReason`.
    pub(in crate::authority) fn refused(&self, reason: &'static str, what: &'static str) {
        self.credential.refusals.count(&self.client.client_id, reason, what);
    }

    /// The refusal of a refresh token that this issuer did not make.
    pub(in crate::authority) fn forged(&self) -> RefreshRefused {
        self.refused("REFRESH_TOKEN_INVALID", "a bad refresh token");
        RefreshRefused::Invalid
    }

    /// Refuses a caller that claims to be another client than its credential says.
    pub fn must_be(&self, client_id: &str) -> Result<(), Error> {
        if self.client.client_id == client_id {
            return Ok(());
        }
        self.refused("CALLER_UNAUTHENTICATED", "to be another client");
        Err(Error::Unauthenticated)
    }

    /// Refuses a caller without the permission.
    pub fn must(&self, permission: Permission) -> Result<(), Denied> {
        if self.client.may(permission) { Ok(()) } else { Err(self.denied(Denied::Permission(permission))) }
    }

    /// Refuses the first audience that the caller is not registered for.
    pub fn must_cover_audiences(&self, audiences: &[String]) -> Result<(), Denied> {
        match audiences.iter().find(|audience| !self.client.covers_audience(audience)) {
            Some(audience) => Err(self.denied(Denied::Audience(audience.clone()))),
            None => Ok(()),
        }
    }

    /// Refuses a subject that the caller is not registered for.
    pub fn must_cover_subject(&self, subject: &str) -> Result<(), Denied> {
        if self.client.covers_subject(subject) {
            Ok(())
        } else {
            Err(self.denied(Denied::Subject(subject.to_owned())))
        }
    }
}
