//! CPU time and memory, as the kernel counts them.

use std::{fs, path::PathBuf};

use rustix::{
    process::Pid,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

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

/// Processes that run on some cores only, until this is dropped.
pub struct Pinned(Vec<(Pid, CpuSet)>);

impl Pinned {
    /// A server on the first core that this process may use, everything else of the measurement on the others: this
    /// process, its other children, and `others` with theirs. `None` where there is one core.
    pub fn apart(server: u32, others: &[u32]) -> Option<Self> {
        let all = sched_getaffinity(None).unwrap();
        let first = (0..CpuSet::MAX_CPU).find(|core| all.is_set(*core))?;
        let mut rest = all;
        rest.unset(first);
        if rest.count() == 0 {
            return None;
        }
        let mut alone = CpuSet::new();
        alone.set(first);
        let mut pinned = Self(Vec::new());
        for other in others.iter().chain([&std::process::id()]) {
            family(*other)
                .into_iter()
                .filter(|pid| *pid != server)
                .for_each(|pid| pinned.pin(pid, &rest, &all));
        }
        pinned.pin(server, &alone, &all);
        Some(pinned)
    }

    fn pin(&mut self, pid: u32, cores: &CpuSet, before: &CpuSet) {
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let name = task.file_name();
            let id = name.to_str().and_then(|id| id.parse().ok()).and_then(Pid::from_raw);
            // A thread that has ended meanwhile needs no core.
            if let Some(id) = id
                && sched_setaffinity(Some(id), cores).is_ok()
            {
                self.0.push((id, *before));
            }
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        for (id, cores) in &self.0 {
            let _ended = sched_setaffinity(Some(*id), cores);
        }
    }
}

/// A process and all that it started.
fn family(pid: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, parent_of(pid)?))
        })
        .collect();
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    family
}

/// The process that started another one.
pub fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // `pid (name) state parent …`; a name may hold anything.
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// Lets a process run before all others of its core: its own wait for the core is not what is measured, and the system
/// may let it wait for 4 ms. False: this is not allowed here, and the figure includes that wait.
pub fn hurry(pid: u32) -> bool {
    let pid = pid.to_string();
    let done =
        std::process::Command::new("chrt").args(["--all-tasks", "--fifo", "--pid", "10", &pid]).status();
    done.is_ok_and(|status| status.success())
}
