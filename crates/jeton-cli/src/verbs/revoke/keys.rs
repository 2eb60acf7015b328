//! API keys that leaked: whose they are, and how they are ended. Revoking ends none by itself: what uses it would stop.

use crate::term::{escape::escape, quoted::shell_word};
use crate::{
    invocation::Cli,
    remote::connect::{self, Identity, Listener, SAFE_AGAIN},
    scan::Found,
    term::{exit::Failure, output, token_input},
    verbs::revoke::one,
};
use jeton_proto::v1::{DeleteApiKeyRequest, RevocationTarget, RevokeRequest, revocation_target::Kind};
use jeton_token::API_KEY_PREFIX;

/// The most keys whose clients are asked for.
const ASKED_MAX: usize = 20;

/// An API key that leaked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeakedKey {
    /// Its public part.
    pub id: String,
    /// Its client, if the server tells.
    pub client: Option<String>,
}

/// The keys that were found, with their clients. Only their ids are sent.
pub async fn ask(cli: &Cli<'_>, found: &Found) -> Vec<LeakedKey> {
    let mut keys: Vec<_> = found.api_keys().map(|id| LeakedKey { id: id.to_owned(), client: None }).collect();
    if keys.is_empty() {
        return keys;
    }
    let Ok(connection) = connect::open(cli, Listener::Public, Identity::Required).await else { return keys };
    for key in keys.iter_mut().take(ASKED_MAX) {
        let kind = Some(Kind::Token(format!("{API_KEY_PREFIX}{}", key.id)));
        let target = Some(RevocationTarget { kind, ..RevocationTarget::default() });
        let request = RevokeRequest { target, validate_only: true, ..RevokeRequest::default() };
        // Who may not know is not told; the key is named nevertheless.
        if let Ok(answer) = one::call(&connection, request).await {
            let client = answer.findings.map(|findings| findings.api_key_client_id);
            key.client = client.filter(|client| !client.is_empty());
        }
    }
    keys
}

/// Says of each key how it is ended, and offers to. Returns those that live on.
pub async fn end<'a>(
    cli: &Cli<'_>,
    keys: &'a [LeakedKey],
    may_ask: bool,
) -> Result<Vec<&'a LeakedKey>, Failure> {
    let mut left = Vec::new();
    for key in keys {
        let ended = match &key.client {
            Some(client) if may_ask && token_input::can_ask(cli) => offer(cli, key, client).await?,
            _ => false,
        };
        if !ended {
            output::talk(&lives_on(key));
            left.push(key);
        }
    }
    Ok(left)
}

/// That a key lives on, whose it is, and the command that ends it.
pub fn lives_on(key: &LeakedKey) -> String {
    let client = key.client.as_deref().map_or_else(|| "CLIENT".to_owned(), shell_word);
    let whose = match &key.client {
        Some(name) => format!("is of client {}", escape(name)),
        None => "is of a client that the server does not tell".to_owned(),
    };
    let id = &key.id;
    format!("API key {id} {whose}, and lives on. End it: jeton client delete-key {client} {id}")
}

async fn offer(cli: &Cli<'_>, key: &LeakedKey, client: &str) -> Result<bool, Failure> {
    let question = format!(
        "API key {} of client {}: what uses it stops at once. Type the client's name to end it, or Enter to leave \
         it: ",
        key.id,
        escape(client)
    );
    let typed = token_input::answer(&question).await?;
    if typed != client && typed != escape(client) {
        return Ok(false);
    }
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let request = DeleteApiKeyRequest { client_id: client.to_owned(), api_key_id: key.id.clone() };
    connection.change(request, SAFE_AGAIN).await?;
    output::data(&format!("ended API key {} of client {}", key.id, escape(client)))?;
    Ok(true)
}
