//! The audit trail's chains. Each task that writes has a chain of its own, so that none locks another: numbers without
//! gaps, and tags over the tag before and over all columns that jeton sets.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    mint::{ChainKeys, RowFields},
    store::{NewAudit, StoreError},
};
use jeton_token::{UnixSeconds, new_uuid_v7, uuid_unix_ms};

/// The content of an audit row that jeton sets; Postgres sets `revision` and `event_time`.
pub(in crate::store) struct Act<'a> {
    pub(in crate::store) id: Uuid,
    pub(in crate::store) actor: &'a str,
    pub(in crate::store) action: &'a str,
    pub(in crate::store) subject: Option<&'a str>,
    pub(in crate::store) jti: Option<Uuid>,
    pub(in crate::store) session_id: Option<Uuid>,
    pub(in crate::store) client_id: Option<&'a str>,
    pub(in crate::store) outcome: &'a str,
    pub(in crate::store) reason: i16,
    pub(in crate::store) note: &'a str,
    pub(in crate::store) trace_id: &'a str,
    pub(in crate::store) key_id: Option<&'a str>,
    pub(in crate::store) audience: Option<&'a str>,
    pub(in crate::store) cutoff_s: Option<i64>,
}

impl<'a> Act<'a> {
    /// An act that was done, or refused with this outcome.
    pub(in crate::store) fn of(audit: &'a NewAudit, outcome: &'a str, reason: i16) -> Self {
        Self {
            id: audit.id,
            actor: &audit.actor,
            action: audit.action,
            subject: audit.subject.as_deref(),
            jti: audit.jti,
            session_id: audit.session_id,
            client_id: audit.client_id.as_deref(),
            outcome,
            reason,
            note: &audit.note,
            trace_id: &audit.trace_id,
            key_id: audit.key_id.as_deref(),
            audience: audit.audience.as_deref(),
            cutoff_s: audit.cutoff.map(UnixSeconds::get),
        }
    }

    /// The fields under its tag.
    pub(in crate::store) fn fields(&self) -> RowFields {
        let id = |id: &Option<Uuid>| id.map(Uuid::into_bytes);
        RowFields::of("audit")
            .bytes(self.id.as_bytes())
            .text(self.actor)
            .text(self.action)
            .optional(self.subject.map(str::as_bytes))
            .optional(id(&self.jti).as_ref().map(<[u8; 16]>::as_slice))
            .optional(id(&self.session_id).as_ref().map(<[u8; 16]>::as_slice))
            .optional(self.client_id.map(str::as_bytes))
            .text(self.outcome)
            .number(self.reason.into())
            .text(self.note)
            .text(self.trace_id)
            .optional(self.key_id.map(str::as_bytes))
            .optional(self.audience.map(str::as_bytes))
            .optional_number(self.cutoff_s)
    }

    /// Its columns, as the function `audit` takes them.
    pub(in crate::store) fn json(&self, links: &Links) -> Value {
        let tag = links.tags.first().map(|tag| format!("\\x{}", hex(tag)));
        json!({
            "id": self.id.to_string(), "actor": self.actor, "action": self.action, "subject": self.subject,
            "jti": self.jti.map(|id| id.to_string()), "session_id": self.session_id.map(|id| id.to_string()),
            "client_id": self.client_id, "outcome": self.outcome, "reason": self.reason, "note": self.note,
            "trace_id": self.trace_id, "key_id": self.key_id, "audience": self.audience, "cutoff_s": self.cutoff_s,
            "chain_id": links.chain.to_string(), "chain_number": links.first, "chain_tag": tag,
        })
    }
}

/// The places in a chain of rows that are written together.
#[derive(Clone, Debug)]
pub(in crate::store) struct Links {
    pub(in crate::store) chain: Uuid,
    /// The number of the first row.
    pub(in crate::store) first: i64,
    pub(in crate::store) tags: Vec<Vec<u8>>,
}

/// The end of a chain, as far as it is known to be committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChainHead {
    /// The task that writes it.
    pub writer: &'static str,
    /// The chain.
    pub chain: Uuid,
    /// The number of its last row.
    pub number: i64,
    /// The tag of its last row, hexadecimal.
    pub tag: String,
}

/// The state that the chains of a process share.
pub(in crate::store) struct Chains {
    pub(in crate::store) keys: ChainKeys,
    /// Heads that were not reported yet.
    heads: Mutex<HashMap<Uuid, ChainHead>>,
}

impl Chains {
    pub(in crate::store) fn new(keys: ChainKeys) -> Arc<Self> {
        Arc::new(Self { keys, heads: Mutex::default() })
    }

    fn reached(&self, head: ChainHead) {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).insert(head.chain, head);
    }

    /// The heads that were not reported yet, the longest chain last.
    pub(in crate::store) fn news(&self) -> Vec<ChainHead> {
        let heads = std::mem::take(&mut *self.heads.lock().unwrap_or_else(PoisonError::into_inner));
        let mut heads: Vec<_> = heads.into_values().collect();
        heads.sort_by_key(|head| head.number);
        heads
    }
}

/// The chain of one task.
pub(in crate::store) struct Chain {
    shared: Arc<Chains>,
    writer: &'static str,
    /// Its last row that is known to be committed: chain, number, tag.
    last: Option<(Uuid, i64, Vec<u8>)>,
    sent: Option<Sent>,
}

/// The rows that were sent last.
struct Sent {
    ids: Vec<Uuid>,
    links: Links,
    /// They are known to be committed.
    settled: bool,
    /// They were sent before, with an unknown result.
    unknown: bool,
}

impl Chain {
    pub(in crate::store) fn new(shared: Arc<Chains>, writer: &'static str) -> Self {
        Self { shared, writer, last: None, sent: None }
    }

    /// The places of these acts. Rows that are sent again keep their places, because they may be committed. If it is
    /// unknown whether the rows before are committed, another chain begins: so neither has a gap.
    pub(in crate::store) fn link(&mut self, acts: &[Act<'_>]) -> Links {
        let ids: Vec<Uuid> = acts.iter().map(|act| act.id).collect();
        if let Some(sent) = &self.sent {
            if sent.ids == ids {
                return sent.links.clone();
            }
            if !sent.settled {
                self.break_off();
            }
        }
        let first_ms = ids.first().map_or(0, |id| uuid_unix_ms(*id));
        let (chain, number, mut before) =
            self.last.clone().unwrap_or_else(|| (new_uuid_v7(first_ms), 0, Vec::new()));
        let first = number.saturating_add(1);
        let tags = acts.iter().zip(first..).map(|(act, number)| {
            before = self.shared.keys.tag(chain, number, &before, &act.fields());
            before.clone()
        });
        let links = Links { chain, first, tags: tags.collect() };
        self.sent = Some(Sent { ids, links: links.clone(), settled: false, unknown: false });
        links
    }

    /// Records the result of sending. `written` tells whether the statement reports that the rows are there.
    pub(in crate::store) fn settle<T>(
        &mut self,
        done: &Result<T, StoreError>,
        written: impl FnOnce(&T) -> bool,
    ) {
        match (done.as_ref().ok().map(written), done) {
            (Some(true), _) => self.committed(),
            // Nothing was written: the next row gets these places, unless these were sent before.
            (Some(false), _) | (None, Err(StoreError::Statement(_) | StoreError::ForeignLog)) => {
                self.sent.take_if(|sent| !sent.unknown);
            }
            (None, _) => {
                if let Some(sent) = &mut self.sent {
                    sent.unknown = true;
                }
            }
        }
    }

    fn committed(&mut self) {
        let Some(sent) = &mut self.sent else { return };
        sent.settled = true;
        let Some(tag) = sent.links.tags.last() else { return };
        let more = i64::try_from(sent.links.tags.len()).unwrap_or_default().saturating_sub(1);
        let number = sent.links.first.saturating_add(more);
        // Rows that were sent again may be committed after rows that came later.
        if self.last.as_ref().is_some_and(|(chain, last, _)| *chain == sent.links.chain && *last >= number) {
            return;
        }
        self.last = Some((sent.links.chain, number, tag.clone()));
        self.shared.reached(ChainHead {
            writer: self.writer,
            chain: sent.links.chain,
            number,
            tag: hex(tag),
        });
    }

    fn break_off(&mut self) {
        if let Some((chain, number, _)) = self.last.take() {
            tracing::info!(
                jeton.writer = self.writer,
                jeton.chain = %chain,
                jeton.number = number,
                "it is not known whether the last audit rows of this chain were written: another chain begins"
            );
        }
        self.sent = None;
    }
}

/// Chains that no act is writing. Each act takes one, so that none waits for another.
pub(in crate::store) struct SpareChains {
    shared: Arc<Chains>,
    writer: &'static str,
    spare: Mutex<Vec<Chain>>,
}

impl SpareChains {
    pub(in crate::store) fn new(shared: Arc<Chains>, writer: &'static str) -> Self {
        Self { shared, writer, spare: Mutex::default() }
    }

    /// Takes a chain until the caller gives it back. The chain of a call that is given up ends there.
    pub(in crate::store) fn take(&self) -> Chain {
        self.spare().pop().unwrap_or_else(|| Chain::new(Arc::clone(&self.shared), self.writer))
    }

    pub(in crate::store) fn give_back(&self, chain: Chain) {
        self.spare().push(chain);
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Chain>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(in crate::store) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |half: u8| DIGITS.get(usize::from(half)).copied().unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xF)]).collect()
}

/// The bytes of an even number of hexadecimal digits; `None` for other text.
pub(in crate::store) fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let pair = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    text.as_bytes().chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mint::MasterKey;

    fn chain() -> Option<Chain> {
        let master = MasterKey::parse(&"07".repeat(32)).ok()?;
        Some(Chain::new(Chains::new(ChainKeys::new(&master, [])), "test"))
    }

    fn audit(id: u128) -> NewAudit {
        NewAudit::new(Uuid::from_u128(id), "actor", "Act")
    }

    fn link(chain: &mut Chain, ids: &[u128]) -> Links {
        let audits: Vec<_> = ids.iter().map(|id| audit(*id)).collect();
        let acts: Vec<_> = audits.iter().map(|audit| Act::of(audit, "OK", 0)).collect();
        chain.link(&acts)
    }

    fn away() -> StoreError {
        StoreError::Late
    }

    #[test]
    fn numbers_have_no_gaps_whatever_becomes_of_what_is_sent() {
        let Some(mut chain) = chain() else { unreachable!("a chain") };
        let first = link(&mut chain, &[1, 2]);
        assert_eq!((first.first, first.tags.len()), (1, 2));
        chain.settle(&Ok(()), |()| true);
        // Refused by a condition: nothing was written.
        assert_eq!(link(&mut chain, &[3]).first, 3);
        chain.settle(&Ok(()), |()| false);
        let third = link(&mut chain, &[4]);
        assert_eq!((third.chain, third.first), (first.chain, 3));
        // Unknown, and sent again: the same places.
        chain.settle(&Err::<(), _>(away()), |()| true);
        let again = link(&mut chain, &[4]);
        assert_eq!((again.first, &again.tags), (3, &third.tags));
        chain.settle(&Ok(()), |()| true);
        // Sent once more although it is committed.
        assert_eq!(link(&mut chain, &[4]).first, 3);
        chain.settle(&Ok(()), |()| true);
        assert_eq!(link(&mut chain, &[5]).first, 4);
        // Unknown, and given up: the next one is in another chain.
        chain.settle(&Err::<(), _>(away()), |()| true);
        let other = link(&mut chain, &[6]);
        assert_ne!(other.chain, first.chain);
        assert_eq!(other.first, 1);
        chain.settle(&Ok(()), |()| true);
        let heads = chain.shared.news();
        assert_eq!(
            heads.iter().map(|head| head.number).collect::<std::collections::BTreeSet<_>>(),
            [1, 3].into()
        );
        assert_eq!(chain.shared.news(), [], "told once");
    }

    #[test]
    fn places_that_may_be_taken_are_not_given_to_others_whatever_a_second_attempt_says() {
        let statement = || StoreError::ForeignLog;
        let Some(mut chain) = chain() else { unreachable!("a chain") };
        let first = link(&mut chain, &[1]);
        chain.settle(&Err::<(), _>(away()), |()| true);
        assert_eq!(link(&mut chain, &[1]).tags, first.tags, "sent again");
        chain.settle(&Err::<(), _>(statement()), |()| true);
        assert_ne!(link(&mut chain, &[2]).chain, first.chain);
        // If only the first attempt was refused, no place is taken.
        chain.settle(&Ok(()), |()| true);
        let third = link(&mut chain, &[3]);
        chain.settle(&Err::<(), _>(statement()), |()| true);
        let fourth = link(&mut chain, &[4]);
        assert_eq!((fourth.chain, fourth.first), (third.chain, third.first));
    }

    #[test]
    fn a_call_that_was_given_up_leaves_its_places_open() {
        let Some(mut chain) = chain() else { unreachable!("a chain") };
        let first = link(&mut chain, &[1]);
        // The result is never recorded.
        assert_ne!(link(&mut chain, &[2]).chain, first.chain);
    }
}
