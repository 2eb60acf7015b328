//! Wall clock, boot clock and CPU time: the only calls of the system's clocks.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Milliseconds since boot, suspend included. They decide freshness, and are never compared between machines.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct BootMillis(i64);

impl BootMillis {
    /// Before every reading of the clock.
    pub const NEVER: Self = Self(i64::MIN);

    /// From a count of milliseconds.
    #[must_use]
    pub fn new(millis: i64) -> Self {
        Self(millis)
    }

    /// The count of milliseconds.
    #[must_use]
    pub fn get(self) -> i64 {
        self.0
    }

    /// This much later.
    #[must_use]
    pub fn plus_ms(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this.
    #[must_use]
    pub fn since_ms(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// One look at both clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// The boot clock.
    pub boot: BootMillis,
    /// Wall clock minus boot clock, steps included, milliseconds. It grows if the boot clock stood still while time
    /// went on, as in a machine that was frozen and resumed.
    pub wall_ahead_ms: i64,
}

/// The clocks of one process. The wall clock never goes back: it follows steps forward at once and stands still during
/// steps back, so that an expired token does not become live again.
#[derive(Debug)]
pub struct Clock {
    /// The latest answer, in milliseconds since the epoch.
    latest_ms: AtomicI64,
    /// Added to the system's wall clock, in milliseconds.
    shift_ms: AtomicI64,
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl Clock {
    /// The system's clocks.
    #[must_use]
    pub fn system() -> Self {
        Self::shifted(0)
    }

    /// A wall clock that is wrong by `shift_ms`, for tests.
    #[must_use]
    pub fn shifted(shift_ms: i64) -> Self {
        Self { latest_ms: AtomicI64::new(i64::MIN), shift_ms: AtomicI64::new(shift_ms) }
    }

    /// Steps the wall clock by so many milliseconds, for tests.
    pub fn step(&self, by_ms: i64) {
        self.shift_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    /// Wall clock, milliseconds since the epoch, never less than an answer before.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.not_before(self.raw_ms())
    }

    /// Wall clock at a look, milliseconds since the epoch, never less than an answer before.
    #[must_use]
    pub fn at_ms(&self, look: Moment) -> i64 {
        self.not_before(look.boot.get().saturating_add(look.wall_ahead_ms))
    }

    fn not_before(&self, now: i64) -> i64 {
        self.latest_ms.fetch_max(now, Ordering::Relaxed).max(now)
    }

    /// Wall clock as a timestamp of millisecond precision, never less than an answer before.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.now_ms()).unwrap_or(Timestamp::MAX)
    }

    /// Wall clock, whole seconds since the epoch, never less than an answer before.
    #[must_use]
    pub fn now_s(&self) -> i64 {
        self.now_ms().div_euclid(1000)
    }

    /// Wall clock as it stands, steps back included.
    fn raw_ms(&self) -> i64 {
        let time = clock_gettime(ClockId::Realtime);
        millis(time.tv_sec, time.tv_nsec).saturating_add(self.shift_ms.load(Ordering::Relaxed))
    }

    /// Both clocks at once.
    #[must_use]
    pub fn look(&self) -> Moment {
        let boot = self.boot();
        Moment { boot, wall_ahead_ms: self.raw_ms().saturating_sub(boot.get()) }
    }

    /// Boot clock.
    #[must_use]
    pub fn boot(&self) -> BootMillis {
        let time = boot_time();
        BootMillis(millis(time.tv_sec, time.tv_nsec))
    }

    /// Boot clock, in microseconds: as fine as the times that Postgres keeps.
    #[must_use]
    pub fn boot_us(&self) -> i64 {
        boot_us()
    }
}

/// The boot clock that all clocks of the process share, in microseconds.
#[must_use]
pub fn boot_us() -> i64 {
    let time = boot_time();
    time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_nsec.div_euclid(1_000))
}

fn boot_time() -> Timespec {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let id = ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let id = ClockId::Monotonic;
    clock_gettime(id)
}

/// Milliseconds of CPU time that the calling thread has used. They stand still while the machine runs something else.
#[must_use]
pub fn thread_cpu_ms() -> i64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    millis(time.tv_sec, time.tv_nsec)
}

fn millis(seconds: i64, nanos: i64) -> i64 {
    seconds.saturating_mul(1000).saturating_add(nanos.div_euclid(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v2_the_wall_clock_never_goes_back() {
        let clock = Clock::system();
        clock.latest_ms.store(i64::MAX - 1, Ordering::Relaxed);
        assert_eq!(clock.now_ms(), i64::MAX - 1, "it stands still through a step back");
        assert!(clock.raw_ms() < i64::MAX - 1);
    }

    #[test]
    fn the_boot_clock_advances() {
        let clock = Clock::system();
        let first = clock.boot();
        while clock.boot() == first {
            std::hint::spin_loop();
        }
        assert!(clock.boot().since_ms(first) > 0);
    }
}
