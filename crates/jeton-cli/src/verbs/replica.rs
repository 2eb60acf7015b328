//! `jeton replica`: the servers on one database, and their progress in the log.

use crate::{
    invocation::Cli,
    remote::connect::{self, Connection, Identity, Listener},
    term::{
        exit::{Exit, Failure},
        output, time,
    },
};
use jeton_proto::v1::{ListReplicasRequest, ListReplicasResponse, Replica};
use jeton_token::Revision;

/// The verbs.
#[derive(Debug, clap::Subcommand)]
pub enum ReplicaCommand {
    /// List replicas, the greatest lag first
    List,
}

/// Runs one of the verbs.
pub async fn run(cli: &Cli<'_>, command: ReplicaCommand) -> Result<Exit, Failure> {
    let ReplicaCommand::List = command;
    let as_json = cli.output.wants_json()?;
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let all = list(&connection).await?;
    if as_json {
        cli.output.json(&all, false)?;
    } else {
        let head = largest(&all.replicas);
        let rows = all.replicas.iter().map(|replica| row(replica, head)).collect();
        output::table(&["REPLICA", "VERSION", "REVISION", "LAG", "LEASE EXPIRES", "SINCE"], rows)?;
    }
    Ok(Exit::Done)
}

/// Lists all replicas.
pub async fn list(connection: &Connection) -> Result<ListReplicasResponse, Failure> {
    connection.call(ListReplicasRequest {}).await
}

/// The revision that a replica has applied; `None` if it is malformed.
pub fn revision(replica: &Replica) -> Option<Revision> {
    replica.revision.parse().ok()
}

/// The greatest revision that any replica has applied.
pub fn largest(replicas: &[Replica]) -> Option<Revision> {
    replicas.iter().filter_map(revision).max()
}

/// The number of revisions that a replica is behind `head`; `None` if they do not compare: each epoch counts from the
/// start.
pub fn lag(replica: &Replica, head: Option<Revision>) -> Option<i64> {
    let (own, head) = (revision(replica)?, head?);
    (own.epoch() == head.epoch()).then(|| head.seq().saturating_sub(own.seq()))
}

fn row(replica: &Replica, head: Option<Revision>) -> Vec<String> {
    vec![
        replica.replica.clone(),
        replica.version.clone(),
        replica.revision.clone(),
        lag(replica, head).map_or_else(|| "another epoch".to_owned(), |lag| lag.to_string()),
        time::show(replica.lease_expire_time.as_ref()),
        time::show(replica.start_time.as_ref()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_counted_within_an_epoch() {
        let at = |revision: &str| Replica { revision: revision.into(), ..Replica::default() };
        let all = [at("2.40"), at("1.90"), at("2.38"), at("")];
        let lags = all.each_ref().map(|replica| lag(replica, largest(&all)));
        assert_eq!(lags, [Some(0), None, Some(2), None]);
        assert_eq!(lag(&at("1.1"), None), None);
    }
}
