//! Servers as processes: their identity, and their end with ours.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::process::Signal;

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
}
