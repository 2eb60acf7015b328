//! The answers of a stream.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use crate::{JetonError, clock::deadline_in, endpoint_url::EndpointUrl, failure::failed, lane::Lane};

/// The answers of a stream, in order. Dropping them ends the stream.
pub struct Answers<A> {
    inner: Streaming<A>,
    at: EndpointUrl,
    closed: CancellationToken,
    deadline: Option<Instant>,
    /// Its connection lives as long.
    _lane: Arc<Lane>,
}

impl<A> Answers<A> {
    pub(crate) fn new(
        inner: Streaming<A>,
        lane: Arc<Lane>,
        at: EndpointUrl,
        closed: CancellationToken,
        deadline: Option<Duration>,
    ) -> Self {
        Self { inner, at, closed, deadline: deadline.map(deadline_in), _lane: lane }
    }

    /// Waits for the next answer; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<A>, JetonError> {
        let Self { inner, at, closed, deadline, .. } = self;
        let answer = async {
            match deadline {
                Some(deadline) => timeout_at(*deadline, inner.message()).await.ok(),
                None => Some(inner.message().await),
            }
        };
        tokio::select! {
            biased;
            () = closed.cancelled() => Err(JetonError::closed("client")),
            answer = answer => match answer {
                Some(answer) => answer.map_err(|status| failed(&status, at)),
                None => Err(JetonError::deadline_exceeded()),
            }
        }
    }
}

impl<A> std::fmt::Debug for Answers<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Answers({})", self.at)
    }
}
