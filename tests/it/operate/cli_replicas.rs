//! The command line, end to end: several replicas as a person sees them.

use jeton::proto::v1 as pb;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::dev::{Dev, any};
use crate::world::{Shell, World, steady, until};

/// Three replicas, and a shell in whose directory they were started.
async fn three() -> (Dev, Value, Shell) {
    let mut dev = Dev::new();
    let json = dev.start(any(), &["--replicas", "3"]).await;
    let shell = Shell::new();
    shell.write(".jeton/dev.json", &json.to_string());
    (dev, json, shell)
}

/// Stops a replica's process where it stands, and lets it go on at the end.
struct Frozen(Pid);

impl Frozen {
    fn new(json: &Value, index: usize) -> Self {
        let pid = Pid::from_raw(json["servers"][index]["pid"].as_i64().unwrap().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        Self(pid)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _gone = kill_process(self.0, Signal::CONT);
    }
}

async fn token(shell: &Shell) -> String {
    shell.run(&["issue", "--subject", "user:7", "--audience", "api"]).await.data().to_owned()
}

#[tokio::test]
async fn replicas_are_listed_with_how_far_each_of_them_is() {
    let (_dev, json, shell) = three().await;
    let table = shell.run(&["replica", "list"]).await;
    let lines: Vec<_> = table.data().lines().collect();
    assert!(lines[0].starts_with("REPLICA") && lines[0].contains("LAG"), "{table:?}");
    let mut names: Vec<_> = lines[1..].iter().map(|line| line.split_whitespace().next().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["dev-1", "dev-2", "dev-3"], "{table:?}");
    assert!(lines[1..].iter().all(|line| line.contains(env!("CARGO_PKG_VERSION"))), "{table:?}");
    let listed = shell.run(&["replica", "list", "--output", "json"]).await.json();
    for replica in listed["replicas"].as_array().unwrap() {
        assert!(replica["revision"].as_str().unwrap().starts_with("1."), "{replica}");
        for time in ["leaseExpireTime", "startTime"] {
            assert!(replica[time].as_str().unwrap().ends_with('Z'), "{replica}");
        }
    }
    let key = shell.write("service.key", json["clients"]["dev-service"].as_str().unwrap());
    let service = shell.run(&["replica", "list", "--api-key-file", key.to_str().unwrap()]).await;
    assert!(service.with_code(4).contains("PERMISSION_ADMIN_READ"), "{service:?}");
}

#[tokio::test]
async fn a_revocation_that_waits_says_for_whom_and_what_came_of_it() {
    steady(async || {
        let (_dev, json, shell) = three().await;
        let swift = shell.pipe(&["revoke", "-"], &token(&shell).await).await;
        assert!(swift.data().contains(", 3/3 replicas in ") && swift.err.is_empty(), "{swift:?}");

        // A person at a terminal sees the awaited replicas, and the line is erased at the end.
        shell.write("token", &token(&shell).await);
        let _frozen = Frozen::new(&json, 2);
        let plainly = ["--no-input", "--color", "never", "--output", "table"];
        let waited = shell.on_terminal(&[&["revoke", "--token-file", "token"], &plainly[..]].concat()).await;
        // The number is known if the first look came before the revocation did.
        let lines = ["2/3 replicas have applied it · waiting for: dev-3", "\r\u{1b}[2Kwaiting for: dev-3"];
        assert!(lines.iter().any(|line| waited.err.contains(line)), "{waited:?}");
        assert!(waited.err.ends_with("\r\u{1b}[2K"), "{waited:?}");
        let line = waited.data();
        // Either its lease ended, or its registration was removed a moment earlier.
        assert!(line.contains(", 2/3 replicas in "), "{waited:?}");
        assert!(line.ends_with(" s (dev-3 did not answer and can hold no lease any more)"), "{waited:?}");
    })
    .await;
}

#[tokio::test]
async fn a_revocation_that_is_not_everywhere_within_the_wait_is_exit_7_and_safe_to_repeat() {
    steady(async || {
        let (_dev, json, shell) = three().await;
        let key = shell.write("service.key", json["clients"]["dev-service"].as_str().unwrap());
        let service = ["--api-key-file", key.to_str().unwrap()];
        let issued =
            shell.run(&[&["issue", "--subject", "u", "--audience", "api"], &service[..]].concat()).await;
        shell.write("token", issued.data());
        let _frozen = Frozen::new(&json, 2);
        // A caller that may not list replicas is shown no live line.
        let revoke = ["revoke", "--token-file", "token", "--wait", "1s"];
        let said = shell.on_terminal(&[&revoke, &service[..]].concat()).await;
        let warning = said.with_code(7);
        assert!(
            said.out.contains(", 2/3 replicas in ") && said.out.ends_with(" (not yet: dev-3)\n"),
            "{said:?}"
        );
        assert!(warning.contains("durable") && warning.contains("same command again is safe"), "{said:?}");
        assert!(!warning.contains('\u{1b}'), "{said:?}");
        // A replica that is not to be waited for is not.
        let local = shell.run(&["revoke", "--token-file", "token", "--wait-for", "local"]).await;
        assert!(local.data().starts_with("already revoked "), "{local:?}");
        let again = shell.run(&["revoke", "--token-file", "token", "--wait-for", "replicas"]).await;
        assert!(again.data().starts_with("already revoked "), "{again:?}");
    })
    .await;
}

#[tokio::test]
async fn the_credential_of_one_deployment_is_not_sent_to_another_for_a_live_line() {
    let world = World::start().await;
    let mut shell = Shell::of(&world, "admin");
    shell.write("token", &world.api("service").await.token("user:7", "api").await.access_token);
    // The admin listener of an earlier deployment.
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    other.set_nonblocking(true).unwrap();
    let address = other.local_addr().unwrap().to_string();
    let dev = serde_json::json!({ "public": address, "admin": address });
    shell.write(".jeton/dev.json", &dev.to_string());
    shell.arguments.drain(2..4);
    let said = shell.on_terminal(&["revoke", "--token-file", "token"]).await;
    assert!(said.data().starts_with("revoked ") && said.err.is_empty(), "{said:?}");
    // It has ended: any call of it would have arrived by now.
    let knock = other.accept().err().map(|error| error.kind());
    assert_eq!(knock, Some(std::io::ErrorKind::WouldBlock), "nobody came");
}

#[tokio::test]
async fn doctor_looks_at_leases_and_at_the_prober() {
    let (_dev, json, shell) = three().await;
    let line =
        |said: &str, name: &str| said.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
    let well = shell.run(&["doctor"]).await;
    let leases = line(well.data(), "leases");
    assert!(leases.starts_with("ok ") && leases.contains("3 replicas hold one each"), "{well:?}");
    until("the canary was dead on the others", async || {
        let said = shell.run(&["doctor"]).await;
        let (promise, prober) = (line(said.data(), "promise"), line(said.data(), "prober"));
        assert!(promise.starts_with("ok ") && prober.starts_with("ok "), "{said:?}");
        promise.contains("dead on the others") && prober.contains("answered")
    })
    .await;
    let _frozen = Frozen::new(&json, 1);
    until("it is seen that its lease has run out", async || {
        let said = shell.run(&["doctor"]).await;
        assert!(said.with_code(3).is_empty() && said.out.contains("2 of 6 do not answer"), "{said:?}");
        let leases = line(&said.out, "leases");
        leases.starts_with("warn") && leases.contains("dev-2") || leases.contains("2 replicas hold one each")
    })
    .await;
}

#[tokio::test]
async fn a_revocation_without_an_admin_endpoint_has_no_live_line_and_no_delay() {
    let world = World::start().await;
    let mut shell = Shell::of(&world, "admin");
    let token = world.api("service").await.token("user:7", "api").await.access_token;
    shell.write("token", &token);
    // Nobody is there.
    shell.arguments[3] = "127.0.0.1:1".to_owned();
    // It waits for the head of the log, which is locked.
    let mut holder = world.database.connect().await;
    sqlx::Executor::execute(&mut holder, "begin; select from log_head for update").await.unwrap();
    let revoke = shell.on_terminal(&["revoke", "--token-file", "token"]);
    let release = async {
        let blocked = "select count(*) from pg_stat_activity where application_name = 'jeton flusher'
                        and wait_event_type = 'Lock' and datname = current_database()";
        until("it waits for the head", async || world.number(blocked).await > 0).await;
        // For longer than a line would wait to be drawn, which nothing else tells: 150 ms, and its first look.
        tokio::time::sleep(std::time::Duration::from_millis(600)).await;
        sqlx::Executor::execute(&mut holder, "commit").await.unwrap();
    };
    let (said, ()) = tokio::join!(revoke, release);
    assert!(said.data().starts_with("revoked ") && said.err.is_empty(), "{said:?}");
    let mut api = world.api("service").await;
    assert_eq!(api.status(&token, "api").await, pb::TokenStatus::Revoked);
}
