//! A timer that is precise to microseconds, which the runtime's is not; and when the calls of an open loop are due.

use std::{
    num::NonZero,
    os::fd::OwnedFd,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

pub struct Timer {
    descriptor: AsyncFd<OwnedFd>,
    set_to: Option<Instant>,
}

impl Timer {
    pub fn new() -> Self {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let descriptor = timerfd_create(TimerfdClockId::Monotonic, flags).unwrap();
        #[expect(
            deprecated,
            reason = "what replaces it is unsafe; a descriptor that we own is what this is sound for"
        )]
        let descriptor = AsyncFd::new(descriptor).unwrap();
        Self { descriptor, set_to: None }
    }

    /// Ready at this time, or after it.
    pub fn poll_at(&mut self, at: Instant, context: &mut Context<'_>) -> Poll<()> {
        if self.set_to != Some(at) {
            // Zero would stop it.
            let wait = at.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
            let value = Timespec::try_from(wait).unwrap();
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
            timerfd_settime(&self.descriptor, TimerfdTimerFlags::empty(), &once).unwrap();
            self.set_to = Some(at);
        }
        let mut ready = ready!(self.descriptor.poll_read_ready(context)).unwrap();
        // The former time may have passed.
        if Instant::now() < at {
            ready.clear_ready();
            return match self.descriptor.poll_read_ready(context) {
                Poll::Ready(_) => Poll::Ready(()),
                Poll::Pending => Poll::Pending,
            };
        }
        ready.clear_ready();
        Poll::Ready(())
    }
}

/// Lets this thread's timers be as precise as the machine can.
pub fn be_precise() {
    rustix::thread::set_current_timer_slack(NonZero::new(1)).unwrap();
}

/// When calls are due: at random, independent of each other, as from many callers; the same ones in every run.
pub struct Schedule {
    due: Instant,
    mean_gap_s: f64,
    state: u64,
}

impl Schedule {
    pub fn new(start: Instant, rate: f64, seed: u64) -> Self {
        let mut schedule = Self { due: start, mean_gap_s: 1.0 / rate, state: seed.wrapping_add(1) };
        schedule.next();
        schedule
    }

    pub fn due(&self) -> Instant {
        self.due
    }

    /// Moves on to the next.
    pub fn next(&mut self) {
        // splitmix64.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let unit = ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
        self.due += Duration::from_secs_f64(-(1.0 - unit).ln() * self.mean_gap_s);
    }
}
