//! An open `StreamValidate`.

use jeton::proto::v1::{self as pb, TokenStatus};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Status, Streaming};

use super::{Api, Patience, validate_request};

/// An open stream, and how to ask on it.
pub struct Stream {
    api: Api,
    requests: mpsc::UnboundedSender<pb::StreamValidateRequest>,
    answers: Streaming<pb::StreamValidateResponse>,
}

impl Stream {
    /// Opens one.
    pub async fn open(api: &Api) -> Self {
        Self::try_open(api).await.unwrap()
    }

    /// Opens one, if it is not refused.
    pub async fn try_open(api: &Api) -> Result<Self, Status> {
        let (requests, incoming) = mpsc::unbounded_channel();
        let opened = api.tokens.clone().stream_validate(UnboundedReceiverStream::new(incoming)).await?;
        Ok(Self { api: api.clone(), requests, answers: opened.into_inner() })
    }

    /// Asks on it for a verdict. A refusal for now ends a stream: it is asked again on another.
    pub async fn status(&mut self, token: &str) -> TokenStatus {
        let patience = Patience::begin();
        loop {
            match self.ask(token).await {
                Err(status) if patience.bears(&status).await => *self = Self::open(&self.api.clone()).await,
                done => return done.unwrap(),
            }
        }
    }

    /// Asks on it, and waits for the verdict.
    pub async fn ask(&mut self, token: &str) -> Result<TokenStatus, Status> {
        let request = Some(validate_request(token, &["api"]));
        let ended = || Status::unavailable("the stream has ended");
        self.requests.send(pb::StreamValidateRequest { request }).map_err(|_| ended())?;
        Ok(self.answers.message().await?.ok_or_else(ended)?.verdict.unwrap().status())
    }
}
