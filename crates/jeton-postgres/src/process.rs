//! Other processes: their life, and their end.

use std::process::{Child, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal};

/// The interval of looking at another process.
pub const POLL: Duration = Duration::from_millis(10);

/// The number of looks in `seconds`.
#[must_use]
pub fn polls(seconds: u32) -> u32 {
    seconds.saturating_mul(100)
}

/// Returns whether the process exists, ours or not.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
    matches!(rustix::process::test_kill_process(pid), Ok(()) | Err(rustix::io::Errno::PERM))
}

/// Sends a signal; a process that is gone is no error.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Waits for a child, up to `seconds`.
pub fn wait(child: &mut Child, seconds: u32) -> std::io::Result<Option<ExitStatus>> {
    for _ in 0..polls(seconds) {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(POLL);
    }
    child.try_wait()
}

/// Waits until `done`, up to `seconds`.
pub fn wait_until(seconds: u32, mut done: impl FnMut() -> bool) {
    for _ in 0..polls(seconds) {
        if done() {
            return;
        }
        std::thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_living_are_told_from_the_dead() {
        assert!(is_alive(std::process::id()));
        assert!(!is_alive(0) && !is_alive(u32::MAX));
    }
}
