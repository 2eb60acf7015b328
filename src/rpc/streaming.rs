//! `StreamValidate`: messages are answered in order, each from a snapshot of its own.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll, ready},
};

use futures_util::{Stream, StreamExt as _};
use tokio::time::Instant;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Request, Response, Status, Streaming, codegen::BoxFuture};

use super::{
    Context, RpcOrigin,
    auth::ShedCostly,
    batch::{PART, TURN},
    judging::{judge, validate_request},
    status::of_transport,
    verdict::EncodedVerdict,
};
use crate::{
    authority::{Error, Invalid, check_clock},
    listen::{Connection, Weight},
    proto::v1 as pb,
};

/// The answers to the messages of one stream. Written as a state machine: messages come by the hundred thousand a
/// second, and a generated one would move its whole state at each.
pub(super) struct Answers {
    incoming: Streaming<pb::StreamValidateRequest>,
    context: Arc<Context>,
    origin: RpcOrigin,
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
    /// The thread is overloaded, and this client has many calls in flight: calls that need a signature are refused.
    shed_costly: bool,
}

impl Pace {
    /// Ready when the next message may be judged.
    fn poll_turn(&mut self, task: &TaskContext<'_>) -> Poll<()> {
        if let Some((since, weight)) = self.yielded.take() {
            self.shed_costly = weight.is_some_and(|weight| weight.turn(since).shed_costly);
            self.messages = 0;
        } else if self.messages > 0 && self.messages.is_multiple_of(PART) {
            if self.begun.elapsed() >= TURN {
                let weight = self.connection.as_ref().map(|connection| connection.weigh(PART));
                self.yielded = Some((Instant::now(), weight));
                task.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.shed_costly = false;
        }
        if self.messages == 0 {
            self.begun = Instant::now();
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
    pub(super) fn of(
        context: Arc<Context>,
        request: Request<Streaming<pb::StreamValidateRequest>>,
    ) -> Result<Response<Self>, Status> {
        let origin = RpcOrigin::of(&request)?;
        let pace = Pace {
            connection: request.extensions().get().cloned(),
            messages: 0,
            begun: Instant::now(),
            yielded: None,
            shed_costly: ShedCostly::is_in(request.extensions()),
        };
        let stop = Box::pin(context.stop.clone().cancelled_owned());
        let incoming = request.into_inner();
        Ok(Response::new(Self { incoming, context, origin, stop, waited_for: None, pace, over: false }))
    }

    /// The answer to the next message; `None` at the end of the stream.
    fn poll_answer(&mut self, task: &mut TaskContext<'_>) -> Poll<Option<Result<EncodedVerdict, Status>>> {
        if self.waited_for.is_none() {
            let Some(message) = ready!(self.poll_message(task)) else { return Poll::Ready(None) };
            match message.and_then(|message| self.try_answer(message)) {
                Ok(Answer::Now(encoded)) => return Poll::Ready(Some(Ok(encoded))),
                Ok(Answer::Later(answer)) => self.waited_for = Some(answer),
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

    fn try_answer(&self, message: pb::StreamValidateRequest) -> Result<Answer, Status> {
        let within = |invalid: Invalid| invalid.within("request");
        let request = message.request.ok_or_else(|| Invalid::required("request"))?;
        let request = validate_request(request).map_err(within)?;
        let context = Arc::clone(&self.context);
        let Some(snapshot) = context.authority.try_snapshot() else {
            let origin = self.origin.clone();
            return Ok(Answer::Later(Box::pin(async move {
                Ok(judge(&context, &origin, &request).await.map_err(|error| error.map_invalid(within))?)
            })));
        };
        check_clock(&snapshot)?;
        let caller = context.authority.caller(&snapshot, &self.origin.credential, &self.origin.trace_id)?;
        if self.pace.shed_costly {
            context.authority.must_have_verified(request.token())?;
        }
        let judged = context.authority.try_validate(&snapshot, &caller, &request);
        if let Some(judged) = judged.map_err(|error| error.map_invalid(within))? {
            return Ok(Answer::Now(EncodedVerdict::of(&judged)));
        }
        Ok(Answer::Later(Box::pin(async move {
            let judged = context.authority.validate(snapshot, &caller, &request).await;
            Ok(EncodedVerdict::of(&judged.map_err(|error| error.map_invalid(within))?))
        })))
    }
}

enum Answer {
    Now(EncodedVerdict),
    Later(BoxFuture<EncodedVerdict, Status>),
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
        let mut pace = Pace { connection: None, messages: 0, begun, yielded: None, shed_costly: false };
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
