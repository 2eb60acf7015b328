//! Replicas as they are shipped: processes of the released program on a database of their own.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{cpu::Meter, issuer::Issuer, target::Target};

/// Between two looks for the file that says where a server listens.
const LOOK: Duration = Duration::from_millis(2);
/// It is given up after this: longer than it takes to load ten million revocations.
const READY: Duration = Duration::from_mins(2);

/// Replicas of one issuer.
pub struct Fleet {
    issuer: Issuer,
    replicas: Vec<Replica>,
    directory: TempDir,
}

/// A process, which ends with this value.
struct Replica {
    child: Child,
    address: SocketAddr,
    /// From the start of its process until it served.
    start_s: f64,
}

impl Fleet {
    /// So many.
    pub fn start(issuer: Issuer, count: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(master_key(&directory), &issuer.master_key).unwrap();
        let mut fleet = Self { issuer, replicas: Vec::new(), directory };
        for index in 0..count {
            let replica = fleet.replica(index);
            fleet.replicas.push(replica);
        }
        fleet
    }

    /// The first replica alone.
    pub fn one(&self) -> Target {
        let meter = Some(Meter::Serving(self.replicas[0].child.id()));
        Target {
            addresses: vec![self.replicas[0].address],
            api_key: self.issuer.api_key.clone(),
            admin: None,
            meter,
        }
    }

    /// All of them.
    pub fn all(&self) -> Target {
        let addresses = self.replicas.iter().map(|replica| replica.address).collect();
        Target { addresses, api_key: self.issuer.api_key.clone(), admin: None, meter: None }
    }

    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Ends all.
    pub fn into_issuer(self) -> Issuer {
        self.issuer
    }

    /// The time that the first one took to start.
    pub fn first_start_s(&self) -> f64 {
        self.replicas[0].start_s
    }

    /// Sends the last replica a signal.
    pub fn signal_last(&self, signal: Signal) {
        let replica = self.replicas.last().unwrap();
        kill_process(Pid::from_child(&replica.child), signal).unwrap();
    }

    /// Starts another in place of the last, which was killed.
    pub fn replace_last(&mut self) {
        drop(self.replicas.pop());
        let replica = self.replica(self.replicas.len());
        self.replicas.push(replica);
    }

    /// Ends all servers, and starts them again. Returns the time that the first one took.
    pub fn restart(&mut self) -> f64 {
        let count = self.replicas.len();
        for replica in &mut self.replicas {
            replica.end();
        }
        self.replicas.clear();
        for index in 0..count {
            let replica = self.replica(index);
            self.replicas.push(replica);
        }
        self.first_start_s()
    }

    /// Starts one, and waits until it serves.
    fn replica(&self, index: usize) -> Replica {
        let ready_file = self.directory.path().join(format!("ready-{index}.json"));
        let log = File::create(self.directory.path().join(format!("log-{index}"))).unwrap();
        let _absent = fs::remove_file(&ready_file);
        let mut command = Command::new(program());
        command.env_clear().env("JETON_DATABASE_URL", &self.issuer.database_url).args([
            "serve",
            "--plaintext",
            "--allow-fsync-off",
        ]);
        command.arg("--master-key-file").arg(master_key(&self.directory));
        command.arg("--ready-file").arg(&ready_file);
        command.arg("--parent-pid").arg(std::process::id().to_string());
        command.args(["--issuer", crate::issuer::ISSUER, "--replica-name", &format!("bench-{index}")]);
        for listener in ["--listen", "--admin-listen", "--ops-listen"] {
            command.args([listener, "127.0.0.1:0"]);
        }
        let started = Instant::now();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut replica = Replica { child, address: nowhere, start_s: 0.0 };
        while started.elapsed() < READY {
            if let Ok(text) = fs::read(&ready_file) {
                replica.start_s = started.elapsed().as_secs_f64();
                let ready: serde_json::Value = serde_json::from_slice(&text).unwrap();
                replica.address = ready["public"].as_str().unwrap().parse().unwrap();
                return replica;
            }
            let ended = replica.child.try_wait().unwrap();
            assert!(ended.is_none(), "a server ended at its start: see {}", self.directory.path().display());
            std::thread::sleep(LOOK);
        }
        panic!("a server was not ready in time");
    }
}

impl Replica {
    /// As an operator ends it.
    fn end(&mut self) {
        let _ended = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ended = self.child.wait();
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// The released program, which `make bench` builds before this one.
fn program() -> PathBuf {
    // target/PROFILE/deps/PROGRAM.
    let own = std::env::current_exe().unwrap();
    let program = own.ancestors().nth(2).unwrap().join("jeton");
    assert!(program.exists(), "build it first: cargo build --locked --release --bin jeton");
    program
}

fn master_key(directory: &TempDir) -> PathBuf {
    directory.path().join("master.key")
}
