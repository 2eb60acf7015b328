//! The requirements on a database, connecting to it, and a server whose database misbehaves: with real parts.

mod all_at_once;
mod backends;
mod connections;
mod disk;
mod locks;
mod mixture;
mod outage;
mod pooler;
mod rights;
mod settings;
mod stalls;
mod standby;
mod tls;
mod url;

use std::{
    process::ExitStatus,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::world::{Answer, Asking, Caller, Database, Fleet, Server, ServerOptions, Target, Token, until};

/// The longest time for which a revocation is repeated: longer than any fault lasts.
const PATIENCE: Duration = Duration::from_mins(1);

/// Revokes until it is answered as complete.
async fn revoke(caller: &mut Caller, token: &Arc<Token>) {
    let begun = Instant::now();
    loop {
        let answer = caller.revoke(Target::Token(Arc::clone(token))).await;
        if answer.is_ok_and(|revoked| revoked.propagation.is_some_and(|it| it.complete)) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "no revocation is answered as complete");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Every replica answers again.
async fn answers_again(fleet: &Fleet, good: &Arc<Token>) {
    for place in 0..fleet.replicas.len() {
        let mut caller = fleet.caller(place);
        until("it answers", async || caller.validate(good).await == Answer::ACTIVE).await;
    }
}

/// All of these were revoked: every replica says so, and none has answered anything stale.
async fn ends_well(fleet: &Fleet, asking: Vec<Asking>, tokens: &[Arc<Token>]) {
    for each in asking {
        each.end().await;
    }
    fleet.history.assert_no_stale_answer();
    for place in 0..fleet.replicas.len() {
        let mut caller = fleet.caller(place);
        for token in tokens {
            until("it is revoked", async || caller.validate(token).await == Answer::REVOKED).await;
        }
    }
}

/// A start that must fail: returns the message for people, which is one sentence.
async fn refused(url: &str, options: &ServerOptions) -> String {
    let directory = tempfile::tempdir().unwrap();
    let started = Server::try_start(url, directory.path(), options).await;
    let (status, said): (ExitStatus, String) = started.err().expect("it serves");
    assert_eq!(status.code(), Some(1), "{said}");
    // The log is JSON lines; messages for people are not.
    let lines: Vec<_> = said.lines().filter(|line| !line.starts_with('{')).collect();
    assert!(lines.len() == 1 && lines[0].starts_with("error: "), "{said}");
    lines[0].to_owned()
}

impl Database {
    /// Sets a default of the database, read-only though it be, for connections that are made from here on.
    async fn set(&self, setting: &str, value: &str) {
        let set = format!("begin read write; alter database {} set {setting} = '{value}'; commit", self.name);
        self.execute(&set).await;
    }

    /// Takes back all that was set, read-only though it be.
    async fn reset(&self) {
        self.execute(&format!("begin read write; alter database {} reset all; commit", self.name)).await;
    }

    /// A role that may do what `docs/operating.md` grants, and its URL.
    async fn server_role(&self) -> (String, String) {
        let role = format!("server_of_{}", self.name);
        let text =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operating.md")).unwrap();
        let grants = text.split("```sql").nth(1).unwrap().split("```").next().unwrap();
        assert!(grants.contains("to jeton_server"), "{grants}");
        self.execute(&format!("create role {role} login; {}", grants.replace("jeton_server", &role))).await;
        let url = self.url.replacen("postgres://jeton@", &format!("postgres://{role}@"), 1);
        (role, url)
    }
}
