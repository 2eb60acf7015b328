//! Issue: mints an access token and, on demand, opens a refreshable session.

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    authority::{
        Authority, Caller, Error, Invalid,
        access::quota::over_subject_sessions,
        admin::lock::refuse_if_locked,
        tokens::{
            form::{check_audiences, check_scopes},
            mint::{Draft, Minted, check_claims},
        },
    },
    mint::{Ask, Basis, RefreshToken, SessionSecret},
    state::{Permission, Snapshot, Terms},
    store::{AuditedAct, NewAudit, NewSession},
};
use jeton_token::{Actor, RawToken, Thumbprint, UnixSeconds, largest_claim, limits, new_uuid_v7, text};

/// A request of Issue.
#[derive(Clone, Debug)]
pub struct IssueRequest {
    /// `sub`.
    pub subject: String,
    /// `aud`.
    pub audiences: Vec<String>,
    /// `scope`.
    pub scopes: Vec<String>,
    /// Custom claims.
    pub claims: Map<String, Value>,
    /// The requested lifetime.
    pub ask: Ask,
    /// Opens a session.
    pub refreshable: bool,
    /// Binds the token to this certificate.
    pub certificate_thumbprint: Option<Thumbprint>,
    /// The trusted issuer by whose assertion it is obtained, by its short id; empty: by none.
    pub identity_provider: String,
    /// Who acts for the subject.
    pub actor: Option<Actor>,
    /// The token ends no later.
    pub latest_end: Option<UnixSeconds>,
}

/// A token that is handed out.
#[derive(Debug)]
pub struct Issued {
    /// The compact JWS.
    pub access_token: String,
    /// Its id.
    pub jti: Uuid,
    /// The session it belongs to.
    pub session_id: Option<Uuid>,
    /// `iat`.
    pub issue_time: UnixSeconds,
    /// `exp`.
    pub expire_time: UnixSeconds,
    /// The time to renew it.
    pub refresh_time: UnixSeconds,
    /// The rule that decided `exp`.
    pub basis: Basis,
    /// The refresh token, if a session was opened.
    pub refresh: Option<RefreshCredential>,
}

/// The renewable half of a session.
#[derive(Debug)]
pub struct RefreshCredential {
    /// Opaque, single use.
    pub refresh_token: String,
    /// The session ends if it is not used until then.
    pub idle_expire_time: UnixSeconds,
    /// The session ends then in any case.
    pub session_expire_time: UnixSeconds,
}

/// A minted token that must be audited before it is handed out.
#[derive(Debug)]
pub struct Unaudited {
    issued: Issued,
    audit: NewAudit,
}

/// The result of an Issue that waits for nothing.
#[derive(Debug)]
pub enum TryIssued {
    /// A token.
    Whole(Issued),
    /// A token for [`Authority::audit_issue`].
    ToAudit(Box<Unaudited>),
}

impl Issued {
    pub(in crate::authority) fn new(
        minted: Minted,
        session_id: Option<Uuid>,
        refresh: Option<RefreshCredential>,
    ) -> Self {
        Self {
            access_token: minted.text,
            jti: minted.jti,
            session_id,
            issue_time: minted.issue_time,
            expire_time: minted.expire_time,
            refresh_time: minted.refresh_time,
            basis: minted.basis,
            refresh,
        }
    }
}

impl Authority {
    /// Mints a token. Writes one row for a session, and one if a policy requires an audit; otherwise nothing. The form of
    /// the request has been checked.
    pub async fn issue(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        request: IssueRequest,
    ) -> Result<Issued, Error> {
        let request = request.by(caller);
        if !request.refreshable {
            return match self.try_issue(snapshot, caller, request)? {
                TryIssued::Whole(issued) => Ok(issued),
                TryIssued::ToAudit(unaudited) => self.audit_issue(snapshot, *unaudited).await,
            };
        }
        let terms = terms(snapshot, caller, &request)?;
        let audit = terms.audit_issue().then(|| self.audit_of_issue(caller, &request));
        let issued = self.open_session(snapshot, &caller.client.client_id, &terms, request).await?;
        if let Some(audit) = audit {
            return self.audit_issue(snapshot, Unaudited { issued, audit }).await;
        }
        self.metrics.issued("Issue");
        Ok(issued)
    }

    /// Mints a token without a session, even if the request is refreshable. Waits for nothing.
    pub fn try_issue(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        request: IssueRequest,
    ) -> Result<TryIssued, Error> {
        let request = request.by(caller);
        let terms = terms(snapshot, caller, &request)?;
        let audit = terms.audit_issue().then(|| self.audit_of_issue(caller, &request));
        let draft = request.into_draft(&caller.client.client_id);
        let issued = Issued::new(self.mint(snapshot, &terms, draft)?, None, None);
        if let Some(audit) = audit {
            return Ok(TryIssued::ToAudit(Box::new(Unaudited { issued, audit })));
        }
        self.metrics.issued("Issue");
        Ok(TryIssued::Whole(issued))
    }

    fn audit_of_issue(&self, caller: &Caller, request: &IssueRequest) -> NewAudit {
        NewAudit {
            subject: Some(request.subject.clone()),
            audience: Some(request.audiences.join(" ")),
            client_id: Some(caller.client.client_id.clone()),
            ..self.audit(caller, "Issue")
        }
    }

    /// Writes the audit row of a token, and hands the token out when the row is durable.
    pub async fn audit_issue(&self, snapshot: &Snapshot, unaudited: Unaudited) -> Result<Issued, Error> {
        let Unaudited { issued, audit } = unaudited;
        let audit = NewAudit { jti: Some(issued.jti), session_id: issued.session_id, ..audit };
        let act = AuditedAct { audit, known: snapshot.revision, outcome: "OK".to_owned() };
        self.auditor.audit(act).await??;
        self.check_age(snapshot)?;
        self.metrics.issued("Issue");
        Ok(issued)
    }

    async fn open_session(
        &self,
        snapshot: &Snapshot,
        client_id: &str,
        terms: &Terms,
        request: IssueRequest,
    ) -> Result<Issued, Error> {
        let signers = snapshot.root.issuing.signers.load_full();
        let mac = signers.active_mac().ok_or(Error::SigningKeyUnavailable(None))?;
        let create_time = snapshot.issue_time();
        let secret = SessionSecret::generate();
        let draft = request.clone().into_draft(client_id);
        let until = |end: UnixSeconds| request.latest_end.map_or(end, |latest| end.min(latest));
        let session = NewSession {
            id: new_uuid_v7(snapshot.issue_time_ms),
            subject: request.subject,
            client_id: client_id.to_owned(),
            audiences: request.audiences,
            scopes: request.scopes,
            claims: request.claims,
            certificate_thumbprint: request.certificate_thumbprint,
            identity_provider: request.identity_provider,
            secret_hash: secret.hash(),
            mac_key_id: mac.id(),
            revision: snapshot.revision,
            create_time,
            idle_expire_time: until(create_time.saturating_add(terms.refresh_idle_s())),
            expire_time: until(create_time.saturating_add(terms.refresh_absolute_s())),
        };
        // Held until the session is open, if few are left: the next count must see it.
        let _counted = self.check_session_quota(client_id).await?;
        // Signed first: a token that cannot be made must not leave a session behind.
        let minted = self.mint(
            snapshot,
            terms,
            Draft { session_id: Some(session.id), session_end: Some(session.expire_time), ..draft },
        )?;
        check_room(&minted)?;
        let most = terms.subject_sessions();
        if !self.store.insert_session(&session, most).await? {
            return Err(over_subject_sessions(most.unwrap_or_default()));
        }
        self.check_age(snapshot)?;
        let refresh = RefreshCredential {
            refresh_token: RefreshToken::mint(mac, session.id, 0, &secret),
            idle_expire_time: session.idle_expire_time,
            session_expire_time: session.expire_time,
        };
        Ok(Issued::new(minted, Some(session.id), Some(refresh)))
    }
}

/// The terms of a request that the caller may make.
fn terms(snapshot: &Snapshot, caller: &Caller, request: &IssueRequest) -> Result<Terms, Error> {
    caller.must(Permission::Issue)?;
    caller.must_cover_audiences(&request.audiences)?;
    caller.must_cover_subject(&request.subject)?;
    refuse_if_locked(snapshot, caller, Some(&request.subject))?;
    let terms = snapshot.root.issuing.policies.load().terms(&request.audiences, &caller.client.client_id);
    terms
        .check_scopes(&request.scopes)
        .map_err(|(scope, audience)| caller.denied(crate::authority::Denied::Scope { scope, audience }))?;
    Ok(terms)
}

/// Leaves room for the digits by which `rev` grows while a session lives. Otherwise a refresh could fail although the
/// session could be opened.
fn check_room(minted: &Minted) -> Result<(), Invalid> {
    const GROWTH_BYTES: usize = 24;
    let size_bytes = minted.text.len().saturating_add(GROWTH_BYTES);
    if size_bytes > limits::TOKEN_BYTES_MAX {
        let raw = RawToken::parse(&minted.text);
        let largest_claim = raw.map(|raw| largest_claim(raw.payload())).unwrap_or_default();
        return Err(Invalid::TokenTooLarge {
            size_bytes,
            max_size_bytes: limits::TOKEN_BYTES_MAX,
            largest_claim,
        });
    }
    Ok(())
}

impl IssueRequest {
    /// Checks the rules that need no look-up.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.subject.is_empty() {
            return Err(Invalid::required("subject"));
        }
        text::check_subject(&self.subject).map_err(|rule| Invalid::field("subject", rule))?;
        if self.audiences.is_empty() {
            return Err(Invalid::required("audiences"));
        }
        check_audiences(&self.audiences)?;
        check_scopes(&self.scopes)?;
        check_claims(&self.claims)
    }

    /// What is obtained by an assertion says so, and ends no later.
    fn by(self, caller: &Caller) -> Self {
        let Some(vouched) = caller.vouched() else { return self };
        let end = self.latest_end.map_or(vouched.expire_time, |end| end.min(vouched.expire_time));
        let identity_provider = if self.identity_provider.is_empty() {
            vouched.issuer_id.clone()
        } else {
            self.identity_provider
        };
        Self { identity_provider, latest_end: Some(end), ..self }
    }

    fn into_draft(self, client_id: &str) -> Draft {
        Draft {
            subject: self.subject,
            audiences: self.audiences,
            scopes: self.scopes,
            client_id: client_id.to_owned(),
            custom: self.claims,
            certificate_thumbprint: self.certificate_thumbprint,
            identity_provider: self.identity_provider,
            actor: self.actor,
            session_id: None,
            session_end: self.latest_end,
            ask: self.ask,
        }
    }
}
