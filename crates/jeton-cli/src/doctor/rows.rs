//! Doctor's check of the rows of clients, keys and trusted issuers: jeton wrote them all.

use std::collections::BTreeMap;

use crate::{
    doctor::check::{Check, refused},
    remote::connect::Connection,
    term::{
        exit::Failure,
        quoted::{shell_word, sql_text},
    },
    verbs::{client, issuer, key, propagation::first_names},
};
use jeton_proto::v1::{Client, Key, ListKeysResponse, TrustedIssuer, key::State};
use jeton_token::Thumbprint;

/// The name of the check.
const NAME: &str = "rows";
/// The most rows that are named for one reason, and the most commands: anybody who can write to the database can make
/// any number of rows.
const NAMED_MAX: usize = 20;
/// The reason for certificates that no client's row has.
const STRAY: &str = "the client's registration does not have it, so it counts for nothing";

/// Checks that every client, API key, certificate, signing key, MAC key and trusted issuer is as jeton wrote it.
pub async fn rows(connection: &Connection) -> Check {
    let listed = async {
        let clients = client::all(connection).await?.clients;
        Ok::<_, Failure>((clients, key::list(connection).await?, issuer::all(connection).await?.issuers))
    };
    match listed.await {
        Ok((clients, keys, issuers)) => judge(&clients, &keys, &issuers),
        Err(failure) => refused(NAME, &failure),
    }
}

/// The rows that jeton did not write as they are: their names by the reason, and the commands that remove them.
#[derive(Default)]
struct Bad {
    names: BTreeMap<String, Vec<String>>,
    commands: Vec<String>,
}

impl Bad {
    fn add(&mut self, why: &str, name: String, command: String) {
        self.names.entry(why.to_owned()).or_default().push(name);
        self.commands.push(command);
    }

    fn add_client(&mut self, client: &Client) {
        let id = shell_word(&client.client_id);
        if !client.refused.is_empty() {
            let command = format!("jeton client delete --yes -- {id}");
            self.add(&client.refused, format!("client {id}"), command);
        }
        for key in client.api_keys.iter().filter(|key| !key.refused.is_empty()) {
            let key_id = shell_word(&key.api_key_id);
            let command = format!("jeton client delete-key -- {id} {key_id}");
            self.add(&key.refused, format!("API key {key_id} of {id}"), command);
        }
        for uri in &client.stray_certificate_uris {
            let command = in_psql(&format!("delete from client_certificate where uri = {}", sql_text(uri)));
            self.add(STRAY, format!("certificate {} of {id}", shell_word(uri)), command);
        }
    }

    fn add_key(&mut self, key: &Key) {
        let id = shell_word(&key.key_id);
        let command = if key.key_id.parse::<Thumbprint>().is_ok() {
            format!("jeton revoke --key {id} --reason compromised")
        } else {
            in_psql(&format!("delete from signing_key where key_id = {}", sql_text(&key.key_id)))
        };
        self.add(&key.refused, format!("key {id}"), command);
    }
}

/// The command of somebody who owns the tables.
fn in_psql(statement: &str) -> String {
    format!("psql \"$JETON_DATABASE_URL\" -c {}", shell_word(statement))
}

fn judge(clients: &[Client], keys: &ListKeysResponse, issuers: &[TrustedIssuer]) -> Check {
    let mut bad = Bad::default();
    for client in clients {
        bad.add_client(client);
    }
    for issuer in issuers.iter().filter(|issuer| !issuer.refused.is_empty()) {
        let id = shell_word(&issuer.issuer_id);
        bad.add(&issuer.refused, format!("issuer {id}"), format!("jeton issuer delete -- {id}"));
    }
    // One that is revoked is done with.
    for key in keys.keys.iter().filter(|key| !key.refused.is_empty() && key.state() != State::Revoked) {
        bad.add_key(key);
    }
    for key in &keys.refused_mac_keys {
        let id = sql_text(&key.key_id);
        let command = in_psql(&format!("delete from mac_key where encode(mac_key_id, 'hex') = {id}"));
        bad.add(&key.refused, format!("MAC key {}", shell_word(&key.key_id)), command);
    }
    if bad.names.is_empty() {
        let api_keys: usize = clients.iter().map(|client| client.api_keys.len()).sum();
        let detail = format!(
            "{} clients, {api_keys} API keys and {} keys are as jeton wrote them",
            clients.len(),
            keys.keys.len()
        );
        return Check::ok(NAME, detail);
    }
    let named = bad.names.iter().map(|(why, names)| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        format!("{} ({why})", first_names(&names, NAMED_MAX))
    });
    let detail = named.collect::<Vec<_>>().join("; ");
    bad.commands.truncate(NAMED_MAX);
    Check::fail(
        NAME,
        format!("not as jeton wrote them: {detail}"),
        "Somebody else writes to the database, or another master key was used. Find out who. Then put rows that were changed \
         back from a backup (sessions wait for the row of their MAC key), or remove them, and make again what is needed:",
    )
    .with_commands(bad.commands)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jeton_proto::v1::{ApiKey, RefusedMacKey};

    #[test]
    fn every_row_that_is_refused_is_named_with_the_command_that_removes_it() {
        let good =
            Client { client_id: "good".into(), api_keys: vec![ApiKey::default()], ..Client::default() };
        let keys = ListKeysResponse { keys: vec![Key::default()], ..ListKeysResponse::default() };
        let check = judge(std::slice::from_ref(&good), &keys, &[]);
        assert!(check.is_ok());
        assert_eq!(check.detail, "1 clients, 1 API keys and 1 keys are as jeton wrote them");
        let why = || "its MAC does not fit".to_owned();
        let key = ApiKey { refused: why(), ..ApiKey::default() };
        let bad = [
            Client { client_id: "ba*d".into(), refused: why(), ..Client::default() },
            Client { api_keys: vec![key], stray_certificate_uris: vec!["spiffe://e/x".into()], ..good },
        ];
        let refused = |key_id: &str, state: State| Key {
            key_id: key_id.into(),
            state: state.into(),
            refused: why(),
            ..Key::default()
        };
        let kid = "A".repeat(43);
        let keys = ListKeysResponse {
            keys: vec![
                refused(&kid, State::Pending),
                refused("", State::Active),
                refused("k3", State::Revoked),
            ],
            refused_mac_keys: vec![RefusedMacKey { key_id: "00c0ffee".into(), refused: why() }],
            ..ListKeysResponse::default()
        };
        let issuer = TrustedIssuer { issuer_id: "ci".into(), refused: why(), ..TrustedIssuer::default() };
        let check = judge(&bad, &keys, &[issuer]);
        assert!(!check.is_ok());
        let named = format!(
            "not as jeton wrote them: client 'ba*d', API key '' of good, issuer ci, key {kid}, key '', MAC key 00c0ffee (its \
             MAC does not fit); certificate spiffe://e/x of good ({STRAY})"
        );
        assert_eq!(check.detail, named);
        let psql = r#"psql "$JETON_DATABASE_URL" -c "#;
        let commands = [
            "jeton client delete --yes -- 'ba*d'".to_owned(),
            "jeton client delete-key -- good ''".to_owned(),
            format!(r"{psql}'delete from client_certificate where uri = '\''spiffe://e/x'\'''"),
            "jeton issuer delete -- ci".to_owned(),
            format!("jeton revoke --key {kid} --reason compromised"),
            format!(r"{psql}'delete from signing_key where key_id = '\'''\'''"),
            format!(r"{psql}'delete from mac_key where encode(mac_key_id, '\''hex'\'') = '\''00c0ffee'\'''"),
        ];
        assert_eq!(check.commands, commands);
    }
}
