//! What was found, in words and as JSON.

use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    scan::{Found, Target, Targets, Token},
    term::escape::escape,
    verbs::revoke::keys::LeakedKey,
};

/// How many of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Access tokens that may be ours.
    pub tokens: usize,
    /// Of them, those that say they have expired.
    pub expired: usize,
    /// Jtis and sessions.
    pub ids: usize,
    /// Refresh tokens.
    pub refresh_tokens: usize,
    /// API keys.
    pub api_keys: usize,
    /// Tokens that say another issuer made them.
    pub foreign: usize,
    /// Beginnings of tokens without their ends.
    pub broken: u64,
    /// UUIDs that can be nothing of ours.
    pub other_uuids: u64,
}

impl Counts {
    /// Of what was found, beside the foreign ones that were taken away.
    pub fn of(found: &Found, foreign: &[(Token, String)]) -> Self {
        Self {
            tokens: found.tokens().len(),
            expired: found.tokens().filter(|token| found.has_expired(token)).count(),
            ids: found.ids(),
            refresh_tokens: found.refresh_tokens(),
            api_keys: found.api_keys().len(),
            foreign: foreign.len(),
            broken: found.broken,
            other_uuids: found.other_uuids,
        }
    }
}

/// `found: 100 tokens (3 expired), 98 ids, 1 API key of client login, 14 other UUIDs ignored`.
pub fn line(counts: &Counts, keys: &[LeakedKey]) -> String {
    let mut parts = Vec::new();
    if counts.tokens > 0 {
        let expired =
            if counts.expired > 0 { format!(" ({} expired)", counts.expired) } else { String::new() };
        parts.push(format!("{}{expired}", number(counts.tokens, "token")));
    }
    if counts.ids > 0 {
        parts.push(number(counts.ids, "id"));
    }
    if counts.refresh_tokens > 0 {
        parts.push(number(counts.refresh_tokens, "refresh token"));
    }
    if counts.api_keys > 0 {
        let mut owners: Vec<_> = keys.iter().filter_map(|key| key.client.as_deref()).map(escape).collect();
        owners.dedup();
        let of = match owners.as_slice() {
            [] => String::new(),
            [one] => format!(" of client {one}"),
            more => format!(" of clients {}", more.join(", ")),
        };
        parts.push(format!("{}{of}", number(counts.api_keys, "API key")));
    }
    if counts.foreign > 0 {
        parts.push(format!("{} foreign", counts.foreign));
    }
    if counts.broken > 0 {
        parts.push(number(counts.broken, "broken token"));
    }
    if counts.other_uuids > 0 {
        parts.push(format!("{} ignored", number(counts.other_uuids, "other UUID")));
    }
    if parts.is_empty() { "found: nothing".to_owned() } else { format!("found: {}", parts.join(", ")) }
}

fn number<N: Copy + std::fmt::Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// What to do about what was found and is no target: a sentence for each.
pub fn advice(counts: &Counts) -> Vec<String> {
    let mut lines = Vec::new();
    if counts.other_uuids > 0 {
        lines.push(
            "ignored: UUIDs that are not of version 7, or older than 25 h. An older session is ended by `jeton revoke \
             --session ID`."
                .to_owned(),
        );
    }
    if counts.broken > 0 {
        lines.push(
            "broken: without their ends nobody can tell what they are. Look for their jtis in the logs."
                .to_owned(),
        );
    }
    lines
}

/// `token 0190…`: a name for people, never the text of a token.
pub fn name(target: &Target<'_>) -> String {
    match target {
        Target::Token(token) => {
            token.jti.map_or_else(|| "token without a jti".to_owned(), |jti| format!("token {jti}"))
        }
        Target::Refresh(_, session) => format!("refresh token of session {session}"),
        Target::Session(id) => format!("session {id}"),
        Target::Id(id) => format!("id {id}"),
    }
}

/// Each thing that was found.
pub fn candidates(targets: &Targets, keys: &[LeakedKey], foreign: &[(Token, String)]) -> Vec<Value> {
    let text = |id: &Uuid| id.to_string();
    let own = targets.iter().map(|target| match target {
        Target::Token(token) => {
            json!({ "kind": "TOKEN", "jti": token.jti.as_ref().map(text), "expireTime": end(token) })
        }
        Target::Refresh(_, session) => json!({ "kind": "REFRESH_TOKEN", "sessionId": text(&session) }),
        Target::Session(session) => json!({ "kind": "SESSION", "sessionId": text(&session) }),
        Target::Id(id) => json!({ "kind": "ID", "id": text(&id) }),
    });
    let keys =
        keys.iter().map(|key| json!({ "kind": "API_KEY", "apiKeyId": key.id, "clientId": key.client }));
    let foreign = foreign.iter().map(
        |(token, issuer)| json!({ "kind": "FOREIGN", "issuer": issuer, "jti": token.jti.as_ref().map(text) }),
    );
    own.chain(keys).chain(foreign).collect()
}

fn end(token: &Token) -> Option<String> {
    let end = token.expires.and_then(|end| jiff::Timestamp::from_second(end).ok());
    end.map(|end| end.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_counted_in_one_line() {
        let counts = Counts {
            tokens: 100,
            expired: 3,
            ids: 98,
            refresh_tokens: 2,
            api_keys: 1,
            foreign: 2,
            broken: 1,
            other_uuids: 14,
        };
        let keys = [LeakedKey { id: "x".into(), client: Some("login".into()) }];
        assert_eq!(
            line(&counts, &keys),
            "found: 100 tokens (3 expired), 98 ids, 2 refresh tokens, 1 API key of client login, 2 foreign, \
             1 broken token, 14 other UUIDs ignored"
        );
        assert_eq!(line(&Counts { ids: 1, ..Counts::default() }, &[]), "found: 1 id");
        assert_eq!(line(&Counts::default(), &[]), "found: nothing");
        assert_eq!(advice(&counts).len(), 2);
        assert!(advice(&Counts::default()).is_empty());
    }
}
