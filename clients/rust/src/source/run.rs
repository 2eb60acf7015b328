//! The background of a token source: it renews, and warns.

use std::{future::Future, pin::Pin, sync::Arc};

use crate::{
    Code, ErrorKind, JetonError,
    source::{Shared, renewal::Attempt},
    token::IssuedToken,
};

type Asking<'a> = Pin<Box<dyn Future<Output = (Attempt, Result<IssuedToken, JetonError>)> + Send + 'a>>;

impl Shared {
    /// Begins attempts when they are due, until the source is closed or its session is over.
    pub(super) async fn run(self: Arc<Self>) {
        let mut asking: Option<Asking<'_>> = None;
        loop {
            let wake_at = {
                let mut renewal = self.lock();
                if renewal.closed || renewal.ended.is_some() {
                    return;
                }
                let now = self.now();
                if let Some(event) = renewal.warn(now) {
                    self.events.tell(event);
                }
                if let Some(attempt) = renewal.begin(now) {
                    asking = Some(Box::pin(self.ask(attempt)));
                }
                renewal.wake_at()
            };
            let timer = async {
                match wake_at {
                    Some(at) => self.options.client.shared.clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let asked = async {
                match &mut asking {
                    Some(asking) => asking.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.poked.notified() => {}
                () = timer => {}
                (attempt, outcome) = asked => {
                    asking = None;
                    self.end(&attempt, outcome).await;
                }
            }
        }
    }

    /// Makes one attempt: one round, since between attempts there is a pause of the source itself.
    async fn ask(&self, attempt: Attempt) -> (Attempt, Result<IssuedToken, JetonError>) {
        let client = self.options.client.within(attempt.timeout);
        let service = client.token_service();
        let answer = if let Some(token) = attempt.refresh_token.clone() {
            service.refresh_once(self.options.refresh(token)).await.map(|answer| answer.token)
        } else {
            service.issue_once(self.options.issue.clone().into()).await.map(|answer| answer.token)
        };
        let issued = answer.and_then(|token| {
            let issued = IssuedToken::from(token.unwrap_or_default());
            let lives = issued.expire_time > issued.issue_time && !issued.access_token.is_empty();
            let no_token = || {
                JetonError::new(
                    ErrorKind::UnexpectedError,
                    Code::Internal,
                    "jeton answered no token that lives.",
                )
            };
            if lives { Ok(issued) } else { Err(no_token()) }
        });
        (attempt, issued)
    }

    async fn end(&self, attempt: &Attempt, outcome: Result<IssuedToken, JetonError>) {
        match outcome {
            Ok(issued) => {
                if let Some(successor) = &issued.refresh_token {
                    // Before anybody sees the token.
                    self.options.keeper.keep(successor).await;
                }
                let mut renewal = self.lock();
                if renewal.closed {
                    return;
                }
                let event = renewal.succeeded(attempt, &issued);
                self.held.store(renewal.held.clone().map(Arc::new));
                self.events.tell(event);
            }
            Err(error) => {
                tracing::debug!(error = %error, "a renewal of a token failed");
                let mut renewal = self.lock();
                if renewal.closed {
                    return;
                }
                let event = renewal.failed(attempt, error, self.now());
                self.held.store(renewal.held.clone().map(Arc::new));
                if let Some(event) = event {
                    self.options.keeper.forget();
                    self.events.tell(event);
                }
            }
        }
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }
}
