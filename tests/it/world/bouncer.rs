//! A `PgBouncer` in front of a test's database, as Debian ships it.

use std::{
    fs,
    net::TcpListener,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::until;

/// Ends with the test.
pub struct Bouncer {
    child: Child,
    directory: TempDir,
    /// The database's URL by way of it.
    pub url: String,
}

impl Bouncer {
    /// A pooler in mode `mode`, in front of a database whose URL names a socket's directory. `more` are further lines
    /// of its configuration.
    pub async fn start(url: &str, mode: &str, more: &str) -> Self {
        let (base, socket) = url.split_once("?host=").unwrap();
        let (_, database) = base.rsplit_once('/').unwrap();
        let socket = socket.replace("%2F", "/");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let directory = tempfile::tempdir().unwrap();
        let configuration = directory.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host={socket} port=5432 user=jeton\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {mode}\nmax_client_conn = 200\n\
             default_pool_size = 60\n{more}\n"
        );
        fs::write(&configuration, text).unwrap();
        let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/opt/homebrew/bin/pgbouncer"];
        let program = program.into_iter().find(|path| Path::new(path).exists());
        let program = program.expect("PgBouncer is here: scripts/need-pgbouncer installs it");
        let mut command = Command::new(program);
        // It does not run as root; the user that runs Postgres may reach its socket.
        if rustix::process::geteuid().is_root() {
            use std::os::unix::fs::MetadataExt;
            let owner = fs::metadata(&socket).unwrap();
            std::os::unix::fs::chown(directory.path(), Some(owner.uid()), Some(owner.gid())).unwrap();
            command.uid(owner.uid()).gid(owner.gid());
        }
        command.arg("--quiet").arg(&configuration).stdin(Stdio::null()).stdout(Stdio::null());
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let child = command.stderr(log).spawn().unwrap();
        let url = format!("postgres://jeton@127.0.0.1:{port}/{database}?sslmode=disable");
        let mut bouncer = Self { child, directory, url };
        until("PgBouncer listens", async || {
            assert!(bouncer.child.try_wait().unwrap().is_none(), "it ended: {}", bouncer.log());
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        })
        .await;
        bouncer
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}
