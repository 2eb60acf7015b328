//! Other processes: their life, their identity, and their end with ours.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal};

/// The interval of looking at another process.
pub(super) const POLL: Duration = Duration::from_millis(10);

/// The number of looks in `seconds`.
pub(super) fn polls(seconds: u32) -> u32 {
    seconds.saturating_mul(100)
}

/// Returns whether the process exists, ours or not.
pub(super) fn is_alive(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
    matches!(rustix::process::test_kill_process(pid), Ok(()) | Err(rustix::io::Errno::PERM))
}

/// Sends a signal; a process that is gone is no error.
pub(super) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Waits for a child, up to `seconds`.
pub(super) fn wait(child: &mut Child, seconds: u32) -> std::io::Result<Option<ExitStatus>> {
    for _ in 0..polls(seconds) {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(POLL);
    }
    child.try_wait()
}

/// Waits until `done`, up to `seconds`.
pub(super) fn wait_until(seconds: u32, mut done: impl FnMut() -> bool) {
    for _ in 0..polls(seconds) {
        if done() {
            return;
        }
        std::thread::sleep(POLL);
    }
}

/// Returns whether a process is a `jeton serve` with its ready file in this directory, by its arguments, if the system
/// shows them.
pub(super) fn is_server(pid: u32, directory: &Path) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|text| serves(&text, directory))
}

/// A zombie's arguments are empty, so it counts as ended.
fn serves(cmdline: &[u8], directory: &Path) -> bool {
    let arguments: Vec<_> = cmdline.split(|byte| *byte == 0).map(OsStr::from_bytes).collect();
    let is_ours = |pair: &[&OsStr]| match pair {
        [flag, file] => *flag == "--ready-file" && Path::new(file).parent() == Some(directory),
        _ => false,
    };
    arguments.get(1).is_some_and(|verb| *verb == "serve") && arguments.windows(2).any(is_ours)
}

/// Makes the kernel send us SIGTERM when our parent ends; an error if it has ended already. Does nothing on systems
/// without that.
///
/// The kernel goes by the parent's *thread*: it must have started us from one that lives as long as the parent.
#[cfg_attr(not(target_os = "linux"), expect(clippy::unnecessary_wraps, reason = "the other system fails"))]
pub fn die_with_parent(expected_parent_pid: u32) -> anyhow::Result<()> {
    #[cfg(target_os = "linux")]
    {
        rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
        // The parent may have ended before.
        let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
        anyhow::ensure!(
            parent.is_some_and(|pid| u32::try_from(pid) == Ok(expected_parent_pid)),
            "the process that started this server ({expected_parent_pid}) is gone"
        );
    }
    #[cfg(not(target_os = "linux"))]
    let _ = expected_parent_pid;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_of_this_directory_is_taken_for_one() {
        let ours = Path::new("/data");
        assert!(serves(b"/bin/jeton\0serve\0--ready-file\0/data/server-2.json\0--plaintext\0", ours));
        assert!(!serves(b"/bin/jeton\0serve\0--ready-file\0/other/server-2.json\0", ours));
        assert!(!serves(b"vi\0/data/server-2.json\0", ours));
        assert!(!serves(b"", ours));
    }

    #[test]
    fn the_living_are_told_from_the_dead() {
        assert!(is_alive(std::process::id()));
        assert!(!is_alive(0) && !is_alive(u32::MAX));
    }
}
