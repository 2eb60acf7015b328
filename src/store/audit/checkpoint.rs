//! Checkpoints of the audit trail: the end of each chain within a part that was dropped. A note of it has a MAC of its
//! own, so that it is valid wherever the chain of its row begins.

use std::collections::HashMap;

use futures_util::TryStreamExt;
use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use uuid::Uuid;

use crate::{
    mint::{ChainKeys, RowFields},
    store::{
        NewAudit, Store, StoreError,
        audit::{
            chain::{bytes_of_hex, hex},
            trail_row::{TIME_SPREAD_MS, TrailRow},
        },
    },
};
use jeton_token::{least_uuid_v7, new_uuid_v7};

/// The action of a row with such a note.
pub(in crate::store) const CHECKPOINT: &str = "AuditCheckpoint";
/// The most places in one note.
const PLACES_MAX: usize = 50;

/// A place in a chain: the number of a dropped row, and its tag.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::store) struct ChainPlace {
    pub(in crate::store) chain: Uuid,
    pub(in crate::store) number: i64,
    pub(in crate::store) tag: Vec<u8>,
}

/// The content of all checkpoints.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(in crate::store) struct Dropped {
    upto: HashMap<Uuid, i64>,
    tags: HashMap<(Uuid, i64), Vec<u8>>,
}

impl Dropped {
    /// Adds the content of a note if its MAC is good.
    pub(in crate::store) fn note(&mut self, keys: &ChainKeys, note: &str) {
        for place in read(keys, note).into_iter().flatten() {
            let upto = self.upto.entry(place.chain).or_default();
            *upto = place.number.max(*upto);
            self.tags.insert((place.chain, place.number), place.tag);
        }
    }

    /// The number up to which rows of a chain were dropped; 0: none.
    pub(in crate::store) fn upto(&self, chain: Uuid) -> i64 {
        self.upto.get(&chain).copied().unwrap_or_default()
    }

    /// The tag of a dropped row, if a remaining row needs it.
    pub(in crate::store) fn tag(&self, chain: Uuid, number: i64) -> Option<&[u8]> {
        self.tags.get(&(chain, number)).map(Vec::as_slice)
    }
}

impl Store {
    /// The content of the checkpoints in the trail.
    pub(in crate::store) async fn dropped(
        connection: &mut sqlx::PgConnection,
        keys: &ChainKeys,
    ) -> Result<Dropped, StoreError> {
        let mut dropped = Dropped::default();
        let mut notes = sqlx::query_scalar!("select note from audit_event where action = $1", CHECKPOINT)
            .fetch(connection);
        while let Some(note) = notes.try_next().await? {
            dropped.note(keys, &note);
        }
        Ok(dropped)
    }

    /// Writes the end of each chain within the part from `start` to `end`, seconds since the epoch, which is to be
    /// dropped: as far as its rows follow from one another, and no further.
    pub(in crate::store) async fn checkpoint(
        &self,
        start: i64,
        end: i64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let seal = self.seal()?;
        let keys = &seal.chains.keys;
        let [from, to] = [start, end].map(|time| least_uuid_v7(time.saturating_mul(1000)));
        // Rows that were written about the end of the part may be on either side of it.
        let beyond = least_uuid_v7(end.saturating_mul(1000).saturating_add(TIME_SPREAD_MS));
        let mut pooled = self.pool.acquire().await?;
        let dropped = Self::dropped(pooled.connection(), keys).await?;
        let mut ends = Ends::new(keys, &dropped);
        // Without a time limit, because there may be many rows.
        let mut rows = sqlx::query_as!(
            TrailRow,
            r#"select id, event_time as "event_time: SqlTimestamp", actor, action, subject, jti, session_id, client_id,
                      outcome, reason, note, trace_id, key_id, audience, cutoff_s, chain_id, chain_number, chain_tag
                 from audit_event
                where id < $3 and chain_id in (select chain_id from audit_event where id >= $1 and id < $2)
                order by chain_id, chain_number, id"#,
            from,
            to,
            beyond
        )
        .fetch(pooled.connection());
        while let Some(row) = rows.try_next().await? {
            if let (Some(chain), Some(number), Some(tag)) = (row.chain_id, row.chain_number, &row.chain_tag) {
                let fields = row.act().fields();
                ends.row(Link { chain, number, tag: tag.clone(), fields, goes: row.id < to });
            }
        }
        drop(rows);
        ends.end_chain();
        pooled.give_back();
        for (chain, number) in &ends.broken {
            tracing::error!(
                jeton.chain = %chain,
                jeton.number = number,
                "audit rows that are dropped for their age are not as jeton wrote them, from this number of the chain on"
            );
        }
        for note in notes(keys, &ends.places) {
            let audit =
                NewAudit { note, ..NewAudit::new(new_uuid_v7(now.as_millisecond()), "system", CHECKPOINT) };
            self.act(
                &audit,
                async |connection, act| {
                    let write = sqlx::query!(
                        "select audit($1, (select epoch * 1099511627776 + seq from log_head))",
                        act
                    );
                    write.fetch_one(connection).await?;
                    Ok(())
                },
                |()| true,
            )
            .await?;
        }
        Ok(())
    }
}

/// The notes of these places.
pub(in crate::store) fn notes(keys: &ChainKeys, places: &[ChainPlace]) -> Vec<String> {
    let note = |places: &[ChainPlace]| {
        let each = places.iter().map(|it| format!("{} {} {}", it.chain, it.number, hex(&it.tag)));
        let text = each.collect::<Vec<_>>().join(";");
        format!("{} {text}", hex(&keys.note_mac(&text)))
    };
    places.chunks(PLACES_MAX).map(note).collect()
}

/// The places of a note; `None` if jeton did not write it.
fn read(keys: &ChainKeys, note: &str) -> Option<Vec<ChainPlace>> {
    let (mac, text) = note.split_once(' ')?;
    if !keys.fits_note(text, &bytes_of_hex(mac)?) {
        return None;
    }
    text.split(';').map(place).collect()
}

/// `chain number tag`.
fn place(text: &str) -> Option<ChainPlace> {
    let mut words = text.split(' ');
    let (chain, number, tag) = (words.next()?, words.next()?, words.next()?);
    Some(ChainPlace { chain: chain.parse().ok()?, number: number.parse().ok()?, tag: bytes_of_hex(tag)? })
}

/// The fields of a row that checkpoints use.
pub(in crate::store) struct Link {
    pub(in crate::store) chain: Uuid,
    pub(in crate::store) number: i64,
    pub(in crate::store) tag: Vec<u8>,
    pub(in crate::store) fields: RowFields,
    /// It is dropped with the part.
    pub(in crate::store) goes: bool,
}

/// The ends of chains in a part of the trail, from rows in the order of their chains and numbers.
pub(in crate::store) struct Ends<'a> {
    keys: &'a ChainKeys,
    dropped: &'a Dropped,
    /// The row before, which follows from the beginning of its chain; and whether it is dropped.
    before: Option<(ChainPlace, bool)>,
    /// The latest row of this chain that is dropped.
    end: Option<ChainPlace>,
    /// The places to note.
    pub(in crate::store) places: Vec<ChainPlace>,
    /// Chains with a row that does not follow from those before it, and its number. Nothing after it is noted.
    pub(in crate::store) broken: Vec<(Uuid, i64)>,
}

impl<'a> Ends<'a> {
    pub(in crate::store) fn new(keys: &'a ChainKeys, dropped: &'a Dropped) -> Self {
        Self { keys, dropped, before: None, end: None, places: Vec::new(), broken: Vec::new() }
    }

    /// Adds the next row.
    pub(in crate::store) fn row(&mut self, row: Link) {
        let chain = row.chain;
        if self.before.as_ref().is_none_or(|(place, _)| place.chain != chain) {
            self.end_chain();
            let number = self.dropped.upto(chain);
            let tag = self.dropped.tag(chain, number).unwrap_or_default().to_vec();
            self.before = Some((ChainPlace { chain, number, tag }, true));
        }
        let is_broken = self.broken.last().is_some_and(|(broken, _)| *broken == chain);
        let Some((before, before_goes)) = &self.before else { return };
        // A row that was left from an earlier part: its checkpoint covers it.
        if is_broken || row.number <= before.number {
            return;
        }
        let follows = row.number == before.number.saturating_add(1)
            && self.keys.fits(chain, row.number, &before.tag, &row.fields, &row.tag);
        if !follows {
            self.broken.push((chain, row.number));
            return;
        }
        let place = ChainPlace { chain, number: row.number, tag: row.tag };
        if row.goes {
            self.end = Some(place.clone());
        } else if *before_goes && before.number > 0 {
            // A remaining row is judged by the one before it, which is dropped.
            self.places.push(before.clone());
        }
        self.before = Some((place, row.goes));
    }

    /// Ends the chain after its last row.
    pub(in crate::store) fn end_chain(&mut self) {
        let Some(end) = self.end.take() else { return };
        if self.places.last() != Some(&end) {
            self.places.push(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mint::{MasterKey, RowFields};

    fn keys() -> ChainKeys {
        let Ok(master) = MasterKey::parse(&"07".repeat(32)) else { unreachable!("a master key") };
        ChainKeys::new(&master, [])
    }

    /// The rows of a chain; `goes` tells which are dropped.
    fn rows(keys: &ChainKeys, chain: Uuid, goes: &[bool]) -> Vec<Link> {
        let mut before = Vec::new();
        let row = |(place, goes): (usize, &bool)| {
            let number = i64::try_from(place).unwrap_or_default().saturating_add(1);
            let fields = RowFields::of("audit").number(number);
            let tag = keys.tag(chain, number, &before, &fields);
            before.clone_from(&tag);
            Link { chain, number, tag, fields, goes: *goes }
        };
        goes.iter().enumerate().map(row).collect()
    }

    fn ends(keys: &ChainKeys, dropped: &Dropped, rows: Vec<Link>) -> (Vec<(u128, i64)>, Vec<i64>, Dropped) {
        let mut ends = Ends::new(keys, dropped);
        for row in rows {
            ends.row(row);
        }
        ends.end_chain();
        let mut next = dropped.clone();
        for note in notes(keys, &ends.places) {
            next.note(keys, &note);
        }
        let places = ends.places.iter().map(|place| (place.chain.as_u128(), place.number)).collect();
        (places, ends.broken.iter().map(|(_, number)| *number).collect(), next)
    }

    #[test]
    fn a_checkpoint_says_how_far_each_chain_had_come_and_what_the_rows_that_stay_are_judged_by() {
        let (keys, none) = (keys(), Dropped::default());
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut all = rows(&keys, one, &[true, true, false]);
        // A row of the next part was written before the last one of this part.
        all.extend(rows(&keys, two, &[true, false, true, false]));
        let (places, broken, next) = ends(&keys, &none, all);
        assert_eq!((places, broken), (vec![(1, 2), (2, 1), (2, 3)], vec![]));
        assert_eq!((next.upto(one), next.upto(two)), (2, 3));
        assert!(next.tag(two, 1).is_some() && next.tag(two, 2).is_none());
        // The next part continues from there.
        let later = rows(&keys, one, &[true; 5]).into_iter().skip(2).collect();
        let (places, broken, _) = ends(&keys, &next, later);
        assert_eq!((places, broken), (vec![(1, 5)], vec![]));
    }

    #[test]
    fn what_does_not_follow_is_not_noted() {
        let (keys, none, chain) = (keys(), Dropped::default(), Uuid::from_u128(1));
        let mut all = rows(&keys, chain, &[true; 6]);
        all.remove(3);
        assert_eq!(ends(&keys, &none, all).1, [5], "number 4 is missing");
        let mut forged = rows(&keys, chain, &[true, true]);
        forged.push(Link {
            chain,
            number: 1_000_000,
            tag: vec![7; 32],
            fields: RowFields::of("audit"),
            goes: true,
        });
        let (places, broken, next) = ends(&keys, &none, forged);
        assert_eq!((places, broken, next.upto(chain)), (vec![(1, 2)], vec![1_000_000], 2));
    }

    #[test]
    fn a_note_that_somebody_else_wrote_says_nothing() {
        let keys = keys();
        let places = [ChainPlace { chain: Uuid::from_u128(1), number: 7, tag: vec![1, 2] }];
        let note = notes(&keys, &places).remove(0);
        let said = |note: &str| {
            let mut dropped = Dropped::default();
            dropped.note(&keys, note);
            dropped.upto(Uuid::from_u128(1))
        };
        assert_eq!(said(&note), 7);
        for forged in
            [note.replace(" 7 ", " 8 "), note.split_once(' ').unwrap_or_default().1.to_owned(), String::new()]
        {
            assert_eq!(said(&forged), 0, "{forged}");
        }
    }
}
