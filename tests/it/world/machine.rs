//! The machine that the tests run on, which may be busy, and may stand still. What takes time is held to bounds on the
//! time in which it ran: a control beside the test tells how long it did not.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::pin,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    thread,
    time::{Duration, Instant},
};

/// The control is a thread that naps so long, again and again.
const NAP: Duration = Duration::from_millis(10);
/// A nap that ends later by more than this says that the machine stood still.
const ON_TIME: Duration = Duration::from_millis(40);
/// A stall that a test of leases cannot bear: they last 2.7 s, and it acts within parts of that.
const STOOD_STILL: Duration = Duration::from_millis(250);
/// The most runs of a scenario.
const ATTEMPTS: u32 = 5;

/// Stale answers that were found in histories of tests that failed: no stall excuses one.
static STALE: AtomicUsize = AtomicUsize::new(0);

/// The observations of the control since it began.
struct Control {
    woke: Instant,
    /// When a nap ended too late, and how much.
    stalls: Vec<(Instant, Duration)>,
}

impl Control {
    fn get() -> MutexGuard<'static, Self> {
        static CONTROL: OnceLock<Mutex<Control>> = OnceLock::new();
        let control = CONTROL.get_or_init(|| {
            thread::spawn(|| {
                loop {
                    thread::sleep(NAP);
                    Self::get().wake();
                }
            });
            Mutex::new(Self { woke: Instant::now(), stalls: Vec::new() })
        });
        control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&mut self) {
        let now = Instant::now();
        let late = now.duration_since(self.woke).saturating_sub(NAP);
        if late > ON_TIME {
            self.stalls.push((now, late));
        }
        self.woke = now;
    }

    /// The length of each stall after `begun`.
    fn since(&mut self, begun: Instant) -> impl Iterator<Item = Duration> {
        // The asking thread may be the first to run again.
        if self.woke.elapsed() > NAP + ON_TIME {
            self.wake();
        }
        let after =
            move |(end, late): &(Instant, Duration)| Some((*late).min(end.checked_duration_since(begun)?));
        self.stalls.iter().filter_map(after).filter(|stall| !stall.is_zero())
    }
}

/// Measures how long something takes while the machine runs.
#[derive(Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    pub fn start() -> Self {
        drop(Control::get());
        Self(Instant::now())
    }

    /// The time when it was started.
    pub fn begun(&self) -> Instant {
        self.0
    }

    /// For how long the machine has run since.
    pub fn ran(&self) -> Duration {
        let still = Control::get().since(self.0).sum();
        self.0.elapsed().saturating_sub(still)
    }

    /// The longest that it has stood still since.
    pub fn stood_still(&self) -> Duration {
        Control::get().since(self.0).max().unwrap_or_default()
    }
}

/// Takes note of stale answers in the history of a test that fails.
pub fn found_stale(answers: usize) {
    STALE.fetch_add(answers, Ordering::SeqCst);
}

/// Runs a scenario that tests time: leases end while the machine stands still. A failed run is repeated if the control
/// saw the machine stand still and no answer was stale: then it has shown nothing. A failure on a machine that ran is a
/// failure.
#[expect(clippy::print_stderr, reason = "the log of a run says why it took long")]
pub async fn steady(scenario: impl AsyncFn()) {
    for attempt in 1.. {
        let (watch, stale) = (Stopwatch::start(), STALE.load(Ordering::SeqCst));
        let mut run = pin!(scenario());
        let done = poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
            Err(panic) => Poll::Ready(Err(panic)),
        });
        let Err(panic) = done.await else { return };
        let still = watch.stood_still();
        if attempt == ATTEMPTS || still < STOOD_STILL || STALE.load(Ordering::SeqCst) > stale {
            resume_unwind(panic);
        }
        eprintln!("the machine stood still for {still:?} meanwhile: the scenario is run again");
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Like a machine that stands still: nothing wakes the control.
    fn stand_still(duration: Duration) {
        let control = Control::get();
        thread::sleep(duration);
        drop(control);
    }

    #[test]
    fn a_stopwatch_stands_still_with_the_machine() {
        let watch = Stopwatch::start();
        let long = Duration::from_millis(400);
        stand_still(long);
        assert!(watch.stood_still() >= Duration::from_millis(350), "{:?}", watch.stood_still());
        assert!(watch.ran() + watch.stood_still() <= watch.begun().elapsed());
        let (watch, before) = (Stopwatch::start(), watch);
        assert!(before.stood_still() >= Duration::from_millis(350), "it is remembered");
        while watch.ran() < long {
            assert!(watch.begun().elapsed() < super::super::PATIENCE, "it runs while we do");
        }
    }

    #[tokio::test]
    async fn a_scenario_that_fails_is_begun_anew_only_where_the_machine_stood_still() {
        let runs = Cell::new(0);
        steady(async || {
            runs.set(runs.get() + 1);
            if runs.get() == 1 {
                stand_still(2 * STOOD_STILL);
                panic!("too late");
            }
        })
        .await;
        assert_eq!(runs.get(), 2);
    }

    #[tokio::test]
    #[should_panic = "wrong on a machine that ran"]
    async fn a_scenario_that_fails_on_a_machine_that_ran_has_failed() {
        steady(async || panic!("wrong on a machine that ran")).await;
    }
}
