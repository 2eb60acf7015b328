//! The shared parts of a run's measures.

use std::{path::Path, rc::Rc};

use jeton_postgres::ScratchCluster;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    bare::Bare,
    calls::Calls,
    command::Mode,
    issuer::Issuer,
    loader::Loader,
    machine,
    report::Report,
    subject::Subject,
    target::{Measured, Target},
};

pub struct Bench {
    /// Short rounds, and few: to see that it works.
    pub quick: bool,
    pub runtime: Runtime,
    pub cluster: ScratchCluster,
    pub loader: Loader,
    pub report: Report,
    directory: TempDir,
    small: Option<Rc<Small>>,
    numbers: usize,
}

/// A server with nothing revoked and one serving thread.
pub struct Small {
    pub issuer: Issuer,
    pub subject: Subject,
}

impl Bench {
    pub fn start(quick: bool) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let binaries = std::env::var_os("JETON_POSTGRES_BIN");
        let cluster = ScratchCluster::start_durable(binaries.as_ref().map(AsRef::as_ref)).unwrap();
        let machine = runtime.block_on(machine::describe(&cluster.url("postgres")));
        let directory = tempfile::tempdir().unwrap();
        let (loader, report) = (Loader::start(), Report::new(machine, quick));
        Self { quick, runtime, cluster, loader, report, directory, small: None, numbers: 0 }
    }

    /// Pairs of rounds.
    pub fn rounds(&self) -> usize {
        if self.quick { 3 } else { 5 }
    }

    /// The length of a round, milliseconds.
    pub fn ms(&self) -> u64 {
        if self.quick { 300 } else { 1_500 }
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn bare_inserts(&self) -> Bare {
        self.runtime.block_on(Bare::inserts(&self.cluster.url("postgres")))
    }

    /// With a database of its own.
    pub fn issuer(&mut self, name: &str) -> Issuer {
        self.numbers += 1;
        self.runtime.block_on(Issuer::new(&self.cluster, &format!("{name}_{}", self.numbers)))
    }

    /// The server of most measures, started at the first of them.
    pub fn small(&mut self) -> Rc<Small> {
        if let Some(small) = &self.small {
            return Rc::clone(small);
        }
        let issuer = self.issuer("small");
        let subject = Subject::start(&issuer, self.directory(), 1);
        let small = Rc::new(Small { issuer, subject });
        self.small = Some(Rc::clone(&small));
        small
    }

    /// Ends it.
    pub fn without_small(&mut self) {
        self.small = None;
    }

    /// Calls of the empty RPC with messages as long as those of `calls`, whose tokens have all been seen then.
    pub fn empty_like(&mut self, target: &Target, calls: &Calls) -> Calls {
        let seen = target.each(&mut self.loader, calls);
        let empty = Calls::empty(self.directory(), seen.outcome.bytes);
        let tried = target.measure(&mut self.loader, &target.command(&empty, Mode::Turn));
        let [wanted, got] = [seen.outcome.bytes, tried.outcome.bytes];
        let close = |index: usize| wanted[index].abs_diff(got[index]) <= 2;
        assert!(close(0) && close(1), "messages of one size: {wanted:?}, {got:?}");
        empty
    }

    pub fn busy(&mut self, target: &Target, calls: &Calls) -> Measured {
        let ms = self.ms();
        target.busy(&mut self.loader, calls, ms)
    }
}
