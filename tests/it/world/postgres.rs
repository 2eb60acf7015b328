//! A Postgres of the test's own, and ways to take it away: it hangs, crashes, restarts, or loses its place to a
//! standby.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    process::Command,
};

use jeton_postgres::{Cluster, ClusterOptions, ScratchCluster};
use jeton_state::clock::Clock;
use rustix::process::{Pid, Signal, kill_process};

use super::{Database, certificates::Leaf, cluster, until};

pub struct Postgres {
    standby: Option<Cluster>,
    restarted: Option<Cluster>,
    /// Its directory goes last.
    scratch: ScratchCluster,
    pid: u32,
    frozen: Vec<u32>,
}

impl Postgres {
    /// With one database, migrated, which knows the clients of every world.
    pub async fn start() -> Self {
        let binaries = std::env::var_os("JETON_POSTGRES_BIN");
        let scratch = ScratchCluster::start(binaries.as_ref().map(AsRef::as_ref)).unwrap();
        let store = super::store(&scratch.url("postgres"));
        store.migrate(Clock::system().now()).await.unwrap();
        cluster::register_clients(&store).await;
        store.close().await;
        let pid = scratch.pid().unwrap();
        Self { standby: None, restarted: None, scratch, pid, frozen: Vec::new() }
    }

    /// The one database in it.
    pub fn database(&self) -> Database {
        Database { name: "postgres".to_owned(), url: self.scratch.url("postgres") }
    }

    fn signal(pid: u32, signal: Signal) {
        // A backend may have ended meanwhile.
        let _gone = kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), signal);
    }

    /// A postmaster and its children.
    fn processes(postmaster: u32) -> Vec<u32> {
        let parent = |pid: u32| -> Option<u32> {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
        };
        let all = fs::read_dir("/proc").unwrap().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let children = pids.filter(|pid| parent(*pid) == Some(postmaster));
        std::iter::once(postmaster).chain(children).collect()
    }

    /// Nothing answers any more, and no connection breaks.
    pub fn freeze(&mut self) {
        self.stop_all(self.pid);
    }

    /// The standby hears and says nothing any more, and its connection to the primary does not break.
    pub fn freeze_standby(&mut self) {
        let pid = self.standby.as_ref().expect("a standby").pid();
        self.stop_all(pid);
    }

    /// The standby ends at once, as by a loss of power.
    pub async fn kill_standby(&mut self) {
        let standby = self.standby.as_ref().expect("a standby");
        let pid = standby.pid();
        for each in Self::processes(pid) {
            Self::signal(each, Signal::KILL);
        }
        until("the standby has ended", async || has_ended(pid)).await;
    }

    fn options(&self, name: &str, settings: &[String]) -> ClusterOptions {
        ClusterOptions {
            directory: self.scratch.directory().join(name),
            // As it was: commits wait for no disk, which others may keep busy.
            kept: false,
            binaries: std::env::var_os("JETON_POSTGRES_BIN").map(Into::into),
            settings: settings.to_vec(),
        }
    }

    /// Restarts the standby, which follows again.
    pub fn restart_standby(&mut self) {
        self.standby = None;
        self.standby = Some(Cluster::start(&self.options("standby", &[])).unwrap());
    }

    fn stop_all(&mut self, postmaster: u32) {
        // The postmaster first: it starts no more.
        for _ in 0..2 {
            for pid in Self::processes(postmaster) {
                Self::signal(pid, Signal::STOP);
                self.frozen.push(pid);
            }
        }
    }

    pub fn thaw(&mut self) {
        for pid in self.frozen.drain(..) {
            Self::signal(pid, Signal::CONT);
        }
    }

    /// As `pg_ctl stop -m immediate` does: every connection breaks.
    pub async fn crash(&mut self) {
        Self::signal(self.pid, Signal::QUIT);
        self.has_ended().await;
    }

    /// As `pg_ctl stop -m fast` does: it ends in good order.
    pub async fn stop(&mut self) {
        Self::signal(self.pid, Signal::INT);
        self.has_ended().await;
    }

    async fn has_ended(&self) {
        until("Postgres has ended", async || has_ended(self.pid)).await;
    }

    /// Keeps a copy of its files, while it is stopped.
    pub fn back_up(&self) {
        self.copy("postgres", "backup");
    }

    /// Puts the copy in the place of its files, while it is stopped.
    pub fn restore(&self) {
        fs::remove_dir_all(self.scratch.directory().join("postgres")).unwrap();
        self.copy("backup", "postgres");
    }

    fn copy(&self, from: &str, to: &str) {
        let directory = self.scratch.directory();
        let mut copy = Command::new("cp");
        assert!(copy.arg("-a").arg(directory.join(from)).arg(directory.join(to)).status().unwrap().success());
    }

    /// Restarts it at the same place.
    pub fn restart(&mut self) {
        let cluster = Cluster::start(&self.options("postgres", &[])).unwrap();
        assert_eq!(cluster.url("postgres"), self.scratch.url("postgres"), "the server finds it again");
        self.pid = cluster.pid();
        self.restarted = Some(cluster);
    }

    /// Restarts it at the same place with this certificate, so that it accepts connections by TCP. Returns the port.
    pub fn restart_with_tls(&mut self, leaf: &Leaf) -> u16 {
        let data = self.scratch.directory().join("postgres/data");
        let owner = fs::metadata(&data).unwrap();
        for path in leaf.write(&data, "server") {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = [
            "listen_addresses=127.0.0.1",
            &format!("port={port}"),
            "ssl=on",
            "ssl_cert_file=server.pem",
            "ssl_key_file=server.key",
        ];
        let cluster = Cluster::start(&self.options("postgres", &settings.map(str::to_owned))).unwrap();
        self.pid = cluster.pid();
        self.restarted = Some(cluster);
        port
    }

    /// Gives it a standby, without which it commits nothing from here on. Answers the database there.
    pub async fn stand_by(&mut self) -> Database {
        let binaries = std::env::var_os("JETON_POSTGRES_BIN");
        let standby = self.scratch.standby(binaries.as_ref().map(AsRef::as_ref)).unwrap();
        let database = Database { name: "postgres".to_owned(), url: standby.url("postgres") };
        self.standby = Some(standby);
        let primary = self.database();
        primary.execute("alter system set synchronous_standby_names = '*'").await;
        primary.execute("select pg_reload_conf()").await;
        until("the standby is synchronous", async || {
            primary.number("select count(*) from pg_stat_replication where sync_state = 'sync'").await == 1
        })
        .await;
        database
    }
}

/// A zombie serves no more; its parent waits for it at the end.
fn has_ended(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A frozen process cannot end.
        self.thaw();
    }
}
