//! `StreamValidate`: messages are answered in order, each from a snapshot of its own.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll, ready},
};

use futures_util::{Stream, StreamExt as _};
use tokio::time::Instant;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Code, Request, Response, Status, Streaming, codegen::BoxFuture};

use crate::{
    authority::{Authority, Error, Invalid, Judged},
    edge::{self, Admission, Answer, Origin},
    listen::{Connection, Turn, Weight},
    proto::v1 as pb,
    rpc::{
        Context,
        status::of_transport,
        tokens::{
            batch::{PART, TURN},
            request::validate_request,
            verdict::EncodedVerdict,
        },
    },
};

/// The answers to the messages of one stream. Written as a state machine: messages come by the hundred thousand a
/// second, and a generated one would move its whole state at each.
pub(in crate::rpc) struct Answers {
    incoming: Streaming<pb::StreamValidateRequest>,
    context: Arc<Context>,
    origin: Origin,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    /// The answer to a message that has to wait for the log or the lease.
    waited_for: Option<BoxFuture<EncodedVerdict, Status>>,
    pace: Pace,
    over: bool,
}

/// The pace of a stream: after messages that took long, other calls get their turn.
struct Pace {
    connection: Option<Arc<Connection>>,
    /// Messages since the turn began.
    messages: usize,
    begun: Instant,
    /// Since when the stream has let others go first, and what counts for its client meanwhile.
    yielded: Option<(Instant, Option<Weight>)>,
    /// The state of the thread, measured by a wait of the stream since the latest message.
    waited: Option<Turn>,
    /// The state of the thread for the messages of this part.
    turn: Turn,
}

impl Pace {
    /// Ready when the next message may be judged.
    fn poll_turn(&mut self, task: &TaskContext<'_>) -> Poll<()> {
        if let Some((since, weight)) = self.yielded.take() {
            self.waited = weight.map(|weight| weight.turn(since));
            self.messages = 0;
        } else if self.messages > 0 && self.messages.is_multiple_of(PART) && self.begun.elapsed() >= TURN {
            let weight = self.connection.as_ref().map(|connection| connection.weigh(PART));
            self.yielded = Some((Instant::now(), weight));
            task.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.messages == 0 {
            self.begun = Instant::now();
        }
        if self.messages.is_multiple_of(PART) {
            // How long a message waited that came by itself is not known: it counts as the calls beside it do.
            let beside = || self.connection.as_ref().map(|connection| connection.unmeasured_turn());
            self.turn =
                self.waited.take().filter(|turn| turn.shed_costly).or_else(beside).unwrap_or_default();
        }
        self.messages = self.messages.saturating_add(1);
        Poll::Ready(())
    }

    /// Nothing has arrived, so others get their turn anyway.
    fn rests(&mut self) {
        self.messages = 0;
    }
}

impl Answers {
    pub(in crate::rpc) fn of(
        context: Arc<Context>,
        request: Request<Streaming<pb::StreamValidateRequest>>,
    ) -> Result<Response<Self>, Status> {
        let origin = Origin::of(request.extensions())?;
        let pace = Pace {
            connection: Some(Arc::clone(origin.connection())),
            messages: 0,
            begun: Instant::now(),
            yielded: None,
            waited: Some(origin.turn()),
            turn: origin.turn(),
        };
        let stop = Box::pin(context.stop.clone().cancelled_owned());
        let incoming = request.into_inner();
        Ok(Response::new(Self { incoming, context, origin, stop, waited_for: None, pace, over: false }))
    }

    /// The answer to the next message; `None` at the end of the stream.
    fn poll_answer(&mut self, task: &mut TaskContext<'_>) -> Poll<Option<Result<EncodedVerdict, Status>>> {
        if self.waited_for.is_none() {
            let Some(message) = ready!(self.poll_message(task)) else { return Poll::Ready(None) };
            match self.begin(message) {
                Ok(Begun::Done(encoded)) => return Poll::Ready(Some(Ok(encoded))),
                Ok(Begun::Waits(answer)) => self.waited_for = Some(answer),
                Err(status) => return Poll::Ready(Some(Err(status))),
            }
        }
        let Some(waited_for) = &mut self.waited_for else { return Poll::Pending };
        let answer = ready!(waited_for.as_mut().poll(task));
        self.waited_for = None;
        Poll::Ready(Some(answer))
    }

    /// The next message, until the server drains: the message in hand is answered; the client sends the others
    /// elsewhere.
    fn poll_message(
        &mut self,
        task: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<pb::StreamValidateRequest, Status>>> {
        if !self.context.stop.is_cancelled() {
            ready!(self.pace.poll_turn(task));
            match self.incoming.poll_next_unpin(task) {
                Poll::Ready(message) => {
                    let unreadable =
                        |status: Status| of_transport(status.code(), status.message()).unwrap_or(status);
                    return Poll::Ready(message.map(|message| message.map_err(unreadable)));
                }
                Poll::Pending => {
                    self.pace.rests();
                    ready!(self.stop.as_mut().poll(task));
                }
            }
        }
        Poll::Ready(Some(Err(Error::Draining.into())))
    }

    /// Begins to answer a message. Its own faults count only once its caller is admitted, as for every message.
    fn begin(&self, message: Result<pb::StreamValidateRequest, Status>) -> Result<Begun, Status> {
        let message = match message {
            // No fault of the message: the server drains, or the body does not go on.
            Err(status) if status.code() != Code::InvalidArgument => return Err(status),
            message => message,
        };
        let (authority, turn) = (&self.context.authority, self.pace.turn);
        if let Some(admission) = self.origin.try_message(authority, turn) {
            return Ok(match answer(authority, admission?, message)? {
                Answer::Now(judged) => Begun::Done(EncodedVerdict::of(&judged)),
                Answer::Later(rest) => {
                    Begun::Waits(Box::pin(
                        async move { Ok(EncodedVerdict::of(&rest.await.map_err(within)?)) },
                    ))
                }
            });
        }
        let (authority, origin) = (Arc::clone(authority), self.origin.clone());
        Ok(Begun::Waits(Box::pin(async move {
            let admission = origin.message(&authority, turn).await?;
            let judged = answer(&authority, admission, message)?.whole().await.map_err(within)?;
            Ok(EncodedVerdict::of(&judged))
        })))
    }
}

enum Begun {
    Done(EncodedVerdict),
    Waits(BoxFuture<EncodedVerdict, Status>),
}

fn answer(
    authority: &Arc<Authority>,
    admission: Admission,
    message: Result<pb::StreamValidateRequest, Status>,
) -> Result<Answer<Judged>, Status> {
    let request = message?.request.ok_or_else(|| Invalid::required("request"))?;
    Ok(edge::validate(authority, admission, validate_request(request)).map_err(within)?)
}

fn within(error: Error) -> Error {
    error.map_invalid(|invalid| invalid.within("request"))
}

impl Stream for Answers {
    type Item = Result<[EncodedVerdict; 1], Status>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        let answer = ready!(self.poll_answer(task));
        // A faulty message ends the stream: after an error nothing more is taken from it.
        self.over = !matches!(answer, Some(Ok(_)));
        Poll::Ready(answer.map(|answer| answer.map(|encoded| [encoded])))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn e15_a_stream_whose_messages_take_long_lets_others_go_first() {
        let task = &TaskContext::from_waker(Waker::noop());
        let begun = Instant::now();
        let turn = Turn::default();
        let mut pace = Pace { connection: None, messages: 0, begun, yielded: None, waited: None, turn };
        let mut judged = 0;
        // The first messages have used up the time of a turn.
        while pace.poll_turn(task).is_ready() && judged < 1_000 {
            pace.begun = begun.checked_sub(TURN).unwrap_or(begun);
            judged = pace.messages;
        }
        assert_eq!(judged, PART);
        assert!(pace.poll_turn(task).is_ready(), "and goes on after them");
        assert_eq!(pace.messages, 1);
        // Messages that come one by one need not wait.
        for _ in 0..1_000 {
            assert!(pace.poll_turn(task).is_ready());
            pace.rests();
        }
    }
}
