//! One stream of `StreamValidate`, which all calls of a guard share. Answers come in the order of the requests.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, sleep_until, timeout_at},
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::{
    Client, Code, ErrorKind, JetonError, clock::deadline_in, policy::jitter, proto as pb, stream::Answers,
};

const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A verdict, or that the stream ended before it came.
type Outcome = Option<pb::Verdict>;

pub(super) struct Pipeline(Arc<Shared>);

struct Shared {
    client: Client,
    max_waiting: usize,
    deadline: Duration,
    closed: CancellationToken,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    stream: Option<Stream>,
    /// Counts streams.
    number: u64,
    /// Calls that ask by Validate: they wait, too.
    elsewhere: usize,
    failures: u32,
    not_before: Option<Instant>,
    task: Option<JoinHandle<()>>,
}

struct Stream {
    /// Its bound is that of the calls that wait.
    requests: mpsc::UnboundedSender<pb::StreamValidateRequest>,
    /// In the order of the requests, each with when it began.
    waiting: VecDeque<(Instant, oneshot::Sender<Outcome>)>,
}

/// Counts a call that asks by Validate, as long as it lasts.
struct Elsewhere<'a>(&'a Shared);

impl Drop for Elsewhere<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.elsewhere = state.elsewhere.saturating_sub(1);
    }
}

enum Place<'a> {
    OnStream(oneshot::Receiver<Outcome>),
    Elsewhere(Elsewhere<'a>),
}

impl Pipeline {
    pub(super) fn new(client: &Client, max_waiting: usize, deadline: Duration) -> Self {
        let (closed, state) = (CancellationToken::new(), Mutex::default());
        Self(Arc::new(Shared { client: client.clone(), max_waiting, deadline, closed, state }))
    }

    /// A verdict, within the deadline of the guard.
    pub(super) async fn ask(&self, request: pb::ValidateRequest) -> Result<pb::Verdict, JetonError> {
        let deadline = deadline_in(self.0.deadline);
        let answer = async {
            let place = match self.0.enqueue(&request)? {
                Place::Elsewhere(place) => place,
                Place::OnStream(answer) => match answer.await {
                    Ok(Some(verdict)) => return Ok(verdict),
                    // The stream ended.
                    Ok(None) | Err(_) => self.0.count_elsewhere()?,
                },
            };
            let left = deadline.saturating_duration_since(Instant::now());
            let answer = self.0.client.within(left).token_service().validate(request.clone()).await;
            drop(place);
            Ok(answer?.verdict.unwrap_or_default())
        };
        timeout_at(deadline, answer).await.unwrap_or_else(|_| Err(JetonError::deadline_exceeded()))
    }

    /// When it returns, the stream and its task are gone.
    pub(super) async fn close(&self) {
        self.0.closed.cancel();
        let task = self.0.lock().task.take();
        if let Some(task) = task {
            // That it panicked is told by its own message.
            drop(task.await);
        }
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.0.closed.cancel();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a request on the stream, which begins with it. Without a stream the call asks by Validate.
    fn enqueue(self: &Arc<Self>, request: &pb::ValidateRequest) -> Result<Place<'_>, JetonError> {
        if self.closed.is_cancelled() {
            return Err(JetonError::closed("guard"));
        }
        let mut state = self.lock();
        let waiting = state.stream.as_ref().map_or(0, |stream| stream.waiting.len());
        if waiting.saturating_add(state.elsewhere) >= self.max_waiting {
            return Err(full());
        }
        let now = Instant::now();
        if state.stream.is_none() {
            if state.not_before.is_some_and(|at| now < at) {
                state.elsewhere = state.elsewhere.saturating_add(1);
                return Ok(Place::Elsewhere(Elsewhere(self)));
            }
            self.begin(&mut state);
        }
        let (sender, answer) = oneshot::channel();
        if let Some(stream) = &mut state.stream {
            stream.waiting.push_back((now, sender));
            // A stream that ends meanwhile tells those who wait.
            drop(stream.requests.send(pb::StreamValidateRequest { request: Some(request.clone()) }));
        }
        Ok(Place::OnStream(answer))
    }

    fn begin(self: &Arc<Self>, state: &mut State) {
        let (requests, sent) = mpsc::unbounded_channel();
        state.stream = Some(Stream { requests, waiting: VecDeque::new() });
        state.number = state.number.wrapping_add(1);
        let skip = usize::try_from(state.failures).unwrap_or(0);
        let (shared, number) = (Arc::clone(self), state.number);
        state.task = Some(tokio::spawn(async move { Box::pin(shared.run(number, skip, sent)).await }));
    }

    fn count_elsewhere(&self) -> Result<Elsewhere<'_>, JetonError> {
        let mut state = self.lock();
        if state.elsewhere >= self.max_waiting {
            return Err(full());
        }
        state.elsewhere = state.elsewhere.saturating_add(1);
        Ok(Elsewhere(self))
    }

    /// Opens a stream, and reads it to its end.
    async fn run(
        self: Arc<Self>,
        number: u64,
        skip: usize,
        sent: mpsc::UnboundedReceiver<pb::StreamValidateRequest>,
    ) {
        let mut answered = false;
        let error = tokio::select! {
            biased;
            () = self.closed.cancelled() => JetonError::closed("guard"),
            () = self.stalled() => {
                let message = "No verdict came on the stream for too long.";
                JetonError::new(ErrorKind::DeadlineExceeded {}, Code::DeadlineExceeded, message)
            }
            error = self.read(skip, sent, &mut answered) => error,
        };
        self.end(number, &error, answered);
    }

    async fn read(
        &self,
        skip: usize,
        sent: mpsc::UnboundedReceiver<pb::StreamValidateRequest>,
        answered: &mut bool,
    ) -> JetonError {
        let service = self.client.token_service();
        let opened = service.stream_validate_behind(skip, UnboundedReceiverStream::new(sent)).await;
        let mut answers: Answers<pb::StreamValidateResponse> = match opened {
            Ok(answers) => answers,
            Err(error) => return error,
        };
        loop {
            let verdict = match answers.next().await {
                Ok(Some(answer)) => answer.verdict.unwrap_or_default(),
                Ok(None) => return unexpected("The stream of verdicts ended."),
                Err(error) => return error,
            };
            *answered = true;
            let first = self.lock().stream.as_mut().and_then(|stream| stream.waiting.pop_front());
            let Some((_, waiting)) = first else {
                return unexpected("There are more verdicts than requests.");
            };
            // Whoever gave up is gone; its place in the order was kept.
            drop(waiting.send(Some(verdict)));
        }
    }

    /// Waits until the oldest call has waited for twice the deadline.
    async fn stalled(&self) {
        let patience = self.deadline.saturating_mul(2);
        loop {
            let oldest = self.lock().stream.as_ref().and_then(|stream| Some(stream.waiting.front()?.0));
            let begun = oldest.unwrap_or_else(Instant::now);
            if oldest.is_some() && begun.elapsed() >= patience {
                return;
            }
            // Whoever comes later waits from then on: nothing is due before.
            sleep_until(begun.checked_add(patience).unwrap_or(begun)).await;
        }
    }

    /// Tells all that wait to ask elsewhere, and plans the next stream.
    fn end(&self, number: u64, error: &JetonError, answered: bool) {
        let mut state = self.lock();
        if state.number != number {
            return;
        }
        // Dropping what waits tells it.
        state.stream = None;
        if answered {
            state.failures = 0;
        }
        let limit = PAUSE_FIRST.saturating_mul(2_u32.saturating_pow(state.failures)).min(PAUSE_MAX);
        state.failures = state.failures.saturating_add(1);
        state.not_before = Some(deadline_in(jitter(limit)));
        if !self.closed.is_cancelled() {
            tracing::debug!(error = %error, "the stream of verdicts ended");
        }
    }
}

fn full() -> JetonError {
    let message = "As many calls wait for a verdict as may.";
    JetonError::new(ErrorKind::UnexpectedError, Code::ResourceExhausted, message)
}

fn unexpected(message: &str) -> JetonError {
    JetonError::new(ErrorKind::UnexpectedError, Code::Internal, message)
}
