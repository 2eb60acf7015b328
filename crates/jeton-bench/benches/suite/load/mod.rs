//! The load generator: a process of its own, with one thread. Commands come as JSON lines, outcomes go as JSON lines.
//! Between a command and its run it says `ready` and waits for `go`, so that nothing but the run is measured.

mod bodies;
mod connection;
mod drive;
mod timer;

use std::{
    collections::HashMap,
    fs,
    io::{self, BufRead, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    rc::Rc,
    time::{Duration, Instant},
};

use jeton_testkit::http2::Head;
use rustix::time::{ClockId, clock_gettime};
use tokio::task::{JoinSet, LocalSet};

use self::{bodies::Bodies, connection::Connection, drive::Run, timer::Schedule};
use crate::command::{Command, Mode, Outcome, Quantiles};

/// Calls on each connection before the run.
const WARM_UP: usize = 8;
/// Connections from one address of ours to one of theirs: fewer than there are ports.
const CONNECTIONS_PER_ADDRESS: usize = 20_000;
/// Sets of bodies that are kept between runs.
const SETS: usize = 3;

pub fn main() {
    timer::be_precise();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut sets: HashMap<PathBuf, Rc<Bodies>> = HashMap::new();
    let mut lines = io::stdin().lock().lines();
    while let Some(Ok(line)) = lines.next() {
        let command: Command = serde_json::from_str(&line).unwrap();
        if sets.len() > SETS {
            sets.clear();
        }
        let bodies =
            sets.entry(command.bodies.clone()).or_insert_with(|| Rc::new(Bodies::read(&command.bodies)));
        let bodies = Rc::clone(bodies);
        let mut go = || {
            say("ready");
            assert_eq!(lines.next().unwrap().unwrap(), "go");
        };
        let outcome = LocalSet::new().block_on(&runtime, run(&command, bodies, &mut go)).unwrap();
        say(&serde_json::to_string(&outcome).unwrap());
    }
}

fn say(line: &str) {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

async fn run(command: &Command, bodies: Rc<Bodies>, go: &mut dyn FnMut()) -> io::Result<Outcome> {
    let mut connections = connect(command, &bodies).await?;
    let run = Run::new(bodies, command.keep.is_some());
    go();
    let (started, cpu) = (Instant::now(), cpu_s());
    let mut times_us = Vec::new();
    let mut tasks = JoinSet::new();
    let until = |ms| started + Duration::from_millis(ms);
    let rate_of_each = |rate: f64| rate / command.connections as f64;
    match command.mode {
        Mode::Turn => {
            let times = drive::in_turn(&run, &mut connections[0]).await?;
            times_us = times.into_iter().map(|ns| ns as f64 / 1e3).collect();
        }
        Mode::For { ms, in_flight } => {
            for connection in connections.drain(..) {
                let driving = drive::closed(Rc::clone(&run), connection, in_flight, Some(until(ms)));
                tasks.spawn_local(driving);
            }
        }
        Mode::Each { in_flight } => {
            for connection in connections.drain(..) {
                tasks.spawn_local(drive::closed(Rc::clone(&run), connection, in_flight, None));
            }
        }
        Mode::Open { rate, ms } => {
            let deadline = command.timeout_s.map(Duration::from_secs);
            for (connection, seed) in connections.drain(..).zip(0..) {
                let schedule = Schedule::new(started, rate_of_each(rate), seed);
                tasks.spawn_local(drive::open(Rc::clone(&run), connection, schedule, until(ms), deadline));
            }
        }
        Mode::Stream { ms, in_flight } => {
            for connection in connections.drain(..) {
                let driving = drive::stream(Rc::clone(&run), connection, in_flight as u64, until(ms));
                tasks.spawn_local(driving);
            }
        }
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap()?;
    }
    let cpu = cpu_s() - cpu;
    let seconds = match command.mode {
        Mode::Open { ms, .. } => ms as f64 / 1e3,
        Mode::For { .. } | Mode::Each { .. } | Mode::Turn | Mode::Stream { .. } => {
            started.elapsed().as_secs_f64()
        }
    };
    Ok(outcome(command, &run, seconds, cpu, times_us))
}

async fn connect(command: &Command, bodies: &Bodies) -> io::Result<Vec<Connection>> {
    let keeps = command.keep.is_some() || matches!(command.mode, Mode::Stream { .. });
    let warms = matches!(command.mode, Mode::For { .. } | Mode::Open { .. });
    let calls = if command.connections > 100 { 1 } else { WARM_UP };
    let mut connections = Vec::new();
    for index in 0..command.connections {
        let address: SocketAddr = command.addresses[index % command.addresses.len()];
        let from = u8::try_from(index / CONNECTIONS_PER_ADDRESS).unwrap();
        let from = (from > 0).then(|| IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1 + from)));
        let head = Head::new(&command.path, &address.to_string(), &command.authorization, command.timeout_s);
        let mut connection = Connection::open(address, from, head, keeps).await?;
        if warms {
            // At once: a connection without a first request is let go after seconds, and ten thousand take as long.
            drive::warm_up(&mut connection, bodies, calls).await?;
        }
        connections.push(connection);
    }
    Ok(connections)
}

fn outcome(command: &Command, run: &Run, seconds: f64, load_cpu_s: f64, times_us: Vec<f64>) -> Outcome {
    let mut tally = run.tally.take();
    if !command.any_code {
        let failed: Vec<_> = tally.codes.iter().filter(|(code, _)| **code != 0).collect();
        assert!(failed.is_empty(), "{}: calls failed: {failed:?}", command.path);
        assert_eq!(tally.unanswered, 0, "{}: calls without an answer", command.path);
    }
    if let (Some(file), Some(kept)) = (&command.keep, &tally.kept) {
        fs::write(file, kept.concat()).unwrap();
    }
    let streamed = matches!(command.mode, Mode::Stream { .. });
    let calls = if streamed { tally.messages } else { tally.codes.values().sum() };
    let timeout_ns = command.timeout_s.map_or(u64::MAX, |seconds| seconds * 1_000_000_000);
    let late = tally.times_ns.iter().filter(|time| **time > timeout_ns).count() as u64;
    Outcome {
        calls,
        seconds,
        late,
        codes: std::mem::take(&mut tally.codes),
        unanswered: tally.unanswered,
        latency: Quantiles::of(std::mem::take(&mut tally.times_ns)),
        latency_of_others: Quantiles::of(std::mem::take(&mut tally.times_of_others_ns)),
        times_us,
        load_cpu_s,
        bytes: [run.bodies.get(0).len(), tally.answer_bytes],
    }
}

/// The CPU time of this thread, the only one.
fn cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
