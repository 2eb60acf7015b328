//! Doctor's check of the rows of clients and keys: jeton wrote them all.

use super::{
    client,
    connect::Connection,
    doctor::{Check, refused},
    exit::Failure,
    key,
    revoke_report::first_names,
};
use crate::proto::v1::{Client, ListKeysResponse};

/// The name of the check.
const NAME: &str = "rows";
/// The most rows that are named: anybody who can write to the database can make any number of them.
const NAMED_MAX: usize = 20;

/// Checks that every client, API key, signing key and MAC key is as jeton wrote it.
pub async fn rows(connection: &Connection) -> Check {
    let listed =
        async { Ok::<_, Failure>((client::all(connection).await?.clients, key::list(connection).await?)) };
    match listed.await {
        Ok((clients, keys)) => judge(&clients, &keys),
        Err(failure) => refused(NAME, &failure),
    }
}

fn judge(clients: &[Client], keys: &ListKeysResponse) -> Check {
    let mut bad = Vec::new();
    for client in clients {
        if !client.refused.is_empty() {
            bad.push(format!("client {}", client.client_id));
        }
        let api_keys = client.api_keys.iter().filter(|key| !key.refused.is_empty());
        bad.extend(api_keys.map(|key| format!("API key {} of {}", key.api_key_id, client.client_id)));
    }
    let signing = keys.keys.iter().filter(|key| !key.refused.is_empty());
    bad.extend(signing.map(|key| format!("key {}", key.key_id)));
    bad.extend(keys.refused_mac_keys.iter().map(|key| format!("MAC key {}", key.key_id)));
    if bad.is_empty() {
        let api_keys: usize = clients.iter().map(|client| client.api_keys.len()).sum();
        let detail = format!(
            "{} clients, {api_keys} API keys and {} keys are as jeton wrote them",
            clients.len(),
            keys.keys.len()
        );
        return Check::ok(NAME, detail);
    }
    let bad: Vec<&str> = bad.iter().map(String::as_str).collect();
    Check::fail(
        NAME,
        format!("refused, since jeton did not write them as they are: {}", first_names(&bad, NAMED_MAX)),
        "Somebody else writes to the database, or another master key was used. Find out who. Then delete the client or its API \
         key, or revoke the key, and make it again. A MAC key has a successor already; sessions that it opened wait for its row.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::{ApiKey, Key, RefusedMacKey};

    #[test]
    fn every_row_that_is_refused_is_named() {
        let good =
            Client { client_id: "good".into(), api_keys: vec![ApiKey::default()], ..Client::default() };
        let keys = ListKeysResponse { keys: vec![Key::default()], ..ListKeysResponse::default() };
        let check = judge(std::slice::from_ref(&good), &keys);
        assert!(check.is_ok());
        assert_eq!(check.detail(), "1 clients, 1 API keys and 1 keys are as jeton wrote them");
        let why = || "its MAC does not fit".to_owned();
        let key = ApiKey { api_key_id: "k1".into(), refused: why(), ..ApiKey::default() };
        let bad = [
            Client { client_id: "bad".into(), refused: why(), ..Client::default() },
            Client { api_keys: vec![key], ..good },
        ];
        let keys = ListKeysResponse {
            keys: vec![Key { key_id: "k2".into(), refused: why(), ..Key::default() }],
            refused_mac_keys: vec![RefusedMacKey { key_id: "00c0ffee".into(), refused: why() }],
            ..ListKeysResponse::default()
        };
        let check = judge(&bad, &keys);
        assert!(!check.is_ok());
        let named = ": client bad, API key k1 of good, key k2, MAC key 00c0ffee";
        assert!(check.detail().ends_with(named), "{}", check.detail());
    }
}
