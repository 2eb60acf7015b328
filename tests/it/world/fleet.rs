//! Several servers on one database, each behind a link of its own, and the history of their calls.

use std::{path::PathBuf, sync::Arc};

use tempfile::TempDir;

use super::{Caller, Database, Link, Server, ServerOptions, history::History, machine::found_stale};

/// A replica: its process, and its wire to the database.
pub struct Replica {
    pub link: Link,
    pub server: Server,
}

/// Replicas `r0`, `r1` …
pub struct Fleet {
    pub database: Database,
    pub replicas: Vec<Replica>,
    pub history: Arc<History>,
    directory: TempDir,
    /// Given to every server beyond its name.
    arguments: Vec<String>,
    /// The number of names given so far.
    named: usize,
}

impl Fleet {
    /// So many replicas on a database of their own.
    pub async fn start(count: usize) -> Self {
        Self::on(Database::create().await, count).await
    }

    /// So many replicas on a database of their own, each told more.
    pub async fn told(count: usize, arguments: &[&str]) -> Self {
        Self::on_told(Database::create().await, count, arguments).await
    }

    /// So many replicas on this database.
    pub async fn on(database: Database, count: usize) -> Self {
        Self::on_told(database, count, &[]).await
    }

    async fn on_told(database: Database, count: usize, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let directory = tempfile::tempdir().unwrap();
        let mut fleet =
            Self { database, replicas: Vec::new(), history: Arc::default(), directory, arguments, named: 0 };
        let mut starting = Vec::new();
        for _ in 0..count {
            let link = fleet.link().await;
            starting.push(fleet.starting(link));
        }
        for replica in starting {
            fleet.replicas.push(replica.await.unwrap());
        }
        fleet
    }

    /// A link to the database for a replica to come.
    pub async fn link(&self) -> Link {
        Link::start(&self.database.url).await
    }

    /// Starts one more replica behind a link, and gives it when it serves: push it to the others then.
    pub fn starting(&mut self, link: Link) -> tokio::task::JoinHandle<Replica> {
        let name = format!("r{}", self.named);
        self.named += 1;
        let directory: PathBuf = self.directory.path().join(&name);
        std::fs::create_dir(&directory).unwrap();
        let mut arguments = vec!["--replica-name".to_owned(), name];
        arguments.extend(self.arguments.iter().cloned());
        let options = ServerOptions { arguments, ..Default::default() };
        tokio::spawn(async move {
            let server = Server::start(&link.url, &directory, &options).await;
            Replica { link, server }
        })
    }

    /// Starts one more replica, and waits until it serves. Its place among the others is answered.
    pub async fn join(&mut self) -> usize {
        let link = self.link().await;
        let replica = self.starting(link).await.unwrap();
        self.push(replica)
    }

    /// Takes one that was started among the others. Its place is answered.
    pub fn push(&mut self, replica: Replica) -> usize {
        self.replicas.push(replica);
        self.replicas.len() - 1
    }

    /// A caller of a replica, with connections of its own.
    pub fn caller(&self, place: usize) -> Caller {
        Caller::connect(&self.replicas[place].server.ready, &self.history)
    }

    /// A caller of each replica.
    pub fn callers(&self) -> Vec<Caller> {
        (0..self.replicas.len()).map(|place| self.caller(place)).collect()
    }

    pub fn link_of(&self, place: usize) -> &Link {
        &self.replicas[place].link
    }

    pub fn server(&mut self, place: usize) -> &mut Server {
        &mut self.replicas[place].server
    }

    /// The name of a replica.
    pub fn name(&self, place: usize) -> &str {
        &self.replicas[place].server.ready.replica
    }
}

impl Drop for Fleet {
    #[expect(clippy::print_stderr, reason = "the test fails by something else")]
    fn drop(&mut self) {
        // Even if something else has failed: a stale answer is never excused.
        let stale = if std::thread::panicking() { self.history.judge() } else { Vec::new() };
        for answer in &stale {
            eprintln!("stale: {answer}");
        }
        found_stale(stale.len());
    }
}
