//! Doctor's checks of credentials: the caller's own, and the API keys of all clients.

use jiff::{SignedDuration, Timestamp};

use crate::{
    doctor::check::{Check, refused, said},
    invocation::Cli,
    remote::connect::{self, Connection, Identity, Listener},
    term::{
        exit::{Exit, Failure},
        quoted::shell_word,
        time,
    },
    verbs::{client, client_show::permissions, whoami},
};
use jeton_proto::v1::{Client, GetCallerResponse, Permission};

/// The time left to find the person who renews it.
pub const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);
/// The most keys that are named.
const NAMED_MAX: usize = 10;
const NAME: &str = "caller";
const KEYS: &str = "api keys";

/// Checks the credential that this program was given: who it is, and until when.
pub async fn caller(cli: &Cli<'_>, now: Timestamp) -> Check {
    let connection = match connect::open(cli, Listener::Public, Identity::Required).await {
        Ok(connection) => connection,
        Err(failure @ Failure::Usage(_)) => {
            return Check::warn(
                NAME,
                format!("not checked: {}", said(&failure)),
                "Give a credential to have it checked.",
            );
        }
        Err(failure) => return Check::fail(NAME, said(&failure), "Start the server, or correct --endpoint."),
    };
    match whoami::ask(&connection).await {
        Ok(caller) => judge(&caller, now),
        Err(failure) if failure.exit() == Exit::Denied => Check::fail(
            NAME,
            said(&failure),
            "Give the API key or the certificate of a client that is registered and enabled.",
        ),
        Err(failure) => refused(NAME, &failure),
    }
}

fn judge(caller: &GetCallerResponse, now: Timestamp) -> Check {
    let client = caller.client.clone().unwrap_or_default();
    let may = permissions(&client);
    let may = if may.is_empty() { "nothing".to_owned() } else { may };
    let detail = format!("client {} by {}; may: {may}", client.client_id, whoami::credential(caller));
    let Some(end) = caller.credential_expire_time.as_ref().and_then(time::from_wire_timestamp) else {
        return Check::ok(NAME, detail);
    };
    let detail = format!("{detail}; it ends {}", time::distance(end, now));
    if end.duration_since(now) >= SOON
        || caller.api_key_id.is_empty() && end.duration_since(now) > SignedDuration::from_hours(24)
    {
        return Check::ok(NAME, detail);
    }
    if caller.api_key_id.is_empty() {
        return Check::warn(NAME, detail, "Renew the client's certificate, unless a machine does.");
    }
    let id = shell_word(&client.client_id);
    let commands =
        vec![format!("jeton client rotate-key {id} {} --key-file FILE", shell_word(&caller.api_key_id))];
    Check::warn(NAME, detail, "Replace the API key before it ends:").with_commands(commands)
}

/// Checks when API keys end. Those of the last administrator must not.
pub async fn api_keys(connection: &Connection, now: Timestamp) -> Check {
    match client::all(connection).await {
        Ok(all) => of_clients(&all.clients, now),
        Err(failure) => refused(KEYS, &failure),
    }
}

fn of_clients(clients: &[Client], now: Timestamp) -> Check {
    let mut ending = Vec::new();
    let mut commands = Vec::new();
    for client in clients.iter().filter(|client| !client.disabled && client.refused.is_empty()) {
        for key in client.api_keys.iter().filter(|key| key.refused.is_empty()) {
            let end = key.expire_time.as_ref().and_then(time::from_wire_timestamp);
            let Some(end) = end.filter(|end| *end > now && end.duration_since(now) < SOON) else { continue };
            let (id, key_id) = (shell_word(&client.client_id), shell_word(&key.api_key_id));
            ending.push(format!("{key_id} of {id} {}", time::distance(end, now)));
            commands.push(format!("jeton client rotate-key {id} {key_id} --key-file FILE"));
        }
    }
    if let Some(last) = last_administrator(clients, now) {
        let id = shell_word(&last.client_id);
        return Check::warn(
            KEYS,
            format!("every credential of {id}, the only administrator, ends"),
            "Then nobody can administer any more. Give it a key without an end, or a second administrator:",
        )
        .with_commands(vec![format!("jeton client add-key {id} --key-file FILE")]);
    }
    if ending.is_empty() {
        return Check::ok(KEYS, "none ends within 14 days".into());
    }
    let count = ending.len();
    ending.truncate(NAMED_MAX);
    commands.truncate(NAMED_MAX);
    let more = count.saturating_sub(ending.len());
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let detail = format!("{count} end within 14 days: {}{more}", ending.join(", "));
    Check::warn(KEYS, detail, "Replace those that are in use before they end:").with_commands(commands)
}

/// The only client that may administer, if all its credentials are API keys that end.
fn last_administrator(clients: &[Client], now: Timestamp) -> Option<&Client> {
    let administers = |client: &&Client| {
        !client.disabled
            && client.refused.is_empty()
            && client.permissions().any(|permission| permission == Permission::AdminWrite)
    };
    let mut all = clients.iter().filter(administers);
    let (only, None) = (all.next()?, all.next()) else { return None };
    let lasts = |end: &Option<prost_types::Timestamp>| end.is_none();
    let is_over = |end: &Option<prost_types::Timestamp>| {
        end.as_ref().and_then(time::from_wire_timestamp).is_some_and(|end| end <= now)
    };
    let mut keys =
        only.api_keys.iter().filter(|key| key.refused.is_empty() && !is_over(&key.expire_time)).peekable();
    let ends = keys.peek().is_some() && !keys.any(|key| lasts(&key.expire_time));
    Some(only).filter(|only| ends && only.certificate_uris.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jeton_proto::v1::ApiKey;

    const DAY_S: i64 = 86_400;

    fn at(seconds: i64) -> prost_types::Timestamp {
        prost_types::Timestamp { seconds, nanos: 0 }
    }

    #[test]
    fn a_credential_that_ends_soon_is_named_with_the_command_that_replaces_it() {
        let caller = |end, key: &str| GetCallerResponse {
            client: Some(Client { client_id: "deploy".into(), ..Client::default() }),
            api_key_id: key.into(),
            credential_expire_time: end,
            certificate_uri: "spiffe://e/deploy".into(),
            lock: None,
        };
        let said = |end, key| judge(&caller(end, key), Timestamp::UNIX_EPOCH);
        assert!(said(None, "k1").is_ok() && said(Some(at(15 * DAY_S)), "k1").is_ok());
        let soon = said(Some(at(13 * DAY_S)), "k1");
        assert!(
            !soon.is_ok() && soon.detail.contains("API key k1; may: nothing; it ends in 13d"),
            "{soon:?}"
        );
        assert_eq!(soon.commands, ["jeton client rotate-key deploy k1 --key-file FILE"]);
        assert!(said(Some(at(2 * DAY_S)), "").is_ok(), "short certificates are renewed by a machine");
        assert!(!said(Some(at(3_600)), "").is_ok());
    }

    #[test]
    fn keys_that_end_and_an_administration_that_ends_are_told() {
        let client = |id: &str, ends: &[Option<i64>], permission: Permission| Client {
            client_id: id.into(),
            permissions: vec![permission.into()],
            api_keys: ends
                .iter()
                .map(|end| ApiKey {
                    api_key_id: format!("k-{id}"),
                    expire_time: end.map(at),
                    ..ApiKey::default()
                })
                .collect(),
            ..Client::default()
        };
        let check = |clients: &[Client]| {
            let check = of_clients(clients, Timestamp::UNIX_EPOCH);
            (check.is_ok(), check.detail.clone())
        };
        let lasting = client("admin", &[None], Permission::AdminWrite);
        let far = client("a", &[Some(15 * DAY_S), Some(-1)], Permission::Issue);
        assert_eq!(check(&[lasting.clone(), far]), (true, "none ends within 14 days".into()));
        let near = client("b", &[Some(2 * DAY_S)], Permission::Issue);
        assert_eq!(check(&[lasting, near]), (false, "1 end within 14 days: k-b of b in 48h".into()));
        let ending = client("admin", &[Some(300 * DAY_S)], Permission::AdminWrite);
        let said = check(std::slice::from_ref(&ending));
        assert_eq!(said, (false, "every credential of admin, the only administrator, ends".into()));
        let second = client("other", &[Some(300 * DAY_S)], Permission::AdminWrite);
        assert!(check(&[ending, second]).0);
    }
}
