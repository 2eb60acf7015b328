//! A connection in one task, with all that hyper would spawn for it.
//!
//! hyper runs the sender of requests, the connection itself and the wait for each answer as tasks of their own, which wake
//! one another: for a lone call that costs more than the call. In one task nobody has to be woken, and a request that is
//! there as a whole leaves in one packet.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered, task::AtomicWaker};
use hyper::rt::Executor;

type Spawned = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The rounds of one turn: a part that is ready again at once must let other tasks have their turn.
const ROUNDS_MAX: usize = 4;

/// Takes what hyper spawns.
#[derive(Clone, Default)]
pub(crate) struct Parts(Arc<Mutex<Vec<Spawned>>>);

impl<F> Executor<F> for Parts
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, part: F) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(part));
    }
}

/// The task: the connection that hyper returned, and the parts that it spawns.
pub(crate) struct OneTask<C: Future> {
    connection: Pin<Box<C>>,
    /// Of the connection, once it has ended.
    outcome: Option<C::Output>,
    parts: Parts,
    running: FuturesUnordered<Spawned>,
    gate: Arc<Gate>,
    waker: Waker,
}

/// Whether a part is ready is noted while they have their turn, and wakes the task at other times.
#[derive(Default)]
struct Gate {
    task: AtomicWaker,
    has_turn: AtomicBool,
    is_ready: AtomicBool,
}

impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_ready.store(true, Ordering::SeqCst);
        if !self.has_turn.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }
}

impl<C: Future> OneTask<C> {
    pub(crate) fn new(connection: C, parts: Parts) -> Self {
        let gate = Arc::<Gate>::default();
        let waker = Waker::from(Arc::clone(&gate));
        let connection = Box::pin(connection);
        Self { connection, outcome: None, parts, running: FuturesUnordered::new(), gate, waker }
    }

    /// One round: each part that is ready goes on. Returns whether all have ended.
    fn round(&mut self) -> bool {
        let mut context = Context::from_waker(&self.waker);
        if self.outcome.is_none()
            && let Poll::Ready(outcome) = self.connection.as_mut().poll(&mut context)
        {
            self.outcome = Some(outcome);
        }
        loop {
            self.running.extend(self.parts.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..));
            match self.running.poll_next_unpin(&mut context) {
                Poll::Ready(Some(())) => {}
                Poll::Ready(None) => return self.outcome.is_some(),
                Poll::Pending => return false,
            }
        }
    }
}

impl<C: Future> Future for OneTask<C>
where
    C::Output: Unpin,
{
    type Output = C::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<C::Output> {
        self.gate.task.register(context.waker());
        for _ in 0..ROUNDS_MAX {
            self.gate.has_turn.store(true, Ordering::SeqCst);
            self.gate.is_ready.store(false, Ordering::SeqCst);
            let ended = self.round();
            self.gate.has_turn.store(false, Ordering::SeqCst);
            if ended && let Some(outcome) = self.outcome.take() {
                return Poll::Ready(outcome);
            }
            if !self.gate.is_ready.load(Ordering::SeqCst) {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::future::poll_fn;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn it_ends_with_the_connection_and_all_parts_and_each_of_them_goes_on_by_the_other() {
        let parts = Parts::default();
        let (to_part, part_gets) = oneshot::channel::<()>();
        let (to_connection, connection_gets) = oneshot::channel::<()>();
        let spawns = parts.clone();
        let connection = async move {
            spawns.execute(async move {
                part_gets.await.unwrap();
                to_connection.send(()).unwrap();
            });
            to_part.send(()).unwrap();
            connection_gets.await.unwrap();
            "ended"
        };
        assert_eq!(OneTask::new(connection, parts).await, "ended");
    }

    #[tokio::test]
    async fn a_part_that_is_woken_from_outside_has_its_turn_after_the_connection_has_ended() {
        let parts = Parts::default();
        let (later, gets) = oneshot::channel::<()>();
        parts.execute(async move { gets.await.unwrap() });
        let task = tokio::spawn(OneTask::new(std::future::ready("ended"), parts));
        tokio::task::yield_now().await;
        later.send(()).unwrap();
        assert_eq!(task.await.unwrap(), "ended");
    }

    #[tokio::test]
    async fn a_part_that_is_always_ready_lets_others_have_their_turn() {
        let parts = Parts::default();
        parts.execute(poll_fn(|context| {
            context.waker().wake_by_ref();
            Poll::Pending
        }));
        let task = tokio::spawn(OneTask::new(std::future::pending::<()>(), parts));
        // On one thread: this goes on only if the task gives way.
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }
}
