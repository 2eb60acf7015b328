//! CPU time and memory, as the kernel counts them.

use std::{fs, path::PathBuf};

/// The part of a process that counts.
#[derive(Clone, Copy, Debug)]
pub enum Meter {
    /// The threads behind jeton's public listener.
    Serving(u32),
    /// All of it.
    Process(u32),
}

impl Meter {
    /// Nanoseconds that it has run so far.
    pub fn ns(self) -> u64 {
        let (pid, prefix) = match self {
            Self::Serving(pid) => (pid, "public-"),
            Self::Process(pid) => (pid, ""),
        };
        let mut total = 0;
        for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
            let read = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default();
            if read("comm").starts_with(prefix) {
                let stat = read("schedstat");
                total += stat.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or_default();
            }
        }
        total
    }

    pub fn pid(self) -> u32 {
        match self {
            Self::Serving(pid) | Self::Process(pid) => pid,
        }
    }

    /// Bytes of memory that its process holds.
    pub fn resident_bytes(self) -> u64 {
        let file = PathBuf::from(format!("/proc/{}/status", self.pid()));
        let text = fs::read_to_string(file).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

/// Seconds of this thread's CPU that one call of `work` takes, over `times` calls.
pub fn per_call(times: u32, mut work: impl FnMut()) -> f64 {
    let run = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let before = run();
    for _ in 0..times {
        work();
    }
    (run() - before) / f64::from(times)
}
