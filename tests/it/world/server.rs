//! A server process, as it is shipped.

use std::{
    fs::{self, File},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use super::own_address;

/// So often it is looked whether a process has started, or ended: for two minutes, on a machine that is short of time.
const LOOKS: u32 = 12_000;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);
/// The message of a server that found no time to connect to its database.
const LATE: &str = "is out of reach: it did not answer in time";

/// Options of a server besides its database.
#[derive(Clone, Default)]
pub struct ServerOptions {
    /// Public, admin, ops; unset: chosen by the system.
    pub ports: Option<[String; 3]>,
    /// `iss`; unset: `http://jeton.test`.
    pub issuer: Option<String>,
    /// As in `RUST_LOG`.
    pub log: Option<String>,
    /// The master key's text; unset: that of every world.
    pub master_key: Option<String>,
    /// Its arguments say how it has TLS: `--plaintext` is not said.
    pub tls: bool,
    /// It refuses a database that may lose acknowledged changes, as that of every test may.
    pub needs_fsync: bool,
    /// Further arguments.
    pub arguments: Vec<String>,
}

/// The content of a ready file.
#[derive(Clone, Debug, Deserialize)]
pub struct Ready {
    pub public: String,
    pub admin: String,
    pub ops: String,
    pub issuer: String,
    pub replica: String,
    pub pid: u32,
}

/// A server that serves.
pub struct Server {
    child: Child,
    pub ready: Ready,
    /// Its log file: JSON lines.
    pub log: PathBuf,
    options: ServerOptions,
}

impl Server {
    /// Starts one, and waits until it serves. One that did not reach its database in time is started again, as by
    /// whatever runs servers: twice.
    pub async fn start(database_url: &str, directory: &Path, options: &ServerOptions) -> Self {
        for again in [true, true, false] {
            match Self::try_start(database_url, directory, options).await {
                Ok(server) => return server,
                Err((_, said)) if again && said.contains(LATE) => {}
                Err((status, said)) => panic!("the server ended with {status}: {said}"),
            }
        }
        unreachable!("the last one is not begun again");
    }

    /// Starts a server, and waits until it serves or ends; if it ends, returns its stderr.
    pub async fn try_start(
        database_url: &str,
        directory: &Path,
        options: &ServerOptions,
    ) -> Result<Self, (ExitStatus, String)> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jeton"));
        let master_key = directory.join("master.key");
        super::write_private(&master_key, &options.master_key.clone().unwrap_or_else(super::master_key_text));
        let ready_file = directory.join("ready.json");
        let _absent = fs::remove_file(&ready_file);
        let log = directory.join("log");
        // Without TLS, at an address of its own: a restart finds its ports free.
        let address = if options.tls { Ipv4Addr::LOCALHOST } else { own_address() };
        let ports = options.ports.clone().unwrap_or_else(|| [0; 3].map(|port| format!("{address}:{port}")));
        command.env_clear().env("JETON_DATABASE_URL", database_url).arg("serve");
        if !options.needs_fsync {
            command.arg("--allow-fsync-off");
        }
        if !options.tls {
            command.arg("--plaintext");
        }
        command.arg("--master-key-file").arg(&master_key).arg("--ready-file").arg(&ready_file);
        command.arg("--issuer").arg(options.issuer.as_deref().unwrap_or("http://jeton.test"));
        command.arg("--log").arg(options.log.as_deref().unwrap_or("info,jeton=debug"));
        command
            .arg("--listen")
            .arg(&ports[0])
            .arg("--admin-listen")
            .arg(&ports[1])
            .arg("--ops-listen")
            .arg(&ports[2]);
        // On Linux a run of tests that is killed leaves none behind.
        command.arg("--parent-pid").arg(std::process::id().to_string());
        // No balancer looks at it.
        if !options.arguments.iter().any(|argument| argument == "--drain-delay") {
            command.args(["--drain-delay", "0s"]);
        }
        command.args(&options.arguments);
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn().unwrap();
        for _ in 0..LOOKS {
            if let Ok(text) = fs::read(&ready_file) {
                let ready = serde_json::from_slice(&text).unwrap();
                return Ok(Self { child, ready, log, options: options.clone() });
            }
            if let Some(status) = child.try_wait().unwrap() {
                return Err((status, fs::read_to_string(&log).unwrap()));
            }
            tokio::time::sleep(LOOK).await;
        }
        child.kill().unwrap();
        panic!("the server was not ready within two minutes: {}", fs::read_to_string(&log).unwrap());
    }

    /// The same server once more: where clients already know it to be.
    pub fn same_ports(&self) -> ServerOptions {
        let ports = [&self.ready.public, &self.ready.admin, &self.ready.ops].map(Clone::clone);
        ServerOptions { ports: Some(ports), ..self.options.clone() }
    }

    /// Its log so far.
    pub fn logged(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Memory that it has taken for what it does, bytes: without the pages of the program itself.
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line =
            status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a line of its memory");
        line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
    }

    /// Returns whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// As a crash does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// It runs no more until it is resumed; its connections stay.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        // A signal is not obeyed at once: another of its threads may go on for a moment.
        let is_still = |task: std::io::Result<fs::DirEntry>| {
            let stat = task.and_then(|task| fs::read_to_string(task.path().join("stat")));
            stat.map_or(true, |stat| stat.contains(") T ") || stat.contains(") Z "))
        };
        while !fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap().all(is_still) {
            std::thread::yield_now();
        }
    }

    /// It runs on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Sends it this signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        for _ in 0..LOOKS {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(LOOK).await;
        }
        panic!("the server did not end within two minutes: {}", self.logged());
    }

    /// One GET of the ops listener: status and body.
    pub async fn ops(&self, path: &str) -> (u16, String) {
        self.ready.ops(path).await
    }
}

impl Ready {
    /// One GET of the ops listener: status and body.
    pub async fn ops(&self, path: &str) -> (u16, String) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(&self.ops).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: ops\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}
