//! `TokenService`.

use std::sync::Arc;

use futures_util::stream;
use tonic::{Request, Response, Status, Streaming, codegen::BoxStream};

use super::{
    Context, Listener, Who,
    convert::{
        claims_of, issued, propagation, reach_of, reason_of, revision_of, session, thumbprint_of, time_of,
        timestamp, wait_of,
    },
    status::of_transport,
    verdict::verdict,
};
use crate::{
    authority::{
        Denied, Error, Invalid, IssueRequest, Outcome, RefreshRequest, RevokeRequest, RevokeTarget, Revoked,
        ValidateRequest,
    },
    proto::v1::{
        self as pb, issue_request::Expiration, revocation_target::Kind, token_service_server::TokenService,
    },
    state::MarkKind,
    token::Ask,
};

pub(super) struct TokenRpc(pub(super) Context);

#[tonic::async_trait]
impl TokenService for TokenRpc {
    async fn issue(&self, request: Request<pb::IssueRequest>) -> Result<Response<pb::IssueResponse>, Status> {
        let who = Who::of(&request)?;
        let request = issue_request(request.into_inner())?;
        let context = self.0.clone();
        let issue = async move {
            let (pass, caller) = context.enter_by_the_clock(&who).await?;
            let token = context.authority.issue(&pass, &caller, request.0).await?;
            Ok(pb::IssueResponse { token: Some(issued(token)) })
        };
        // Only a session is written; everything else is done where the call came in.
        let answer = if request.1 { self.0.detached(issue).await? } else { issue.await? };
        Ok(Response::new(answer))
    }

    async fn refresh(
        &self,
        request: Request<pb::RefreshRequest>,
    ) -> Result<Response<pb::RefreshResponse>, Status> {
        let who = Who::of(&request)?;
        let request = refresh_request(request.into_inner());
        let context = self.0.clone();
        let answer = self.0.detached(async move {
            let (pass, caller) = context.enter_by_the_clock(&who).await?;
            let token = context.authority.refresh(&pass, &caller, &request).await?;
            Ok(pb::RefreshResponse { token: Some(issued(token)) })
        });
        Ok(Response::new(answer.await?))
    }

    async fn validate(
        &self,
        request: Request<pb::ValidateRequest>,
    ) -> Result<Response<pb::ValidateResponse>, Status> {
        let who = Who::of(&request)?;
        let request = validate_request(request.into_inner())?;
        let judged = self.judge(&who, &request).await?;
        Ok(Response::new(pb::ValidateResponse { verdict: Some(judged) }))
    }

    async fn batch_validate(
        &self,
        request: Request<pb::BatchValidateRequest>,
    ) -> Result<Response<pb::BatchValidateResponse>, Status> {
        let who = Who::of(&request)?;
        let requests = request.into_inner().requests;
        let parse = |(index, request)| {
            validate_request(request).map_err(|invalid| invalid.within(&format!("requests[{index}]")))
        };
        let requests: Vec<_> = requests.into_iter().enumerate().map(parse).collect::<Result<_, _>>()?;
        let (pass, caller) = self.0.enter_by_the_clock(&who).await?;
        let judged = self.0.authority.batch_validate(pass, &caller, &requests).await?;
        Ok(Response::new(pb::BatchValidateResponse { verdicts: judged.iter().map(verdict).collect() }))
    }

    async fn stream_validate(
        &self,
        request: Request<Streaming<pb::StreamValidateRequest>>,
    ) -> Result<Response<BoxStream<pb::StreamValidateResponse>>, Status> {
        let who = Who::of(&request)?;
        let rpc = Arc::new(Self(self.0.clone()));
        // A faulty message ends the stream: after an error nothing is taken from it.
        let answers = stream::unfold(Some(request.into_inner()), move |incoming| {
            let (rpc, who) = (Arc::clone(&rpc), who.clone());
            async move {
                let mut incoming = incoming?;
                // What is being judged is answered; what was not taken yet goes elsewhere.
                let next = tokio::select! {
                    biased;
                    () = rpc.0.stop.cancelled() => Some(Err(Error::Draining.into())),
                    next = rpc.next(&who, &mut incoming) => next,
                };
                match next? {
                    Ok(answer) => Some((Ok(answer), Some(incoming))),
                    Err(status) => Some((Err(status), None)),
                }
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn revoke(
        &self,
        request: Request<pb::RevokeRequest>,
    ) -> Result<Response<pb::RevokeResponse>, Status> {
        let who = Who::of(&request)?;
        let request = revoke_request(request.into_inner(), self.0.listener)?;
        let context = self.0.clone();
        let answer = self.0.detached(async move {
            let (pass, caller) = context.enter(&who).await?;
            Ok(revoke_response(context.authority.revoke(&pass, &caller, &request).await?))
        });
        Ok(Response::new(answer.await?))
    }
}

impl TokenRpc {
    async fn judge(&self, who: &Who, request: &ValidateRequest) -> Result<pb::Verdict, Error> {
        let (pass, caller) = self.0.enter_by_the_clock(who).await?;
        Ok(verdict(&self.0.authority.validate(pass, &caller, request).await?))
    }

    /// The answer to the next message of a stream; `None`: it has ended.
    async fn next(
        &self,
        who: &Who,
        incoming: &mut Streaming<pb::StreamValidateRequest>,
    ) -> Option<Result<pb::StreamValidateResponse, Status>> {
        let message = match incoming.message().await {
            Ok(message) => message?,
            Err(status) => {
                return Some(
                    Err(of_transport(status.code(), !status.details().is_empty()).unwrap_or(status)),
                );
            }
        };
        Some(self.answer(who, message).await)
    }

    async fn answer(
        &self,
        who: &Who,
        message: pb::StreamValidateRequest,
    ) -> Result<pb::StreamValidateResponse, Status> {
        let within = |invalid: Invalid| invalid.within("request");
        let request = message.request.ok_or_else(|| Invalid::required("request"))?;
        let request = validate_request(request).map_err(within)?;
        let judged = self.judge(who, &request).await.map_err(|error| error.map_invalid(within))?;
        Ok(pb::StreamValidateResponse { verdict: Some(judged) })
    }
}

/// The request, and whether it writes.
fn issue_request(request: pb::IssueRequest) -> Result<(IssueRequest, bool), Invalid> {
    let ask = match request.expiration {
        None => Ask::Default,
        Some(Expiration::Ttl(ttl)) => Ask::Ttl { seconds: ttl.seconds, nanos: ttl.nanos },
        Some(Expiration::ExpireTime(time)) => Ask::ExpireAt { seconds: time.seconds, nanos: time.nanos },
    };
    let refreshable = request.refreshable;
    let request = IssueRequest {
        subject: request.subject,
        audiences: request.audiences,
        scopes: request.scopes,
        claims: claims_of(request.claims)?,
        ask,
        refreshable,
        certificate_thumbprint: thumbprint_of(&request.certificate_thumbprint)?,
    };
    Ok((request, refreshable))
}

fn refresh_request(request: pb::RefreshRequest) -> RefreshRequest {
    RefreshRequest {
        refresh_token: request.refresh_token,
        scopes: request.scopes,
        ask: request.ttl.map_or(Ask::Default, |ttl| Ask::Ttl { seconds: ttl.seconds, nanos: ttl.nanos }),
    }
}

fn validate_request(request: pb::ValidateRequest) -> Result<ValidateRequest, Invalid> {
    Ok(ValidateRequest {
        token: request.token,
        audiences: request.audiences,
        scopes: request.scopes,
        min_revision: revision_of("min_revision", &request.min_revision)?,
        certificate_thumbprint: thumbprint_of(&request.certificate_thumbprint)?,
    })
}

fn revoke_request(request: pb::RevokeRequest, listener: Listener) -> Result<RevokeRequest, Error> {
    let target = request.target.ok_or_else(|| Invalid::required("target"))?;
    Ok(RevokeRequest {
        target: revoke_target(target, listener)?,
        reason: reason_of(request.reason)?,
        note: request.note,
        validate_only: request.validate_only,
        max_affected_sessions: request.max_affected_sessions,
        reach: reach_of(request.wait_for)?,
        wait: wait_of("wait_timeout", request.wait_timeout)?,
    })
}

fn revoke_target(target: pb::RevocationTarget, listener: Listener) -> Result<RevokeTarget, Error> {
    let cutoff =
        target.issue_cutoff_time.map(|time| time_of("target.issue_cutoff_time", time)).transpose()?;
    let audience = (!target.audience.is_empty()).then_some(target.audience);
    let kind = target.kind.ok_or_else(|| Invalid::required("target"))?;
    let narrow = |target| match (&cutoff, &audience) {
        (None, None) => Ok(target),
        (Some(_), _) => {
            Err(Invalid::field("target.issue_cutoff_time", "with a subject or a client alone").into())
        }
        (None, Some(_)) => Err(Invalid::field("target.audience", "with a subject or a client alone").into()),
    };
    let (kind, target_kind, target) = match kind {
        Kind::Token(text) => return narrow(RevokeTarget::Token(text)),
        Kind::Jti(text) => return narrow(RevokeTarget::Jti(text)),
        Kind::SessionId(text) => return narrow(RevokeTarget::Session(text)),
        Kind::Subject(subject) => (MarkKind::Subject, "subject", subject),
        Kind::ClientId(client_id) => (MarkKind::Client, "client_id", client_id),
        Kind::KeyId(key_id) => (MarkKind::Key, "key_id", key_id),
    };
    if listener == Listener::Public {
        // A mesh sees paths, not what is inside: that is why wide targets need the other listener.
        return Err(Denied::WideRevocation { target_kind }.into());
    }
    Ok(RevokeTarget::Wide { kind, target, audience, cutoff })
}

fn revoke_response(revoked: Revoked) -> pb::RevokeResponse {
    let outcome = match revoked.outcome {
        Outcome::Revoked => pb::RevocationOutcome::Revoked,
        Outcome::AlreadyRevoked => pb::RevocationOutcome::AlreadyRevoked,
        Outcome::AlreadyExpired => pb::RevocationOutcome::AlreadyExpired,
        Outcome::Foreign => pb::RevocationOutcome::Foreign,
        Outcome::WouldRevoke => pb::RevocationOutcome::WouldRevoke,
    };
    pb::RevokeResponse {
        outcome: outcome.into(),
        affected_sessions: revoked.affected_sessions,
        sample_sessions: revoked.sample.into_iter().map(session).collect(),
        revoke_time: revoked.revoke_time.map(timestamp),
        revision: revoked.revision.to_string(),
        propagation: revoked.propagation.map(propagation),
    }
}
