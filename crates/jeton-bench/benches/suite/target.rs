//! The measured servers at an address, and the result of one run against them.

use std::net::SocketAddr;

use crate::{
    calls::Calls,
    command::{Command, Mode, Outcome},
    cpu::Meter,
    loader::Loader,
};

/// Connections, unless a measure says otherwise.
pub const CONNECTIONS: usize = 4;
/// Calls in flight on each.
pub const IN_FLIGHT: usize = 64;

#[derive(Clone)]
pub struct Target {
    pub addresses: Vec<SocketAddr>,
    pub api_key: String,
    /// The listener for people, where there is one.
    pub admin: Option<SocketAddr>,
    /// `None`: several processes, whose CPU is not counted.
    pub meter: Option<Meter>,
}

/// One run.
#[derive(Clone)]
pub struct Measured {
    pub outcome: Outcome,
    /// Seconds of CPU per call in the metered process.
    pub cpu_s: f64,
    /// The same of the whole process.
    pub process_cpu_s: f64,
}

impl Target {
    pub fn command(&self, calls: &Calls, mode: Mode) -> Command {
        Command {
            addresses: self.addresses.clone(),
            path: calls.path.into(),
            authorization: format!("Bearer {}", self.api_key),
            timeout_s: None,
            bodies: calls.file.clone(),
            connections: CONNECTIONS.next_multiple_of(self.addresses.len()),
            mode,
            keep: None,
            any_code: false,
        }
    }

    /// The same server, by its listener for people.
    pub fn as_admin(&self) -> Self {
        Self { addresses: self.admin.into_iter().collect(), ..self.clone() }
    }

    /// Always as many in flight as is usual, for so long.
    pub fn busy(&self, loader: &mut Loader, calls: &Calls, ms: u64) -> Measured {
        self.measure(loader, &self.command(calls, Mode::For { ms, in_flight: IN_FLIGHT }))
    }

    /// Each body once.
    pub fn each(&self, loader: &mut Loader, calls: &Calls) -> Measured {
        self.measure(loader, &self.command(calls, Mode::Each { in_flight: IN_FLIGHT }))
    }

    /// Each body once, one after the other.
    pub fn in_turn(&self, loader: &mut Loader, calls: &Calls) -> Outcome {
        loader.run(&Command { connections: 1, ..self.command(calls, Mode::Turn) })
    }

    pub fn measure(&self, loader: &mut Loader, command: &Command) -> Measured {
        loader.prepare(command);
        let meters = self.meter.map(|meter| [meter, Meter::Process(meter.pid())]);
        let ns = || meters.map_or([0; 2], |meters| meters.map(Meter::ns));
        let before = ns();
        loader.go();
        let outcome = loader.outcome();
        let after = ns();
        let per_call = |index: usize| {
            after[index].saturating_sub(before[index]) as f64 / 1e9 / outcome.calls.max(1) as f64
        };
        let [cpu_s, process_cpu_s] = [per_call(0), per_call(1)];
        Measured { outcome, cpu_s, process_cpu_s }
    }
}
