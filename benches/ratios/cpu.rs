//! CPU time as the kernel counts it, thread by thread.

use std::fs;

/// Nanoseconds that the serving threads of this process have run, all together.
pub fn serving_ns() -> u64 {
    let mut total = 0;
    for task in fs::read_dir("/proc/self/task").unwrap().flatten() {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if name.starts_with("public-") {
            let stat = fs::read_to_string(task.path().join("schedstat")).unwrap();
            total += stat.split(' ').next().unwrap().parse::<u64>().unwrap();
        }
    }
    total
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
