//! Replicas as they are shipped: processes of the released program on a database of their own.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use jeton::{clock::Clock, dev::ScratchCluster, state::Permission, store::Store, token::MasterKey};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tempfile::TempDir;

use crate::{load::Load, subject::register};

/// Between two looks for the file that says where a server listens.
const LOOK: Duration = Duration::from_millis(10);
/// Looks until it is given up: a minute.
const LOOKS: usize = 6_000;

/// Replicas of one issuer.
pub struct Fleet {
    database_url: String,
    api_key: String,
    replicas: Vec<Replica>,
    directory: TempDir,
}

/// A process, which ends with this value.
struct Replica {
    child: Child,
    address: String,
}

impl Fleet {
    /// So many, on a database of their own.
    pub async fn start(cluster: &ScratchCluster, count: usize) -> Self {
        let name = format!("fleet_{count}");
        let mut connection = PgConnection::connect(&cluster.url("postgres")).await.unwrap();
        connection.execute(AssertSqlSafe(format!("create database {name}"))).await.unwrap();
        let database_url = cluster.url(&name);
        let store = Store::new(&database_url).unwrap();
        store.migrate(Clock::system().now()).await.unwrap();
        let api_key = register(&store, &Permission::ALL).await;
        store.close().await;
        let directory = tempfile::tempdir().unwrap();
        fs::write(master_key(&directory), MasterKey::generate().unwrap().to_text().as_bytes()).unwrap();
        let mut fleet = Self { database_url, api_key, replicas: Vec::new(), directory };
        for index in 0..count {
            let replica = fleet.replica(index).await;
            fleet.replicas.push(replica);
        }
        fleet
    }

    /// Load on the first replica alone.
    pub async fn load_on_one(&self) -> Load {
        Load::connect(&[&self.replicas[0].address], &self.api_key).await
    }

    /// Load on all of them.
    pub async fn load_on_all(&self) -> Load {
        let addresses: Vec<&str> = self.replicas.iter().map(|replica| replica.address.as_str()).collect();
        Load::connect(&addresses, &self.api_key).await
    }

    /// Sends the last replica a signal.
    pub fn signal_last(&self, signal: Signal) {
        let replica = self.replicas.last().unwrap();
        kill_process(Pid::from_child(&replica.child), signal).unwrap();
    }

    /// Starts another in place of the last, which was killed.
    pub async fn replace_last(&mut self) {
        drop(self.replicas.pop());
        let replica = self.replica(self.replicas.len()).await;
        self.replicas.push(replica);
    }

    /// Starts one, and waits until it serves.
    async fn replica(&self, index: usize) -> Replica {
        let ready_file = self.directory.path().join(format!("ready-{index}.json"));
        let log = File::create(self.directory.path().join(format!("log-{index}"))).unwrap();
        let _absent = fs::remove_file(&ready_file);
        let mut command = Command::new(env!("CARGO_BIN_EXE_jeton"));
        command.env_clear().env("JETON_DATABASE_URL", &self.database_url).args(["serve", "--plaintext"]);
        command.arg("--master-key-file").arg(master_key(&self.directory));
        command.arg("--ready-file").arg(&ready_file);
        command.arg("--parent-pid").arg(std::process::id().to_string());
        command.args(["--issuer", "http://jeton.bench", "--replica-name", &format!("bench-{index}")]);
        for listener in ["--listen", "--admin-listen", "--ops-listen"] {
            command.args([listener, "127.0.0.1:0"]);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let mut replica = Replica { child, address: String::new() };
        for _ in 0..LOOKS {
            if let Ok(text) = fs::read(&ready_file) {
                let ready: serde_json::Value = serde_json::from_slice(&text).unwrap();
                ready["public"].as_str().unwrap().clone_into(&mut replica.address);
                return replica;
            }
            assert!(replica.child.try_wait().unwrap().is_none(), "a server ended at its start");
            tokio::time::sleep(LOOK).await;
        }
        panic!("a server was not ready within a minute");
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // Killed already, perhaps: all the same.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn master_key(directory: &TempDir) -> PathBuf {
    directory.path().join("master.key")
}
