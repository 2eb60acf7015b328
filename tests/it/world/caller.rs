//! A caller of one replica that records its calls and their answers.

use std::{sync::Arc, time::Instant};

use jeton::proto::v1::{self as pb, revocation_target::Kind};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic_types::StatusExt;

use super::{
    Api, Ready, api_key,
    history::{Act, Answer, Call, History, Target, Token},
    patience::Patience,
    revoke_request,
};

/// The audience of every token that a caller obtains.
const AUDIENCE: &str = "api";

/// One connection to each listener of a replica. A clone shares them; calls of clones are in flight at once.
#[derive(Clone)]
pub struct Caller {
    pub api: Api,
    replica: String,
    history: Arc<History>,
}

impl Caller {
    /// A caller of this server, as a client with all permissions.
    pub fn connect(ready: &Ready, history: &Arc<History>) -> Self {
        let api = Api::connect(ready, &api_key("admin"));
        Self { api, replica: ready.replica.clone(), history: Arc::clone(history) }
    }

    /// A new token of a subject.
    pub async fn token(&mut self, subject: &str) -> Arc<Token> {
        let issued = self.api.token(subject, AUDIENCE).await;
        Arc::new(Token::new(subject, issued))
    }

    /// The first token of a new session.
    pub async fn session(&mut self, subject: &str) -> Arc<Token> {
        let issued = self.api.session(subject, AUDIENCE).await;
        Arc::new(Token::new(subject, issued))
    }

    /// So many new tokens of a subject, obtained at once.
    pub async fn tokens(&self, subject: &str, count: usize) -> Vec<Arc<Token>> {
        let mut tasks = JoinSet::new();
        for _ in 0..count {
            let (mut caller, subject) = (self.clone(), subject.to_owned());
            tasks.spawn(async move { caller.token(&subject).await });
        }
        tasks.join_all().await
    }

    /// Revokes, and waits until it is in effect everywhere.
    pub async fn revoke(&mut self, target: Target) -> Result<pb::RevokeResponse, Status> {
        self.revoke_as(target, |request| request).await
    }

    /// Revokes, and is answered as soon as it is durable.
    pub async fn revoked_without_waiting(&mut self, target: Target) -> pb::RevokeResponse {
        let at_once = |request| pb::RevokeRequest { wait_timeout: Some(super::seconds(0)), ..request };
        self.revoked_as(target, at_once).await
    }

    /// Revokes; a refusal for now is asked again, which is safe (K1). The answer must be complete.
    pub async fn revoked(&mut self, target: Target) -> pb::RevokeResponse {
        let revoked = self.revoked_as(target, |request| request).await;
        assert!(revoked.propagation.as_ref().is_some_and(|it| it.complete), "{revoked:?}");
        revoked
    }

    /// The same with a changed request, complete or not.
    pub async fn revoked_as(
        &mut self,
        target: Target,
        change: fn(pb::RevokeRequest) -> pb::RevokeRequest,
    ) -> pb::RevokeResponse {
        let patience = Patience::begin();
        loop {
            match self.revoke_as(target.clone(), change).await {
                Err(status) if patience.bears(&status).await => {}
                done => return done.unwrap(),
            }
        }
    }

    /// Revokes, with whatever the request is made into.
    pub async fn revoke_as(
        &mut self,
        target: Target,
        change: impl FnOnce(pb::RevokeRequest) -> pb::RevokeRequest,
    ) -> Result<pb::RevokeResponse, Status> {
        let kind = match &target {
            Target::Token(token) => Kind::Token(token.text.clone()),
            Target::Session(session_id) => Kind::SessionId(session_id.clone()),
            Target::Subject(subject) => Kind::Subject(subject.clone()),
        };
        let request = change(pb::RevokeRequest {
            reason: pb::RevocationReason::Compromised.into(),
            ..revoke_request(kind)
        });
        // On the admin listener, which takes all of them.
        let start = Instant::now();
        let answer = self.api.wide.revoke(request).await.map(tonic::Response::into_inner);
        let end = Instant::now();
        let told = match &answer {
            Ok(revoked) => {
                Answer::Revoked { complete: revoked.propagation.as_ref().is_some_and(|it| it.complete) }
            }
            Err(status) => Answer::refused(status),
        };
        self.record(start, end, Act::Revoke(target), told);
        answer
    }

    /// Asks whether a token is good.
    pub async fn validate(&mut self, token: &Arc<Token>) -> Answer {
        let start = Instant::now();
        let answer = self.api.validate(&token.text, &[AUDIENCE]).await;
        let end = Instant::now();
        let answer = match answer {
            Ok(verdict) => Answer::Verdict(verdict.status()),
            Err(status) => Answer::refused(&status),
        };
        self.record(start, end, Act::Validate(Arc::clone(token)), answer.clone());
        answer
    }

    /// Asks whether a token is good, again where it is refused for now.
    pub async fn verdict(&mut self, token: &Arc<Token>) -> Answer {
        let patience = Patience::begin();
        loop {
            let answer = self.validate(token).await;
            if !patience.bears_if(answer.is_for_now()).await {
                return answer;
            }
        }
    }

    fn record(&self, start: Instant, end: Instant, act: Act, answer: Answer) {
        self.history.record(Call { start, end, replica: self.replica.clone(), act, answer });
    }
}

impl Token {
    fn new(subject: &str, issued: pb::IssuedToken) -> Self {
        Self {
            text: issued.access_token,
            jti: issued.jti,
            subject: subject.to_owned(),
            session_id: issued.session_id,
            issued: Instant::now(),
        }
    }
}

impl Answer {
    pub const ACTIVE: Self = Self::Verdict(pb::TokenStatus::Active);
    pub const REVOKED: Self = Self::Verdict(pb::TokenStatus::Revoked);

    fn refused(status: &Status) -> Self {
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        Self::Refused(status.code(), reason)
    }

    /// Returns whether the replica refused for now: no caller here has a rate, so of several reasons it is the common
    /// one.
    pub fn is_for_now(&self) -> bool {
        let reasons = ["REVOCATION_STATE_STALE", "STORE_UNAVAILABLE", "OVERLOADED"];
        matches!(self, Self::Refused(_, reason) if reasons.contains(&reason.as_str()))
    }

    /// Returns whether the replica said that its state is stale.
    pub fn is_stale_state(&self) -> bool {
        matches!(self, Self::Refused(tonic::Code::Unavailable, reason) if reason == "REVOCATION_STATE_STALE")
    }
}

/// Asks about tokens all the time, until ended.
pub struct Asking {
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Asking {
    /// Each caller asks about each token, one after the other, again and again.
    pub fn start(callers: impl IntoIterator<Item = Caller>, tokens: &[Arc<Token>]) -> Self {
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        for mut caller in callers {
            let (tokens, stop) = (tokens.to_vec(), stop.clone());
            tasks.spawn(async move {
                for token in tokens.iter().cycle() {
                    if stop.is_cancelled() {
                        return;
                    }
                    if matches!(caller.validate(token).await, Answer::Refused(..)) {
                        // A refusal costs nothing: a busy loop of them would take the machine from the others.
                        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                    }
                }
            });
        }
        Self { stop, tasks }
    }

    /// Waits for the answers to calls in flight.
    pub async fn end(mut self) {
        self.stop.cancel();
        while let Some(done) = self.tasks.join_next().await {
            done.unwrap();
        }
    }
}
