//! Checks the whole audit trail against its chains: for rows that were changed, left out, added or cut off.

use std::collections::{HashMap, HashSet};

use futures_util::TryStreamExt;
use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use sqlx::Connection;
use uuid::Uuid;

use crate::{
    mint::ChainKeys,
    store::{
        Store, StoreError,
        audit::{
            chain::hex,
            checkpoint::Dropped,
            trail_row::{TIME_SPREAD_MS, TrailRow},
        },
    },
};
use jeton_token::uuid_unix_ms;

/// The end of a chain, as it was reported.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownHead {
    /// The chain.
    pub chain: Uuid,
    /// The number of one of its rows.
    pub number: i64,
    /// That row's tag, hexadecimal.
    pub tag: String,
}

/// The result of a check of the trail.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TrailChecked {
    /// The number of rows.
    pub rows: u64,
    /// The number of their chains.
    pub chains: u64,
    /// The number of rows that follow missing ones, so that their tags cannot be checked.
    pub unjudged: u64,
    /// The number of faults.
    pub findings: u64,
}

/// The fields of a row that the check uses.
struct StoredAct {
    id: Uuid,
    event_time: Timestamp,
    action: String,
    actor: String,
    number: i64,
    tag: Vec<u8>,
    fields: crate::mint::RowFields,
}

impl StoredAct {
    fn name(&self) -> String {
        format!("row {}, {} by {:?} at {}", self.id, self.action, self.actor, self.event_time)
    }
}

/// The state of a chain during the check.
#[derive(Default)]
struct Place {
    chain: Uuid,
    number: i64,
    /// The tag of that number; `None` if it is not known.
    tag: Option<Vec<u8>>,
}

/// The check, row by row, ordered by chain and number.
struct Check<'a, S> {
    keys: &'a ChainKeys,
    dropped: Dropped,
    heads: HashMap<Uuid, Vec<&'a KnownHead>>,
    place: Option<Place>,
    /// Rows with the same number: more than one is a fault.
    group: Vec<StoredAct>,
    seen: HashSet<Uuid>,
    done: TrailChecked,
    say: S,
}

impl<S: FnMut(String)> Check<'_, S> {
    fn found(&mut self, what: String) {
        self.done.findings = self.done.findings.saturating_add(1);
        (self.say)(what);
    }

    fn row(&mut self, chain: Option<Uuid>, row: StoredAct) {
        self.done.rows = self.done.rows.saturating_add(1);
        if uuid_unix_ms(row.id).abs_diff(row.event_time.as_millisecond()) > TIME_SPREAD_MS.unsigned_abs() {
            self.found(format!("changed: {} is not from the time of its id", row.name()));
        }
        let Some(chain) = chain else {
            self.found(format!("added: {} is in no chain", row.name()));
            return;
        };
        if self.place.as_ref().is_none_or(|place| place.chain != chain) {
            self.end_chain();
            self.seen.insert(chain);
            self.done.chains = self.done.chains.saturating_add(1);
            self.place = Some(Place { chain, number: 0, tag: Some(Vec::new()) });
        }
        if self.group.first().is_some_and(|first| first.number != row.number) {
            self.end_group();
        }
        self.group.push(row);
    }

    /// Judges the rows of one number, and continues after them.
    fn end_group(&mut self) {
        let mut group = std::mem::take(&mut self.group);
        let (Some(number), Some(place)) = (group.first().map(|row| row.number), self.place.take()) else {
            return;
        };
        let chain = place.chain;
        let before = self.tag_before(&place, number);
        let fits = |row: &StoredAct| {
            before.as_ref().is_some_and(|tag| self.keys.fits(chain, number, tag, &row.fields, &row.tag))
        };
        let right = group.iter().position(fits).unwrap_or_default();
        let row = group.remove(right);
        if number < 1 {
            self.found(format!("added: {} has number {number} of chain {chain}", row.name()));
        } else if before.is_none() && number <= self.dropped.upto(chain) {
            // The checkpoints contain the tags of dropped rows that remaining rows are judged by.
            self.found(format!(
                "added: {} has number {number} of chain {chain}, whose rows were dropped up to there",
                row.name()
            ));
        } else if before.is_none() {
            self.done.unjudged = self.done.unjudged.saturating_add(1);
        } else if !fits(&row) {
            self.found(format!(
                "changed, or added: {} is not what number {number} of chain {chain} was",
                row.name()
            ));
        }
        for other in &group {
            self.found(format!(
                "added: {} has number {number} of chain {chain}, which another row has",
                other.name()
            ));
        }
        let told = self.heads.get(&chain).into_iter().flatten().find(|head| head.number == number);
        if told.is_some_and(|head| head.tag != hex(&row.tag)) {
            self.found(format!(
                "changed: {} is not the one whose tag was told for number {number}",
                row.name()
            ));
        }
        self.place = Some(Place { chain, number: number.max(0), tag: Some(row.tag) });
    }

    /// The tag that the row of this number is over, if it is known; reports missing rows before it.
    fn tag_before(&mut self, place: &Place, number: i64) -> Option<Vec<u8>> {
        let before = number.saturating_sub(1);
        if before <= place.number {
            return place.tag.clone();
        }
        let dropped = self.dropped.upto(place.chain);
        if before <= dropped {
            return self.dropped.tag(place.chain, before).map(<[u8]>::to_vec);
        }
        let first = place.number.max(dropped).saturating_add(1);
        self.found(format!("missing: numbers {first} to {before} of chain {}", place.chain));
        None
    }

    fn end_chain(&mut self) {
        self.end_group();
        let Some(place) = self.place.take() else { return };
        self.cut(place.chain, place.number);
    }

    /// Compares the end of a chain with the one that was reported.
    fn cut(&mut self, chain: Uuid, end: i64) {
        let dropped = self.dropped.upto(chain);
        let told =
            self.heads.get(&chain).into_iter().flatten().map(|head| head.number).max().unwrap_or_default();
        let end = end.max(dropped);
        if told > end {
            self.found(format!("cut: chain {chain} ends with number {end}, and once had {told}"));
        }
    }

    fn end(mut self) -> TrailChecked {
        self.end_chain();
        let gone: Vec<Uuid> =
            self.heads.keys().filter(|chain| !self.seen.contains(*chain)).copied().collect();
        for chain in gone {
            self.cut(chain, 0);
        }
        self.done
    }
}

impl Store {
    /// Checks the whole trail against its chains, as of one moment. `heads`: the reported ends. `say` gets each
    /// finding.
    pub async fn check_trail(
        &self,
        keys: &ChainKeys,
        heads: &[KnownHead],
        say: impl FnMut(String),
    ) -> Result<TrailChecked, StoreError> {
        let mut pooled = self.pool.acquire().await?;
        let mut transaction = pooled.connection().begin().await?;
        sqlx::query!("set transaction isolation level repeatable read read only")
            .execute(&mut *transaction)
            .await?;
        let dropped = Self::dropped(&mut transaction, keys).await?;
        let mut told: HashMap<Uuid, Vec<&KnownHead>> = HashMap::new();
        for head in heads {
            told.entry(head.chain).or_default().push(head);
        }
        let mut check = Check {
            keys,
            dropped,
            heads: told,
            place: None,
            group: Vec::new(),
            seen: HashSet::new(),
            done: TrailChecked::default(),
            say,
        };
        let mut rows = sqlx::query_as!(
            TrailRow,
            r#"select id, event_time as "event_time: SqlTimestamp", actor, action, subject, jti, session_id, client_id,
                      outcome, reason, note, trace_id, key_id, audience, cutoff_s, chain_id, chain_number, chain_tag
                 from audit_event order by chain_id, chain_number, id"#
        )
        .fetch(&mut *transaction);
        while let Some(row) = rows.try_next().await? {
            let stored = StoredAct {
                fields: row.act().fields(),
                id: row.id,
                event_time: row.event_time.to_jiff(),
                number: row.chain_number.unwrap_or_default(),
                tag: row.chain_tag.unwrap_or_default(),
                action: row.action,
                actor: row.actor,
            };
            check.row(row.chain_id, stored);
        }
        drop(rows);
        Ok(check.end())
    }
}
