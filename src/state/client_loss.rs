//! The changes of clients that the tables have lost, by the memory of a replica.

use std::collections::HashSet;

use crate::state::{ApiKeyRecord, Client, Clients, FAMILY_ANY};
use jeton_token::{Revision, UnixSeconds};

/// Rights that the tables have given back to a client by a loss.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Restriction {
    /// The client with the rights that it keeps. Its revision is the one up to which this is known.
    pub client: Client,
    /// The revision that it replaces.
    pub expected: Revision,
    /// API keys that had been removed.
    pub gone_keys: Vec<String>,
    /// API keys that end sooner.
    pub ending_keys: Vec<EndingKey>,
}

/// An API key that ends sooner than in the tables.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct EndingKey {
    /// The public part of the key.
    pub api_key_id: String,
    /// SHA-256 of the whole text.
    pub secret_hash: [u8; 32],
    /// Its end.
    pub end: UnixSeconds,
}

/// Parts of the tables that a replica had seen before, in their present state or a later one. They are no news,
/// whatever revision they bear.
#[derive(Clone, Default, Debug)]
pub struct SeenClients {
    /// Clients.
    pub clients: HashSet<String>,
    /// API keys.
    pub api_keys: HashSet<String>,
}

impl Clients {
    /// The rights to take away from `stored` so that it allows no more than these clients do, as of `applied`: disabled
    /// or absent beats enabled, fewer rights beat more. Later changes in `stored` that were not `seen` are news. An API
    /// key that was seen and is absent here was removed.
    #[must_use]
    pub fn restrictions(&self, stored: &Self, applied: Revision, seen: &SeenClients) -> Vec<Restriction> {
        let mut restrictions: Vec<Restriction> =
            stored.iter().filter_map(|client| self.restriction(stored, client, applied, seen)).collect();
        restrictions.sort_by(|a, b| a.client.client_id.cmp(&b.client.client_id));
        restrictions
    }

    fn restriction(
        &self,
        stored: &Self,
        client: &Client,
        applied: Revision,
        seen: &SeenClients,
    ) -> Option<Restriction> {
        let held = self.get(&client.client_id);
        let is_later = client.revision > applied;
        let restricted = match held {
            _ if is_later && !seen.clients.contains(&client.client_id) => Client::clone(client),
            Some(held) => client.no_more_than(held),
            None => Client { disabled: true, revision: applied, ..client.clone() },
        };
        let mut gone_keys = Vec::new();
        let mut ending_keys = Vec::new();
        for key in stored.api_keys_of(&client.client_id) {
            match self.api_key(&key.api_key_id).filter(|(held, _)| held.is_of_the_text_of(key)) {
                None if is_later && !seen.api_keys.contains(&key.api_key_id) => {}
                None => gone_keys.push(key.api_key_id.clone()),
                Some((held, _)) => {
                    let sooner = held.expire_time.filter(|end| key.expire_time.is_none_or(|now| *end < now));
                    ending_keys.extend(sooner.map(|end| EndingKey {
                        api_key_id: key.api_key_id.clone(),
                        secret_hash: key.secret_hash,
                        end,
                    }));
                }
            }
        }
        gone_keys.sort();
        ending_keys.sort();
        let unchanged = Client { revision: client.revision, ..restricted.clone() } == *client
            && gone_keys.is_empty()
            && ending_keys.is_empty();
        (!unchanged).then_some(Restriction {
            client: restricted,
            expected: client.revision,
            gone_keys,
            ending_keys,
        })
    }
}

impl ApiKeyRecord {
    fn is_of_the_text_of(&self, other: &Self) -> bool {
        self.client_id == other.client_id && self.secret_hash == other.secret_hash
    }
}

impl Client {
    /// This client without anything that `held` lacks.
    fn no_more_than(&self, held: &Self) -> Self {
        let in_both = |stored: &[String], held: &[String]| {
            stored.iter().filter(|one| held.contains(one)).cloned().collect::<Vec<_>>()
        };
        Self {
            client_id: self.client_id.clone(),
            revision: self.revision.max(held.revision),
            certificate_uris: in_both(&self.certificate_uris, &held.certificate_uris),
            permissions: self.permissions.iter().copied().filter(|it| held.may(*it)).collect(),
            audiences: covered_by_both(&self.audiences, &held.audiences, |wide, narrow| {
                wide == FAMILY_ANY || wide == narrow
            }),
            subjects: covered_by_both(&self.subjects, &held.subjects, |wide, narrow| {
                wide == narrow || wide.strip_suffix('*').is_some_and(|prefix| narrow.starts_with(prefix))
            }),
            own_subject: held.own_subject.clone(),
            disabled: self.disabled || held.disabled,
        }
    }
}

/// The intersection of two lists of patterns: of each pair of which one covers the other, the narrower.
fn covered_by_both(stored: &[String], held: &[String], covers: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let covered = |one: &String, by: &[String]| by.iter().any(|wide| covers(wide, one));
    let mut both: Vec<String> = stored.iter().filter(|one| covered(one, held)).cloned().collect();
    for one in held.iter().filter(|one| covered(one, stored)) {
        if !covered(one, &both) {
            both.push(one.clone());
        }
    }
    both
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::state::Permission;

    fn at(revision: i64) -> Revision {
        Revision::from_i64(revision).unwrap_or(Revision::ZERO)
    }

    fn client(client_id: &str, revision: i64, disabled: bool) -> Client {
        Client {
            client_id: client_id.into(),
            revision: at(revision),
            certificate_uris: vec![],
            permissions: vec![],
            audiences: vec![],
            subjects: vec![],
            own_subject: String::new(),
            disabled,
        }
    }

    fn key(client_id: &str, api_key_id: &str, expire_time: Option<i64>) -> ApiKeyRecord {
        ApiKeyRecord {
            api_key_id: api_key_id.into(),
            client_id: client_id.into(),
            secret_hash: [0; 32],
            expire_time: expire_time.map(UnixSeconds::new),
            last_use: Arc::default(),
        }
    }

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_restored_client_gets_nothing_back() {
        let held = Clients::new(
            vec![client("disabled", 5, true), client("fine", 2, false), client("removed-later", 3, false)],
            vec![key("fine", "kept", None), key("fine", "ends", Some(100)), key("fine", "lasts", Some(100))],
        );
        let stored = Clients::new(
            vec![
                client("disabled", 3, false),
                client("deleted", 3, false),
                client("fine", 2, false),
                client("new", 9, false),
            ],
            vec![
                key("fine", "kept", None),
                key("fine", "removed", None),
                key("fine", "ends", Some(200)),
                key("fine", "lasts", Some(50)),
                key("deleted", "of-deleted", None),
                key("new", "newer", None),
            ],
        );
        let restriction = |client, expected, gone: &[&str], ending_keys| Restriction {
            client,
            expected: at(expected),
            gone_keys: strings(gone),
            ending_keys,
        };
        assert_eq!(
            held.restrictions(&stored, at(8), &SeenClients::default()),
            [
                restriction(client("deleted", 8, true), 3, &["of-deleted"], vec![]),
                restriction(client("disabled", 5, true), 3, &[], vec![]),
                restriction(
                    client("fine", 2, false),
                    2,
                    &["removed"],
                    vec![EndingKey {
                        api_key_id: "ends".to_owned(),
                        secret_hash: [0; 32],
                        end: UnixSeconds::new(100),
                    }]
                ),
            ]
        );
        assert_eq!(stored.restrictions(&stored, at(8), &SeenClients::default()), []);
    }

    #[test]
    fn what_was_seen_is_no_news_whatever_revision_it_bears() {
        let held = Clients::new(
            vec![client("c", 5, false), client("later", 5, false)],
            vec![key("c", "kept", None), key("later", "kept-too", None)],
        );
        let more = |client_id, revision| Client {
            permissions: vec![Permission::Issue],
            ..client(client_id, revision, false)
        };
        let stored = Clients::new(
            vec![more("c", 90), more("later", 91), client("gone", 92, false)],
            vec![
                key("c", "kept", None),
                key("c", "removed", None),
                key("later", "kept-too", None),
                key("later", "added", None),
                key("later", "removed-too", None),
            ],
        );
        let names = |names: &[&str]| strings(names).into_iter().collect();
        let seen = SeenClients {
            clients: names(&["c", "gone"]),
            api_keys: names(&["kept", "removed", "kept-too", "removed-too"]),
        };
        let restrictions = held.restrictions(&stored, at(8), &seen);
        let found: Vec<_> = restrictions
            .iter()
            .map(|it| (it.client.client_id.as_str(), it.client.may(Permission::Issue), it.gone_keys.clone()))
            .collect();
        assert_eq!(
            found,
            [
                ("c", false, strings(&["removed"])),
                ("gone", false, vec![]),
                // Written since by somebody: all that is known is that one of its keys was removed.
                ("later", true, strings(&["removed-too"])),
            ]
        );
        assert!(restrictions.iter().any(|it| it.client.client_id == "gone" && it.client.disabled));
    }

    #[test]
    fn a_restored_client_has_no_right_that_had_been_taken_from_it() {
        let held = Client {
            permissions: vec![Permission::Validate],
            audiences: strings(&["api"]),
            subjects: strings(&["user:7", "svc:*"]),
            certificate_uris: strings(&["spiffe://a"]),
            ..client("c", 7, false)
        };
        let stored = Client {
            permissions: vec![Permission::Issue, Permission::Validate],
            audiences: strings(&["*"]),
            subjects: strings(&["user:*", "svc:billing"]),
            certificate_uris: strings(&["spiffe://a", "spiffe://b"]),
            ..client("c", 3, false)
        };
        let restricted = stored.no_more_than(&held);
        let expected = Client { subjects: strings(&["svc:billing", "user:7"]), ..held.clone() };
        assert_eq!(restricted, expected);
        assert_eq!(restricted.no_more_than(&held), restricted, "once");
        let restricted = held.no_more_than(&Client { revision: at(2), ..stored });
        assert_eq!(restricted, Client { subjects: strings(&["user:7", "svc:billing"]), ..held });
        let any = Client { audiences: strings(&["*"]), ..client("c", 3, false) };
        let more = Client { audiences: strings(&["*", "api"]), ..client("c", 3, false) };
        assert_eq!(any.no_more_than(&more), any);
        assert_eq!(more.no_more_than(&any), more);
    }
}
