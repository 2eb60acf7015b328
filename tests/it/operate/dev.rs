//! `jeton dev`, as a process.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use jeton::proto::v1::{self as pb, revocation_target::Kind};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use tempfile::TempDir;

use crate::world::{Api, Database, Ready, Shell, World, own_address, until, until_within};

/// Any ports of an address of its own: another start finds them free.
pub fn any() -> [&'static str; 3] {
    [Box::leak(format!("{}:0", own_address()).into_boxed_str()); 3]
}

/// A data directory, and what runs in it. Nothing outlives it, whatever fails.
pub struct Dev {
    child: Option<Child>,
    parent: TempDir,
    /// Further variables.
    environment: Vec<(&'static str, String)>,
}

impl Dev {
    pub fn new() -> Self {
        let parent = tempfile::tempdir().unwrap();
        // As root, Postgres runs as another user, who must pass through.
        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o711)).unwrap();
        Self { child: None, parent, environment: Vec::new() }
    }

    pub fn data_dir(&self) -> std::path::PathBuf {
        self.parent.path().join("data")
    }

    pub fn command(&self, ports: [&str; 3], more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jeton"));
        command.arg("dev").arg("--data-dir").arg(self.data_dir()).args(more);
        for (flag, port) in ["--listen", "--admin-listen", "--ops-listen"].iter().zip(ports) {
            command.arg(flag).arg(port);
        }
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(std::env::var_os("JETON_POSTGRES_BIN").map(|path| ("JETON_POSTGRES_BIN", path)));
        command.envs(self.environment.iter().cloned());
        // A group of its own, as a shell gives it: Ctrl-C reaches all of it.
        command.current_dir(self.parent.path()).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Starts it, and waits for the file that it then writes.
    pub async fn start(&mut self, ports: [&str; 3], more: &[&str]) -> Value {
        let talk =
            fs::File::options().create(true).append(true).open(self.parent.path().join("talk")).unwrap();
        let mut child = self.command(ports, more).stderr(talk).spawn().unwrap();
        let file = self.data_dir().join("dev.json");
        let pid = child.id();
        // A cluster is made, migrated, and up to three servers start.
        until_within(Duration::from_mins(3), "dev.json is written", async || {
            assert!(child.try_wait().unwrap().is_none(), "it ended: {}", self.talk());
            // One of a run before is not it.
            fs::metadata(&file).is_ok() && processes(&self.data_dir()).contains(&pid) && self.read().is_some()
        })
        .await;
        self.child = Some(child);
        self.read().unwrap()
    }

    /// The content of the file of a running server.
    pub fn read(&self) -> Option<Value> {
        let json: Value = serde_json::from_slice(&fs::read(self.data_dir().join("dev.json")).ok()?).ok()?;
        let pid = u32::try_from(json["pid"].as_u64()?).ok()?;
        processes(&self.data_dir()).contains(&pid).then_some(json)
    }

    pub fn talk(&self) -> String {
        fs::read_to_string(self.parent.path().join("talk")).unwrap_or_default()
    }

    /// Its exit status; asserts that nothing is left behind.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        let mut status = None;
        until("it has ended", async || {
            status = child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        assert_eq!(processes(&self.data_dir()), [0_u32; 0], "nothing is left: {}", self.talk());
        let left = fs::read_dir(self.data_dir()).unwrap().map(|entry| entry.unwrap().file_name());
        let kept = ["clients.json", "dev-admin.key", "dev.lock", "master.key", "postgres", "probe.key"];
        let more: Vec<_> = left.filter(|name| !kept.iter().any(|kept| name == kept)).collect();
        assert!(more.is_empty(), "of servers nothing is left: {more:?}");
        status.unwrap()
    }

    /// As a crash does.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().unwrap())
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        for pid in processes(&self.data_dir()) {
            let _gone = kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL);
        }
        if let Some(mut child) = self.child.take() {
            let _ended = child.wait();
        }
    }
}

/// Every process that names a directory among its arguments, or works in it.
pub fn processes(directory: &Path) -> Vec<u32> {
    let name = directory.display().to_string();
    let of_it = |pid: &u32| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let works_in = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).contains(&name) || works_in.starts_with(directory)
    };
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(of_it).collect()
}

pub fn ready(json: &Value) -> Ready {
    serde_json::from_value(json.clone()).unwrap()
}

fn api(json: &Value, client_id: &str) -> Api {
    Api::connect(&ready(json), json["clients"][client_id].as_str().unwrap())
}

/// The same ports again: the issuer contains one.
pub fn ports(ready: &Ready) -> [&str; 3] {
    [&ready.public, &ready.admin, &ready.ops]
}

async fn check_dev_json(dev: &Dev, json: &Value) {
    let file = dev.data_dir().join("dev.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(json["issuer"], format!("http://{}", json["public"].as_str().unwrap()));
    let servers = json["servers"].as_array().unwrap();
    assert_eq!(servers.len(), 1);
    for name in ["public", "admin", "ops", "issuer", "replica", "pid"] {
        assert_eq!(servers[0][name], json[name], "{name}");
    }
    assert!(json["database_url"].as_str().unwrap().starts_with("postgres://"));
    let master_key = Path::new(json["master_key_file"].as_str().unwrap());
    assert_eq!(fs::metadata(master_key).unwrap().permissions().mode() & 0o777, 0o600);
    let clients = json["clients"].as_object().unwrap();
    assert_eq!(clients.keys().collect::<Vec<_>>(), ["dev-admin", "dev-service"]);
    assert!(clients.values().all(|key| jeton_token::ApiKey::parse(key.as_str().unwrap()).is_some()));
    until("it says what to try", async || {
        let talk = dev.talk();
        talk.contains("jeton is ready") && talk.contains("issue --subject alice")
    })
    .await;
    let talk = dev.talk();
    assert!(!talk.contains("jtk_"), "keys are in the file, not in the scrollback: {talk}");
}

#[tokio::test]
async fn dev_keeps_what_it_knows_between_runs_and_ctrl_c_leaves_no_process_behind() {
    let mut dev = Dev::new();
    let first = dev.start(any(), &[]).await;
    check_dev_json(&dev, &first).await;
    let ready = ready(&first);
    let mut service = api(&first, "dev-service");
    let good = service.token("alice", "orders").await.access_token;
    let revoked = service.token("alice", "orders").await.access_token;
    service.revoke(Kind::Token(revoked.clone())).await.unwrap();
    let bare = service.revoke(Kind::Jti("x".to_owned())).await.unwrap_err();
    assert_ne!(bare.code(), tonic::Code::Internal, "{bare:?}");
    let mut admin = api(&first, "dev-admin");
    admin.set_policy(crate::world::policy("orders")).await.unwrap();
    service.set_policy(crate::world::policy("orders")).await.unwrap_err();

    // The commands that it suggests work, in another terminal.
    let shell = Shell::new();
    shell.write(".jeton/dev.json", &first.to_string());
    let said = shell.script("jeton issue --subject alice --audience orders | jeton validate -").await;
    assert!(said.data().starts_with("ACTIVE"), "{said:?}");

    // A second one in the same directory is told who is there.
    let second = dev.command(any(), &[]).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    let refused = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1), "{refused}");
    assert!(refused.contains("another `jeton dev`") && refused.lines().count() == 1, "{refused}");
    assert_eq!(service.status(&good, "orders").await, pb::TokenStatus::Active, "the first goes on");

    // Ctrl-C in a terminal goes to the whole group.
    kill_process_group(dev.pid(), Signal::INT).unwrap();
    assert!(dev.ended().await.success(), "{}", dev.talk());

    let again = dev.start(ports(&ready), &[]).await;
    assert_eq!(again["clients"], first["clients"]);
    let mut service = api(&again, "dev-service");
    assert_eq!(service.status(&good, "orders").await, pb::TokenStatus::Active);
    assert_eq!(service.status(&revoked, "orders").await, pb::TokenStatus::Revoked);
    // So does Ctrl-\\, which leaves no process behind either.
    kill_process_group(dev.pid(), Signal::QUIT).unwrap();
    assert!(dev.ended().await.success(), "{}", dev.talk());
}

#[tokio::test]
async fn k9_after_kill_9_the_next_run_cleans_up_and_what_was_revoked_stays_so() {
    let mut dev = Dev::new();
    let first = dev.start(any(), &[]).await;
    let ready = ready(&first);
    let mut service = api(&first, "dev-service");
    let good = service.token("alice", "orders").await.access_token;
    let revoked = service.token("alice", "orders").await.access_token;
    service.revoke(Kind::Token(revoked.clone())).await.unwrap();
    dev.kill();
    until("the server ends with its parent", async || dev.read().is_none()).await;

    let again = dev.start(ports(&ready), &[]).await;
    assert_ne!(again["pid"], first["pid"]);
    let mut service = api(&again, "dev-service");
    assert_eq!(service.status(&good, "orders").await, pb::TokenStatus::Active);
    assert_eq!(service.status(&revoked, "orders").await, pb::TokenStatus::Revoked);
    // Its terminal was closed.
    kill_process(dev.pid(), Signal::HUP).unwrap();
    assert!(dev.ended().await.success(), "{}", dev.talk());

    // Anew: other keys, other clients.
    let fresh = dev.start(ports(&ready), &["--fresh"]).await;
    assert_ne!(fresh["clients"], first["clients"]);
    let mut service = api(&fresh, "dev-service");
    assert_eq!(service.status(&good, "orders").await, pb::TokenStatus::UnknownKey);
    // A server that dies is an error, and nothing is left behind.
    let server = fresh["pid"].as_u64().unwrap().try_into().unwrap();
    kill_process(Pid::from_raw(server).unwrap(), Signal::KILL).unwrap();
    assert_eq!(dev.ended().await.code(), Some(1), "{}", dev.talk());
    assert!(dev.talk().contains("the server ended"), "{}", dev.talk());
}

#[tokio::test]
async fn dev_refuses_what_it_must_not_do_before_it_makes_anything() {
    let dev = Dev::new();
    let refused = |ports: [&str; 3], more: &[&str]| {
        let output =
            dev.command(ports, more).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.starts_with("error: ") && said.lines().count() == 1, "{said}");
        assert!(!dev.data_dir().exists(), "nothing is made: {said}");
        said
    };
    let beyond = "0.0.0.0:0";
    for (index, flag) in ["--listen", "--admin-listen", "--ops-listen"].iter().enumerate() {
        let mut ports = any();
        ports[index] = beyond;
        let said = refused(ports, &[]);
        assert!(said.contains(flag) && said.contains(beyond), "{said}");
    }
    let said = refused(any(), &["--fresh", "--database-url", "postgres://x:hunter2@127.0.0.1:1/x"]);
    assert!(said.contains("--fresh") && !said.contains("hunter2"), "{said}");

    fs::create_dir(dev.data_dir()).unwrap();
    fs::write(dev.data_dir().join("thesis.tex"), "words").unwrap();
    let output =
        dev.command(any(), &["--fresh"]).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fs::read_to_string(dev.data_dir().join("thesis.tex")).unwrap(), "words");
}

/// The contents of a database that other servers use.
async fn content(database: &Database) -> [i64; 3] {
    let clients = database.number("select count(*) from client").await;
    let head = database.number("select seq from log_head").await;
    [clients, head, database.number("select count(*) from audit_event").await]
}

#[tokio::test]
async fn e12_a_database_in_the_environment_is_left_alone() {
    let live = World::start().await.database;
    let before = content(&live).await;
    let mut dev = Dev::new();
    dev.environment.push(("JETON_DATABASE_URL", live.url.clone()));
    let json = dev.start(any(), &[]).await;
    assert_ne!(json["database_url"], live.url);
    assert!(dev.talk().contains("JETON_DATABASE_URL is not used by `jeton dev`"), "{}", dev.talk());
    assert_eq!(content(&live).await, before, "nothing is written");
    kill_process(dev.pid(), Signal::TERM).unwrap();
    assert!(dev.ended().await.success(), "{}", dev.talk());
}

#[tokio::test]
async fn e12_a_database_that_another_made_is_refused_and_left_alone() {
    let (clients, keys) = (Database::create().await, World::start().await.database);
    // Keys without clients are somebody's, too: this data directory's master key does not open them.
    keys.execute("delete from api_key; delete from client").await;
    for (database, about) in
        [(&clients, "clients that this data directory did not make"), (&keys, "the master key")]
    {
        let before = content(database).await;
        let dev = Dev::new();
        let mut command = dev.command(any(), &["--database-url", &database.url]);
        let output = command.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(about) && said.lines().count() == 1, "{said}");
        assert_eq!(content(database).await, before, "nothing is written");
    }
}

#[tokio::test]
async fn e12_an_empty_database_is_made_ready_and_known_again() {
    let database = Database::create_empty().await;
    let mut dev = Dev::new();
    for _ in 0..2 {
        let json = dev.start(any(), &["--database-url", &database.url]).await;
        assert_eq!(json["database_url"], database.url);
        kill_process(dev.pid(), Signal::TERM).unwrap();
        assert!(dev.ended().await.success(), "{}", dev.talk());
        assert_eq!(database.number("select count(*) from client").await, 2);
    }
}

#[tokio::test]
async fn e19_the_commands_that_dev_prints_work_as_they_are_printed() {
    let mut dev = Dev::new();
    dev.start(any(), &["--replicas", "2"]).await;
    until("it says what to try", async || dev.talk().contains("Ctrl-C ends it")).await;
    let talk = dev.talk();
    let commands: Vec<_> = talk.lines().map(str::trim).filter(|line| line.contains("token.txt")).collect();
    assert_eq!(commands.len(), 3, "{talk}");
    // Elsewhere, by a shell that knows nothing of jeton.
    let shell = Shell::new();
    for command in commands {
        let mut run = Command::new("sh");
        run.arg("-c")
            .arg(command)
            .current_dir(shell.directory.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin");
        let output = tokio::task::spawn_blocking(move || run.output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command}: {said}");
    }
    kill_process(dev.pid(), Signal::INT).unwrap();
    dev.ended().await;
}

#[tokio::test]
async fn e24_client_verbs_go_to_whichever_servers_of_dev_run() {
    let mut dev = Dev::new();
    let all = dev.start(any(), &["--replicas", "2"]).await;
    let shell = Shell::new();
    std::os::unix::fs::symlink(dev.data_dir(), shell.directory.path().join(".jeton")).unwrap();
    let doctor = shell.run(&["doctor"]).await;
    assert!(doctor.out.contains("all 4 answer"), "{doctor:?}");
    let first = Pid::from_raw(all["pid"].as_i64().unwrap().try_into().unwrap()).unwrap();
    kill_process(first, Signal::KILL).unwrap();
    assert!(shell.run(&["whoami"]).await.data().contains("dev-admin"));
    kill_process(dev.pid(), Signal::INT).unwrap();
    dev.ended().await;
    let none = shell.run(&["whoami"]).await;
    assert!(none.with_code(5).contains("no server of `jeton dev` runs in this directory"), "{none:?}");
    let waiting = shell.run(&["whoami", "--retry", "10m"]);
    let again = ready(&all);
    let (said, _) = tokio::join!(waiting, dev.start(ports(&again), &[]));
    assert!(said.err.contains("Trying again until") && said.data().contains("dev-admin"), "{said:?}");
}

#[tokio::test]
async fn e12_what_is_in_the_environment_for_another_server_is_not_for_those_of_dev() {
    let mut dev = Dev::new();
    for name in ["CONFIG", "TLS_CERT", "TLS_KEY", "CLIENT_CA", "PREVIOUS_MASTER_KEY_FILE", "PROBE_KEY_FILE"] {
        dev.environment
            .push((Box::leak(format!("JETON_{name}").into_boxed_str()), "/of/another/server".into()));
    }
    for (name, value) in
        [("JETON_DRAIN_TIMEOUT", "never"), ("JETON_CLIENT_RATE", "1"), ("JETON_ADVERTISE", "http://live")]
    {
        dev.environment.push((name, value.to_owned()));
    }
    let all = dev.start(any(), &[]).await;
    let mut api = Api::connect(&ready(&all), all["clients"]["dev-service"].as_str().unwrap());
    for _ in 0..5 {
        let token = api.token("user:7", "api").await;
        assert_eq!(api.status(&token.access_token, "api").await, pb::TokenStatus::Active);
    }
}
