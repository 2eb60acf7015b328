//! A private Postgres cluster: the machine's own programs, and only a Unix socket.
//!
//! A cluster's directory contains `data` (Postgres' own), `socket` and `log`. For root, the first two belong to the
//! user that Postgres runs as, the rest is ours.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail};
use rustix::process::Signal;

use crate::{
    binaries::Binaries,
    place::{self, SOCKET_PORT, User},
    process,
};

/// The database superuser: only our user can enter the socket's directory, so it has no password.
const DATABASE_USER: &str = "jeton";
/// A cluster that was killed under load replays its log first.
const READY_SECONDS: u32 = 60;
/// A fast shutdown writes a checkpoint.
const FAST_SHUTDOWN_SECONDS: u32 = 30;
/// Neither an immediate shutdown nor a kill waits for anything but the kernel.
const IMMEDIATE_SHUTDOWN_SECONDS: u32 = 5;
/// Twenty servers, the most of one run, have some 26 connections each.
const MAX_CONNECTIONS: u32 = 600;
/// A cluster for tests serves up to two dozen tests at once, some of them with ten servers.
const MAX_CONNECTIONS_OF_TESTS: u32 = 2_000;
/// The beginning of the name of an unfinished cluster.
const UNFINISHED: &str = "new-";
/// Enough of the server's log to see why it did not start.
const LOG_TAIL_LINES: usize = 12;

/// The options of [`Cluster::start`].
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The cluster's own directory; created if it is missing.
    pub directory: PathBuf,
    /// The data matters after this run: then it is as durable as Postgres makes it.
    pub kept: bool,
    /// The directory of Postgres' programs, if it is given.
    pub binaries: Option<PathBuf>,
    /// Further settings, as `NAME=VALUE`; they override ours.
    pub settings: Vec<String>,
}

/// A Postgres server of our own, which ends when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    child: Child,
    directory: PathBuf,
    socket_directory: PathBuf,
    kept: bool,
}

impl Cluster {
    /// Starts the cluster of a directory, after making it if it is missing, and returns when it answers.
    ///
    /// The caller holds a lock on the directory: a server that still runs there was left behind, and is stopped.
    pub fn start(options: &ClusterOptions) -> anyhow::Result<Self> {
        Self::open(options, |files, binaries| files.initialize(binaries, options.kept))
    }

    /// The same for a copy of another running cluster, which it then follows.
    pub fn start_standby(options: &ClusterOptions, primary: &Self) -> anyhow::Result<Self> {
        Self::open(options, |files, binaries| files.copy(binaries, &primary.socket_directory))
    }

    fn open(
        options: &ClusterOptions,
        make: impl FnOnce(&Files, &Binaries) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let user = User::instead_of_root();
        let directory = place::settle(&options.directory, user)?;
        let files = Files { data: directory.join("data"), directory, user };
        let binaries = match files.made_by() {
            Some(major) => Binaries::find_major(options.binaries.as_deref(), major),
            None => Binaries::find(options.binaries.as_deref()),
        }?;
        files.stop_leftover(&binaries)?;
        files.sweep();
        if files.made_by().is_none() {
            make(&files, &binaries)?;
        }
        let socket_directory = place::socket_directory(&files.directory, user)?;
        let child = files.spawn(&binaries, &socket_directory, options)?;
        let mut cluster =
            Self { child, directory: files.directory.clone(), socket_directory, kept: options.kept };
        cluster.wait_until_ready(&files)?;
        Ok(cluster)
    }

    /// The URL of one of its databases, for sqlx and for libpq.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let database = place::percent_encode(OsStr::new(database));
        let host = place::percent_encode(self.socket_directory.as_os_str());
        format!("postgres://{DATABASE_USER}@localhost:{SOCKET_PORT}/{database}?host={host}")
    }

    /// Its directory, with symlinks resolved.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The server's process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns whether the server still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Stops it: its clients are disconnected, and committed data is on disk. Waits until it has ended.
    pub fn stop(mut self) -> anyhow::Result<()> {
        self.shut_down()
    }

    fn shut_down(&mut self) -> anyhow::Result<()> {
        // Data that nobody will read needs no checkpoint.
        let fast = [(Signal::INT, FAST_SHUTDOWN_SECONDS)];
        let hard = [(Signal::QUIT, IMMEDIATE_SHUTDOWN_SECONDS), (Signal::KILL, IMMEDIATE_SHUTDOWN_SECONDS)];
        for (signal, seconds) in fast.into_iter().filter(|_| self.kept).chain(hard) {
            if self.child.try_wait()?.is_some() {
                break;
            }
            process::signal(self.child.id(), signal);
            process::wait(&mut self.child, seconds)?;
        }
        if self.child.try_wait()?.is_none() {
            bail!("Postgres (process {}) does not end", self.child.id());
        }
        // A directory under the temporary directory would stay for good; Postgres has removed the socket.
        let _ = fs::remove_dir(&self.socket_directory);
        Ok(())
    }

    fn wait_until_ready(&mut self, files: &Files) -> anyhow::Result<()> {
        for _ in 0..process::polls(READY_SECONDS) {
            // The file of a killed server may also contain "ready".
            if files.postmaster().is_some_and(|it| it.ready && it.pid == self.child.id()) {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("Postgres did not start ({status}); its log ends with\n{}", files.log_tail());
            }
            std::thread::sleep(process::POLL);
        }
        bail!("Postgres was not ready after {READY_SECONDS} s; its log ends with\n{}", files.log_tail())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.shut_down();
    }
}

/// The content of `postmaster.pid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Postmaster {
    pid: u32,
    ready: bool,
}

impl Postmaster {
    fn parse(text: &str) -> Option<Self> {
        let pid = text.lines().next()?.trim().parse().ok()?;
        Some(Self { pid, ready: text.lines().nth(7).is_some_and(|status| status.trim() == "ready") })
    }
}

/// Stops the server that runs in a cluster's directory, if there is one.
pub fn stop_leftover(directory: &Path, binaries: Option<&Path>) -> anyhow::Result<()> {
    let Ok(directory) = directory.canonicalize() else { return Ok(()) };
    let files = Files { data: directory.join("data"), directory, user: User::instead_of_root() };
    if !files.has_server() {
        return Ok(());
    }
    files.stop_leftover(&Binaries::find(binaries)?)
}

/// The files of one cluster, and the user that Postgres runs as.
struct Files {
    directory: PathBuf,
    data: PathBuf,
    user: Option<User>,
}

impl Files {
    /// The major version that made the cluster; `None` if there is none.
    fn made_by(&self) -> Option<u32> {
        fs::read_to_string(self.data.join("PG_VERSION")).ok()?.trim().parse().ok()
    }

    fn postmaster(&self) -> Option<Postmaster> {
        Postmaster::parse(&fs::read_to_string(self.data.join("postmaster.pid")).ok()?)
    }

    /// Returns whether a server runs in this directory. The number in a stale pid file may be any process's by now, so
    /// if the system shows it, the process must also work in this directory.
    fn has_server(&self) -> bool {
        self.postmaster().is_some_and(|it| {
            process::is_alive(it.pid)
                && (!cfg!(target_os = "linux")
                    || fs::read_link(format!("/proc/{}/cwd", it.pid)).is_ok_and(|cwd| cwd == self.data))
        })
    }

    fn stop_leftover(&self, binaries: &Binaries) -> anyhow::Result<()> {
        for mode in ["fast", "immediate"] {
            if !self.has_server() {
                return Ok(());
            }
            // As the user that it runs as, so that a forged pid file cannot reach other processes.
            let mut command = self.command(binaries, "pg_ctl");
            command
                .args(["stop", "--silent", "--wait", "--timeout=30", "--mode", mode, "--pgdata"])
                .arg(&self.data);
            command.output().context("cannot run pg_ctl")?;
        }
        if self.has_server() {
            bail!("a Postgres that was left behind in {} does not end", self.directory.display());
        }
        Ok(())
    }

    /// Removes unfinished clusters of killed runs.
    fn sweep(&self) {
        for entry in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(UNFINISHED)) {
                let _ = place::remove(&entry.path());
            }
        }
    }

    fn initialize(&self, binaries: &Binaries, kept: bool) -> anyhow::Result<()> {
        let mut command = self.command(binaries, "initdb");
        command.args(["--username", DATABASE_USER, "--auth=trust", "--encoding=UTF8", "--locale=C"]);
        command.args((!kept).then_some("--no-sync")).arg("--no-instructions");
        self.make(command)
    }

    /// Copies the cluster whose server listens in `socket_directory`, to follow it.
    fn copy(&self, binaries: &Binaries, socket_directory: &Path) -> anyhow::Result<()> {
        let mut command = self.command(binaries, "pg_basebackup");
        command.args(["--write-recovery-conf", "--checkpoint=fast", "--username", DATABASE_USER]);
        command.args(["--port", &SOCKET_PORT.to_string()]).arg("--host").arg(socket_directory);
        self.make(command)
    }

    /// Makes the data with a program that is given the directory.
    fn make(&self, mut command: Command) -> anyhow::Result<()> {
        // Made under another name, and renamed when it is complete. The name is unique: the program of a killed run may
        // still be at work.
        let new = self.directory.join(format!("{UNFINISHED}{}", std::process::id()));
        place::own_directory(&new, self.user, 0o700)?;
        command.arg("--pgdata").arg(&new);
        let program = command.get_program().to_string_lossy().into_owned();
        let output = command.output().with_context(|| format!("cannot run {program}"))?;
        if !output.status.success() {
            bail!("{program} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
        place::remove(&self.data)?;
        fs::rename(&new, &self.data).with_context(|| format!("cannot make {}", self.data.display()))
    }

    fn spawn(
        &self,
        binaries: &Binaries,
        socket_directory: &Path,
        options: &ClusterOptions,
    ) -> anyhow::Result<Child> {
        let log = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.directory.join("log"))
            .context("cannot write Postgres' log")?;
        let mut command = self.command(binaries, "postgres");
        command
            .arg("-D")
            .arg(&self.data)
            .arg("-k")
            .arg(socket_directory)
            .args(["-p", &SOCKET_PORT.to_string()]);
        for setting in ["listen_addresses=", "unix_socket_permissions=0700"] {
            command.args(["-c", setting]);
        }
        let most = if options.kept { MAX_CONNECTIONS } else { MAX_CONNECTIONS_OF_TESTS };
        command.args(["-c", &format!("max_connections={most}")]);
        if !options.kept {
            for setting in ["fsync=off", "full_page_writes=off", "synchronous_commit=off"] {
                command.args(["-c", setting]);
            }
        }
        for setting in &options.settings {
            command.args(["-c", setting]);
        }
        command.stdout(log.try_clone()?).stderr(log);
        command.spawn().context("cannot run postgres")
    }

    /// One of Postgres' programs, as the right user, without our environment.
    fn command(&self, binaries: &Binaries, program: &str) -> Command {
        let mut command = Command::new(binaries.program(program));
        // A group of its own: Ctrl-C in a terminal must reach only us, who decide the order of ending.
        command.current_dir("/").process_group(0).stdin(Stdio::null()).env_clear();
        command.env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").env("TZ", "UTC");
        if let Some(user) = self.user {
            command.uid(user.uid).gid(user.gid); // as root this drops our other groups, too
        }
        command
    }

    fn log_tail(&self) -> String {
        let log = fs::read(self.directory.join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let skipped = log.lines().count().saturating_sub(LOG_TAIL_LINES);
        log.lines().skip(skipped).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_is_ready_only_when_its_eighth_line_says_so() {
        let text = "4711\n/data\n1700000000\n5432\n/socket\n\n  123  456\nready   \n";
        assert_eq!(Postmaster::parse(text), Some(Postmaster { pid: 4711, ready: true }));
        let starting = text.replace("ready   ", "starting");
        assert_eq!(Postmaster::parse(&starting), Some(Postmaster { pid: 4711, ready: false }));
        assert_eq!(Postmaster::parse("4711\n/data\n"), Some(Postmaster { pid: 4711, ready: false }));
        assert_eq!(Postmaster::parse(""), None);
    }
}
