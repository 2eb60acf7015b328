//! Names for the completion of shells: contexts from their file, clients and keys from a server. A completion asks
//! nobody anything and says nothing: what cannot be had at once is left out.

use std::time::Duration;

use tokio::time::timeout;

use crate::{
    invocation::{Cli, Environment, GlobalArgs},
    remote::{
        connect::{self, Connection, Identity, Listener},
        contexts,
    },
    term::{
        escape::is_hostile,
        exit::Failure,
        output::{Color, Output},
    },
    verbs::{client, client_read, key, lock},
};
use jeton_proto::v1::lock::Target;

/// The longest that a person waits behind the tabulator key.
const PATIENCE: Duration = Duration::from_millis(1500);

/// A kind of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KnownNames {
    /// Contexts.
    Contexts,
    /// Registered clients.
    Clients,
    /// The API keys of a client.
    ApiKeys(String),
    /// Signing keys.
    SigningKeys,
    /// Subjects that are locked.
    LockedSubjects,
    /// Clients that are locked.
    LockedClients,
}

/// The names of a kind; none if they are not to be had.
pub async fn known_names(kind: &KnownNames, globals: &GlobalArgs, env: &Environment) -> Vec<String> {
    let cli = Cli { globals, env, output: Output::new(None, Color::Never, true) };
    let found = timeout(PATIENCE, names(&cli, kind)).await;
    let mut names = found.ok().and_then(Result::ok).unwrap_or_default();
    // A name that steers the terminal is not offered to be typed.
    names.retain(|name| !name.is_empty() && !name.chars().any(is_hostile));
    names
}

async fn names(cli: &Cli<'_>, kind: &KnownNames) -> Result<Vec<String>, Failure> {
    if *kind == KnownNames::Contexts {
        return Ok(contexts::load(&contexts::path(cli)?)?.contexts.into_keys().collect());
    }
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    Ok(match kind {
        KnownNames::Contexts => Vec::new(),
        KnownNames::Clients => {
            client::all(&connection).await?.clients.into_iter().map(|client| client.client_id).collect()
        }
        KnownNames::ApiKeys(client_id) => client_read::fetch(&connection, client_id)
            .await?
            .api_keys
            .into_iter()
            .map(|key| key.api_key_id)
            .collect(),
        KnownNames::SigningKeys => {
            key::list(&connection).await?.keys.into_iter().map(|key| key.key_id).collect()
        }
        KnownNames::LockedSubjects => {
            locked(&connection, |target| match target {
                Target::Subject(subject) => Some(subject),
                Target::ClientId(_) => None,
            })
            .await?
        }
        KnownNames::LockedClients => {
            locked(&connection, |target| match target {
                Target::ClientId(client_id) => Some(client_id),
                Target::Subject(_) => None,
            })
            .await?
        }
    })
}

/// The names among the newest locks that this picks.
async fn locked(connection: &Connection, pick: fn(Target) -> Option<String>) -> Result<Vec<String>, Failure> {
    const NAMES_MAX: usize = 1_000;
    let locks = lock::held(connection, NAMES_MAX).await?.locks;
    Ok(locks.into_iter().filter_map(|lock| lock.target).filter_map(pick).collect())
}
