//! `TokenService`, apart from the methods in `judging`.

use tonic::{Request, Response, Status};

use crate::{
    authority::{
        Error, Findings, Invalid, IssueRequest, RefreshRequest, RevokeOutcome, RevokeRequest, RevokeTarget,
        Revoked,
    },
    edge::{self, Listener, Origin, thumbprint_of},
    mint::Ask,
    proto::{
        v1 as pb,
        v1::{issue_request::Expiration, revocation_target::Kind, token_service_server::TokenService},
    },
    rpc::{
        Context,
        convert::{
            claims_of, issued, lock, propagation, reach_of, reason_of, seconds, session, time_of, timestamp,
            wait_of, whole_seconds,
        },
        status::watchers_not_served,
    },
    state::{Client, LockKind, MarkKind, Permission},
    store::AppendTarget,
};

pub(in crate::rpc) struct TokenRpc(pub(in crate::rpc) Context);

#[tonic::async_trait]
impl TokenService for TokenRpc {
    async fn issue(&self, request: Request<pb::IssueRequest>) -> Result<Response<pb::IssueResponse>, Status> {
        let admission = Origin::of(request.extensions())?.again(&self.0.authority).await?;
        let form = issue_request(request.into_inner());
        let answer = edge::issue(&self.0.authority, &self.0.background, admission, form)?;
        Ok(Response::new(pb::IssueResponse { token: Some(issued(answer.whole().await?)) }))
    }

    async fn refresh(
        &self,
        request: Request<pb::RefreshRequest>,
    ) -> Result<Response<pb::RefreshResponse>, Status> {
        let origin = Origin::of(request.extensions())?;
        let request = refresh_request(request.into_inner());
        let token = edge::refresh(&self.0.authority, &self.0.background, origin, request).await?;
        Ok(Response::new(pb::RefreshResponse { token: Some(issued(token)) }))
    }

    async fn get_caller(
        &self,
        request: Request<pb::GetCallerRequest>,
    ) -> Result<Response<pb::GetCallerResponse>, Status> {
        let (snapshot, caller) = self.0.snapshot(&Origin::of(request.extensions())?).await?;
        let credential = caller.credential_facts(&snapshot);
        let client_id = &caller.client.client_id;
        let held = snapshot.root.issuing.locks.held(LockKind::Client, client_id, snapshot.now());
        Ok(Response::new(pb::GetCallerResponse {
            client: Some(registration(&caller.client)),
            api_key_id: credential.api_key_id.unwrap_or_default(),
            credential_expire_time: credential.expire_time.map(seconds),
            certificate_uri: credential.certificate_uri.unwrap_or_default(),
            lock: held.map(|it| lock(&it, caller.client.may(Permission::AdminRead))),
        }))
    }

    async fn revoke(
        &self,
        request: Request<pb::RevokeRequest>,
    ) -> Result<Response<pb::RevokeResponse>, Status> {
        let Context { authority, background, listener, .. } = &self.0;
        let origin = Origin::of(request.extensions())?;
        let request = revoke_request(request.into_inner(), *listener)?;
        let revoked = edge::revoke(authority, background, *listener, origin, request).await?;
        Ok(Response::new(revoke_response(revoked)))
    }
}

pub(in crate::rpc) fn issue_request(request: pb::IssueRequest) -> Result<IssueRequest, Invalid> {
    let ask = match request.expiration {
        None => Ask::Default,
        Some(Expiration::Ttl(ttl)) => Ask::Ttl { seconds: ttl.seconds, nanos: ttl.nanos },
        Some(Expiration::ExpireTime(time)) => Ask::ExpireAt { seconds: time.seconds, nanos: time.nanos },
    };
    Ok(IssueRequest {
        subject: request.subject,
        audiences: request.audiences,
        scopes: request.scopes,
        claims: claims_of(request.claims)?,
        ask,
        refreshable: request.refreshable,
        certificate_thumbprint: thumbprint_of(&request.certificate_thumbprint)?,
        identity_provider: String::new(),
        actor: None,
        latest_end: None,
    })
}

/// A client without its credentials.
fn registration(client: &Client) -> pb::Client {
    pb::Client {
        client_id: client.client_id.clone(),
        permissions: client.permissions.iter().map(|permission| permission.number().into()).collect(),
        audiences: client.audiences.clone(),
        subjects: client.subjects.clone(),
        own_subject: client.own_subject.clone(),
        etag: client.revision.to_string(),
        ..pb::Client::default()
    }
}

fn refresh_request(request: pb::RefreshRequest) -> RefreshRequest {
    RefreshRequest {
        refresh_token: request.refresh_token,
        scopes: request.scopes,
        ask: request.ttl.map_or(Ask::Default, |ttl| Ask::Ttl { seconds: ttl.seconds, nanos: ttl.nanos }),
    }
}

fn revoke_request(request: pb::RevokeRequest, listener: Listener) -> Result<RevokeRequest, Status> {
    let target = request.target.ok_or_else(|| Invalid::required("target"))?;
    let reach = reach_of(request.wait_for)?;
    Ok(RevokeRequest {
        target: revoke_target(target)?,
        reason: reason_of(request.reason)?,
        note: request.note,
        validate_only: request.validate_only,
        max_affected_sessions: request.max_affected_sessions,
        lock_ttl_s: request.lock_ttl.map(|ttl| whole_seconds("lock_ttl", ttl)).transpose()?,
        // A nearer reach would claim that watchers have it.
        reach: reach.ok_or_else(|| watchers_not_served(listener))?,
        wait: wait_of("wait_timeout", request.wait_timeout)?,
        asks_for_much: false,
    })
}

pub(in crate::rpc) fn revoke_target(target: pb::RevocationTarget) -> Result<RevokeTarget, Error> {
    let cutoff =
        target.issue_cutoff_time.map(|time| time_of("target.issue_cutoff_time", time)).transpose()?;
    let audience = (!target.audience.is_empty()).then_some(target.audience);
    let kind = target.kind.ok_or_else(|| Invalid::required("target"))?;
    let narrow = |target| match (&cutoff, &audience) {
        (None, None) => Ok(target),
        (Some(_), _) => {
            Err(Invalid::field("target.issue_cutoff_time", "with a subject, a client or an issuer alone")
                .into())
        }
        (None, Some(_)) => {
            Err(Invalid::field("target.audience", "with a subject, a client or an issuer alone").into())
        }
    };
    let (kind, target) = match kind {
        Kind::Token(text) => return narrow(RevokeTarget::Token(text)),
        Kind::Jti(text) => return narrow(RevokeTarget::Jti(text)),
        Kind::SessionId(text) => return narrow(RevokeTarget::Session(text)),
        Kind::Id(text) => return narrow(RevokeTarget::Id(text)),
        Kind::Subject(subject) => (MarkKind::Subject, subject),
        Kind::ClientId(client_id) => (MarkKind::Client, client_id),
        Kind::KeyId(key_id) => (MarkKind::Key, key_id),
        Kind::AllForAudience(audience) => (MarkKind::Audience, audience),
        Kind::IssuerId(issuer_id) => (MarkKind::Issuer, issuer_id),
    };
    Ok(RevokeTarget::Wide { kind, target, audience, cutoff })
}

fn revoke_response(revoked: Revoked) -> pb::RevokeResponse {
    let outcome = match revoked.outcome {
        RevokeOutcome::Revoked => pb::RevocationOutcome::Revoked,
        RevokeOutcome::AlreadyRevoked => pb::RevocationOutcome::AlreadyRevoked,
        RevokeOutcome::AlreadyExpired => pb::RevocationOutcome::AlreadyExpired,
        RevokeOutcome::Foreign => pb::RevocationOutcome::Foreign,
        RevokeOutcome::WouldRevoke => pb::RevocationOutcome::WouldRevoke,
    };
    pb::RevokeResponse {
        outcome: outcome.into(),
        affected_sessions: revoked.affected_sessions,
        sample_sessions: revoked.sample.into_iter().map(session).collect(),
        revoke_time: revoked.revoke_time.map(timestamp),
        revision: revoked.revision.to_string(),
        propagation: revoked.propagation.map(propagation),
        revocation_reason: revoked.reason.number().into(),
        target: understood(revoked.target),
        findings: (revoked.findings != Findings::default()).then(|| findings(revoked.findings)),
        lock: revoked.lock.map(|it| lock(&it, revoked.locks_in_full)),
        earlier_lock: revoked.earlier_lock.map(|it| lock(&it, revoked.locks_in_full)),
    }
}

/// The target as the server understood it.
pub(in crate::rpc) fn understood(target: AppendTarget) -> Option<pb::RevocationTarget> {
    let narrow = |kind| pb::RevocationTarget { kind: Some(kind), ..Default::default() };
    match target {
        AppendTarget::Nothing | AppendTarget::Lock { .. } => None,
        AppendTarget::Token(jti) => Some(narrow(Kind::Jti(jti.to_string()))),
        AppendTarget::Session(id) => Some(narrow(Kind::SessionId(id.to_string()))),
        AppendTarget::Wide { kind, target, audience, cutoff } => Some(pb::RevocationTarget {
            kind: Some(match kind {
                MarkKind::Subject => Kind::Subject(target),
                MarkKind::Client => Kind::ClientId(target),
                MarkKind::Key => Kind::KeyId(target),
                MarkKind::Audience => Kind::AllForAudience(target),
                MarkKind::Issuer => Kind::IssuerId(target),
            }),
            issue_cutoff_time: (cutoff.get() > 0).then(|| seconds(cutoff)),
            audience,
        }),
    }
}

fn findings(found: Findings) -> pb::RevocationFindings {
    pb::RevocationFindings {
        unverified_jti_time: found.unverified_jti_time.map(seconds),
        is_live_session: found.is_live_session,
        sessions_not_looked_for: found.sessions_not_looked_for,
        no_live_sessions: found.no_live_sessions,
        similar_subjects: found.similar_subjects,
        readable_jti: found.readable_jti.map(|id| id.to_string()).unwrap_or_default(),
        api_key_id: found.api_key_id.unwrap_or_default(),
        api_key_client_id: found.api_key_client_id.unwrap_or_default(),
    }
}
