//! The servers of one run: the same issuer on the same database, each a process.

use std::num::NonZero;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::bail;
use jeton_postgres::process;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::dev::{
    PrepareRequest, Signals,
    addresses::Listen,
    home::Home,
    process::is_server,
    say,
    server::{ReadyFile, ServeOptions, Server},
};

/// Longer than a server drains, so that only a hanging one is killed.
const STOP_SECONDS: u32 = 15;
const STOP: Duration = Duration::from_secs(15);

/// The running servers, in the order of their numbers.
#[derive(Debug, Default)]
pub(super) struct DevReplicas {
    servers: Vec<Server>,
}

impl DevReplicas {
    /// Starts the servers, and returns when all of them answer.
    pub(super) async fn start(
        &mut self,
        home: &Home,
        request: &PrepareRequest,
        listen: Listen,
        replicas: NonZero<u8>,
    ) -> anyhow::Result<()> {
        let issuer = listen.issuer();
        // A lone server has no other to probe.
        let prober = request.clients.iter().find(|client| !client.admin && replicas.get() > 1);
        let probe_key_file = prober.map(|client| home.probe_key_file(client)).transpose()?;
        for number in 1..=replicas.get() {
            self.servers.push(Server::spawn(&ServeOptions {
                name: format!("dev-{number}"),
                database_url: &request.database_url,
                master_key_file: &request.master_key_file,
                issuer: &issuer,
                listen: if number == 1 { listen } else { listen.beside() },
                ready_file: home.ready_file(number),
                probe_key_file: probe_key_file.as_deref(),
            })?);
            if number == 1 {
                // It makes the missing keys and partitions, and has its ports before others get any.
                self.wait_until_ready().await?;
            }
        }
        self.wait_until_ready().await
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        for server in &mut self.servers {
            server.wait_until_ready().await?;
        }
        Ok(())
    }

    /// The first running server; `None` before the start.
    pub(super) fn first(&self) -> Option<&Server> {
        self.servers.first()
    }

    /// The other running servers.
    pub(super) fn others(&self) -> &[Server] {
        self.servers.get(1..).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.servers.len()
    }

    /// The ready file of each server, for `dev.json`.
    pub(super) fn ready_files(&self) -> Value {
        self.servers.iter().map(|server| json!(server.ready.0)).collect()
    }

    /// Removes servers that have ended. Returns their names, and how they ended.
    pub(super) fn take_ended(&mut self) -> anyhow::Result<Vec<(String, ExitStatus)>> {
        let mut ended = Vec::new();
        let mut running = Vec::new();
        for mut server in std::mem::take(&mut self.servers) {
            match server.has_ended()? {
                Some(status) => ended.push((server.name, status)),
                None => running.push(server),
            }
        }
        self.servers = running;
        Ok(ended)
    }

    /// Lets all of them finish their work, side by side. After a second signal, or too long a wait, the rest is killed.
    pub(super) async fn stop(mut self, signals: &mut Signals) -> anyhow::Result<()> {
        self.servers.iter().for_each(Server::terminate);
        let ended = tokio::select! {
            ended = timeout(STOP, self.ended()) => ended.ok().transpose()?.is_some(),
            () = signals.next() => false,
        };
        if ended {
            return Ok(());
        }
        for server in &mut self.servers {
            if server.has_ended()?.is_none() {
                say(&format!("{} does not end: it is killed.", server.name));
                server.kill()?;
            }
        }
        self.ended().await
    }

    async fn ended(&mut self) -> anyhow::Result<()> {
        for server in &mut self.servers {
            server.ended().await?;
        }
        Ok(())
    }
}

/// Ends the servers that a killed run left, and forgets them.
pub(super) fn end_leftovers(home: &Home) -> anyhow::Result<()> {
    let dev_json = ReadyFile::read(&home.dev_json());
    let mentioned = home.ready_files().into_iter().filter_map(|path| ReadyFile::read(&path));
    let mentioned = mentioned.chain(dev_json.iter().flat_map(ReadyFile::servers));
    let mut left: Vec<u32> = mentioned.filter_map(|ready| ready.pid()).collect();
    let mut still_there = || {
        left.retain(|pid| is_server(*pid, home.directory()));
        left.clone()
    };
    for signal in [Signal::TERM, Signal::KILL] {
        for pid in still_there() {
            process::signal(pid, signal);
        }
        process::wait_until(STOP_SECONDS, || still_there().is_empty());
    }
    if let Some(pid) = still_there().first() {
        bail!("a server that was left behind (process {pid}) does not end");
    }
    home.forget_servers();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A process that looks like a server of this home, and waits.
    fn pretend(home: &Home, number: u8) -> anyhow::Result<(Child, Value)> {
        let child = Command::new("sh")
            .args(["serve", "--ready-file"])
            .arg(home.ready_file(number))
            .current_dir(home.directory())
            .stdin(Stdio::piped())
            .spawn()?;
        let ready = json!({ "pid": child.id() });
        Ok((child, ready))
    }

    #[test]
    fn every_server_that_a_killed_run_left_is_ended_however_it_is_known() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let home = Home::open(&directory.path().join("data"))?;
        std::fs::write(home.directory().join("serve"), "read line")?;
        let (mut first, by_file) = pretend(&home, 1)?;
        let (mut second, by_file_too) = pretend(&home, 20)?;
        let (mut third, by_dev_json) = pretend(&home, 3)?;
        std::fs::write(home.ready_file(1), by_file.to_string())?;
        std::fs::write(home.ready_file(20), by_file_too.to_string())?;
        // Its own file is gone: it was already shutting down.
        home.write_dev_json(&json!({ "pid": first.id(), "servers": [by_file, by_dev_json] }))?;
        let is_seen = |child: &Child| is_server(child.id(), home.directory());
        process::wait_until(STOP_SECONDS, || [&first, &second, &third].into_iter().all(is_seen));
        end_leftovers(&home)?;
        for child in [&mut first, &mut second, &mut third] {
            assert!(!child.wait()?.success());
        }
        assert!(home.ready_files().is_empty() && !home.dev_json().exists());
        Ok(())
    }
}
