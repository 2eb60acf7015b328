//! A timer finer than the runtime's, whose ticks are milliseconds: as long as everything else in a revocation's wait.

use std::{thread, time::Duration};

use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep_until},
};

/// The runtime's timer ticks no finer, and fires late by as much.
const TICK: Duration = Duration::from_millis(2);

/// One alarm at a time. A waiter may be cancelled and wait again without waking the sleeping thread.
#[derive(Default)]
pub(in crate::replica) struct Alarm {
    sleeping: Option<(Instant, JoinHandle<()>)>,
}

impl Alarm {
    /// Waits until `end`.
    pub(in crate::replica) async fn at(&mut self, end: Instant) {
        loop {
            let now = Instant::now();
            let left = end.saturating_duration_since(now);
            if left.is_zero() {
                return;
            }
            if left > TICK {
                return sleep_until(end).await;
            }
            let (_, sleeping) = match self.sleeping.take() {
                Some(asleep) if asleep.0 <= end => self.sleeping.insert(asleep),
                _ => self.sleeping.insert((end, spawn_blocking(move || thread::sleep(left)))),
            };
            // The sleep is over, or there are no threads any more because the process ends.
            let _woken = sleeping.await;
            self.sleeping = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_micros(micros: u64) -> Instant {
        let now = Instant::now();
        now.checked_add(Duration::from_micros(micros)).unwrap_or(now)
    }

    #[tokio::test]
    async fn it_rings_at_its_time_however_often_the_wait_begins_again() {
        let mut alarm = Alarm::default();
        for micros in [0, 300, 5_000] {
            let end = in_micros(micros);
            while Instant::now() < end {
                tokio::select! {
                    biased;
                    () = alarm.at(end) => assert!(Instant::now() >= end),
                    () = tokio::task::yield_now() => {}
                }
            }
            alarm.at(end).await;
            assert!(Instant::now() >= end);
        }
    }

    /// The end that the thread sleeps for, once somebody waits.
    async fn begun(alarm: &mut Alarm, end: Instant) -> Option<Instant> {
        tokio::select! {
            biased;
            () = alarm.at(end) => {}
            () = tokio::task::yield_now() => {}
        }
        alarm.sleeping.as_ref().map(|sleeping| sleeping.0)
    }

    #[tokio::test]
    async fn an_earlier_end_is_not_kept_waiting_by_a_later_one() {
        loop {
            let mut alarm = Alarm::default();
            let (earlier, later) = (in_micros(1_000), in_micros(1_900));
            let first = begun(&mut alarm, later).await;
            let then = begun(&mut alarm, earlier).await;
            // If both had already passed, nothing was waited for: try again.
            if Instant::now() < earlier {
                assert_eq!((first, then), (Some(later), Some(earlier)));
                alarm.at(later).await;
                assert!(Instant::now() >= later);
                return;
            }
        }
    }
}
