//! The tokens and sessions of the double.

use std::{collections::HashMap, time::Duration};

use tonic::Status;

use crate::{Code, proto as pb, testing::refusal};

/// The time of a new double, seconds since the epoch: the begin of 2026.
const BEGIN_S: i64 = 1_767_225_600;
const TTL_DEFAULT: Duration = Duration::from_hours(1);
const TTL_MAX: Duration = Duration::from_hours(24);

#[derive(Default)]
pub(super) struct Tokens {
    made: u64,
    minted: HashMap<String, Minted>,
    sessions: Vec<Session>,
}

struct Minted {
    request: pb::IssueRequest,
    jti: String,
    session_id: String,
    issued: Duration,
    expires: Duration,
    is_revoked: bool,
}

struct Session {
    id: String,
    request: pb::IssueRequest,
    current: String,
    previous: String,
    spent: Vec<String>,
    latest: pb::IssuedToken,
    is_revoked: bool,
}

impl Tokens {
    fn number(&mut self) -> String {
        self.made = self.made.saturating_add(1);
        format!("{:012}", self.made)
    }

    pub(super) fn issue(
        &mut self,
        request: &pb::IssueRequest,
        now: Duration,
    ) -> Result<pb::IssueResponse, Status> {
        let required = |field: &str| {
            refusal(Code::InvalidArgument, "FIELD_REQUIRED", [("field".to_owned(), field.to_owned())].into())
        };
        if request.subject.is_empty() {
            return Err(required("subject"));
        }
        let Some(audience) = request.audiences.first() else { return Err(required("audiences")) };
        let ttl = ttl(request, now);
        if ttl > TTL_MAX {
            let metadata = [
                ("audience", audience.clone()),
                ("requestedTtlSeconds", ttl.as_secs().to_string()),
                ("maxTtlSeconds", TTL_MAX.as_secs().to_string()),
            ];
            let metadata = metadata.map(|(key, value)| (key.to_owned(), value)).into();
            return Err(refusal(Code::InvalidArgument, "TTL_EXCEEDS_MAXIMUM", metadata));
        }
        Ok(pb::IssueResponse { token: Some(self.mint(request, now)) })
    }

    /// Mints a token, and opens its session if it is to be refreshable.
    pub(super) fn mint(&mut self, request: &pb::IssueRequest, now: Duration) -> pb::IssuedToken {
        let mut token = self.mint_of(request, "", now);
        if request.refreshable {
            let id = token.jti.clone();
            token.session_id.clone_from(&id);
            let current = format!("double-refresh-{}", self.number());
            token.refresh = Some(refresh_credential(&current));
            if let Some(minted) = self.minted.get_mut(&token.access_token) {
                minted.session_id.clone_from(&id);
            }
            let (previous, spent, is_revoked) = (String::new(), Vec::new(), false);
            let (request, latest) = (request.clone(), token.clone());
            self.sessions.push(Session { id, request, current, previous, spent, latest, is_revoked });
        }
        token
    }

    fn mint_of(&mut self, request: &pb::IssueRequest, session_id: &str, now: Duration) -> pb::IssuedToken {
        let number = self.number();
        let (text, jti) = (format!("double-token-{number}"), format!("00000000-0000-7000-8000-{number}"));
        let ttl = ttl(request, now);
        let expires = now.saturating_add(ttl);
        let token = pb::IssuedToken {
            access_token: text.clone(),
            jti: jti.clone(),
            session_id: session_id.to_owned(),
            issue_time: Some(timestamp(now)),
            expire_time: Some(timestamp(expires)),
            refresh_time: Some(timestamp(now.saturating_add(ttl.mul_f64(0.8)))),
            ..Default::default()
        };
        let (request, session_id, is_revoked) = (request.clone(), session_id.to_owned(), false);
        self.minted.insert(text, Minted { request, jti, session_id, issued: now, expires, is_revoked });
        token
    }

    pub(super) fn refresh(
        &mut self,
        request: &pb::RefreshRequest,
        now: Duration,
    ) -> Result<pb::RefreshResponse, Status> {
        let given = &request.refresh_token;
        let knows = |session: &&mut Session| {
            !given.is_empty()
                && (session.current == *given || session.previous == *given || session.spent.contains(given))
        };
        let Some(session) = self.sessions.iter_mut().find(knows) else {
            return Err(refusal(Code::Unauthenticated, "REFRESH_TOKEN_INVALID", HashMap::new()));
        };
        let mut metadata = HashMap::from([("sessionId".to_owned(), session.id.clone())]);
        if session.is_revoked {
            let reason = pb::RevocationReason::Administrative.as_str_name().to_owned();
            metadata.insert("revocationReason".to_owned(), reason);
            return Err(refusal(Code::Unauthenticated, "SESSION_REVOKED", metadata));
        }
        if session.previous == *given {
            // Within its grace the server answers with the same successor.
            return Ok(pb::RefreshResponse { token: Some(session.latest.clone()) });
        }
        if session.current != *given {
            session.is_revoked = true;
            return Err(refusal(Code::Unauthenticated, "REFRESH_TOKEN_REUSED", metadata));
        }
        let mut issue = session.request.clone();
        if let Some(ttl) = request.ttl {
            issue.expiration = Some(pb::issue_request::Expiration::Ttl(ttl));
        }
        if !request.scopes.is_empty() {
            issue.scopes.clone_from(&request.scopes);
        }
        let id = session.id.clone();
        let successor = format!("double-refresh-{}", self.number());
        let mut token = self.mint_of(&issue, &id, now);
        token.refresh = Some(refresh_credential(&successor));
        if let Some(session) = self.sessions.iter_mut().find(|session| session.id == id) {
            let previous = std::mem::replace(&mut session.current, successor);
            let older = std::mem::replace(&mut session.previous, previous);
            session.spent.push(older);
            session.latest = token.clone();
        }
        Ok(pb::RefreshResponse { token: Some(token) })
    }

    pub(super) fn judge(&self, request: &pb::ValidateRequest, now: Duration) -> pb::Verdict {
        use pb::TokenStatus as Status;
        let verdict = pb::Verdict { server_time: Some(timestamp(now)), ..Default::default() };
        let Some(found) = self.minted.get(&request.token) else {
            return pb::Verdict { status: Status::Malformed.into(), ..verdict };
        };
        let asked = &found.request;
        let session = self.sessions.iter().find(|session| session.id == found.session_id);
        let has = |all: &[String], one: &String| all.contains(one);
        let audiences = &request.audiences;
        let status = if now >= found.expires {
            Status::Expired
        } else if found.is_revoked || session.is_some_and(|session| session.is_revoked) {
            Status::Revoked
        } else if !audiences.is_empty() && !audiences.iter().any(|one| has(&asked.audiences, one)) {
            Status::WrongAudience
        } else if !request.scopes.iter().all(|one| has(&asked.scopes, one)) {
            Status::MissingScope
        } else if !asked.certificate_thumbprint.is_empty()
            && asked.certificate_thumbprint != request.certificate_thumbprint
        {
            Status::WrongBinding
        } else {
            Status::Active
        };
        pb::Verdict {
            status: status.into(),
            subject: asked.subject.clone(),
            audiences: asked.audiences.clone(),
            scopes: asked.scopes.clone(),
            jti: found.jti.clone(),
            session_id: found.session_id.clone(),
            client_id: "double".to_owned(),
            issue_time: Some(timestamp(found.issued)),
            expire_time: Some(timestamp(found.expires)),
            claims: asked.claims.clone(),
            ..verdict
        }
    }

    pub(super) fn revoke(&mut self, request: &pb::RevokeRequest, now: Duration) -> pb::RevokeResponse {
        use pb::revocation_target::Kind;
        match request.target.as_ref().and_then(|target| target.kind.as_ref()) {
            Some(Kind::Token(text)) => {
                if let Some(minted) = self.minted.get_mut(text) {
                    minted.is_revoked = true;
                }
                self.revoke_sessions(|session| session.current == *text || session.previous == *text);
            }
            Some(Kind::Jti(jti)) => self.revoke_jti(jti),
            Some(Kind::SessionId(id)) => self.revoke_session(id),
            Some(Kind::Subject(subject)) => {
                for minted in self.minted.values_mut().filter(|it| it.request.subject == *subject) {
                    minted.is_revoked = true;
                }
                self.revoke_sessions(|session| session.request.subject == *subject);
            }
            _ => {}
        }
        pb::RevokeResponse {
            outcome: pb::RevocationOutcome::Revoked.into(),
            revoke_time: Some(timestamp(now)),
            propagation: Some(pb::Propagation { complete: true, ..Default::default() }),
            ..Default::default()
        }
    }

    pub(super) fn revoke_jti(&mut self, jti: &str) {
        for minted in self.minted.values_mut().filter(|minted| minted.jti == jti) {
            minted.is_revoked = true;
        }
    }

    pub(super) fn revoke_session(&mut self, id: &str) {
        self.revoke_sessions(|session| session.id == id);
    }

    fn revoke_sessions(&mut self, is_hit: impl Fn(&Session) -> bool) {
        for session in self.sessions.iter_mut().filter(|session| is_hit(session)) {
            session.is_revoked = true;
        }
    }
}

fn ttl(request: &pb::IssueRequest, now: Duration) -> Duration {
    use pb::issue_request::Expiration;
    match request.expiration {
        None => TTL_DEFAULT,
        Some(Expiration::Ttl(ttl)) => ttl.try_into().unwrap_or_default(),
        Some(Expiration::ExpireTime(time)) => {
            let end = time.seconds.saturating_sub(BEGIN_S).try_into().unwrap_or(0);
            Duration::from_secs(end).saturating_sub(now)
        }
    }
}

fn timestamp(now: Duration) -> prost_types::Timestamp {
    let seconds = BEGIN_S.saturating_add(now.as_secs().try_into().unwrap_or(i64::MAX));
    prost_types::Timestamp { seconds, nanos: now.subsec_nanos().try_into().unwrap_or(0) }
}

fn refresh_credential(text: &str) -> pb::RefreshCredential {
    pb::RefreshCredential { refresh_token: text.to_owned(), ..Default::default() }
}
