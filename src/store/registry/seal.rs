//! The MACs of rows that grant something. They are made and checked here, so that a row that jeton did not write grants
//! nothing, and so that this process notices if an older row is put back in place of a later one.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;

use crate::{
    mint::{ChainKeys, MasterKey, RowFields, RowKeys},
    store::audit::chain::{Chains, hex},
};
use jeton_token::sha256;

/// The state of a row that is gone, after all others.
const GONE: i64 = i64::MAX;
/// The state before all others.
const FORGOTTEN: (i64, i64) = (i64::MIN, 0);

/// A table whose rows grant something.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(in crate::store) enum Table {
    Client,
    ApiKey,
    SigningKey,
    MacKey,
    TrustedIssuer,
}

impl Table {
    fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::ApiKey => "api_key",
            Self::SigningKey => "signing_key",
            Self::MacKey => "mac_key",
            Self::TrustedIssuer => "trusted_issuer",
        }
    }
}

/// The reason why a row counts as absent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Forged {
    /// Its MAC is wrong.
    Changed,
    /// It is older than a state that was seen before.
    PutBack,
    /// Its MAC is wrong, but it says what it said when its MAC was good: only a process that saw that goes by it.
    Unproven,
}

impl Forged {
    /// Returns whether the row counts as absent in this process.
    #[must_use]
    pub fn is_absent(self) -> bool {
        self != Self::Unproven
    }
}

impl fmt::Display for Forged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changed => {
                "its MAC does not fit: it was not written by jeton, or under another master key than this server's"
            }
            Self::PutBack => "it was put back: this server has seen a later state of it",
            Self::Unproven => {
                "its MAC does not fit any more: this server has seen it good and goes by it, but one that starts refuses it"
            }
        })
    }
}

/// The parts of a row that matter for its MAC.
pub(in crate::store) struct Sealed<'a> {
    /// Its id.
    pub(in crate::store) id: &'a str,
    /// The fields under the MAC.
    pub(in crate::store) fields: RowFields,
    /// Its MAC.
    pub(in crate::store) mac: &'a [u8],
    /// Raised by each change that jeton makes to the fields under the MAC.
    pub(in crate::store) version: i64,
    /// The rights that were taken away since, which needs no MAC: 0 for none; more is later.
    pub(in crate::store) taken: i64,
}

/// The value of `taken` for a revoked key.
pub(in crate::store) const REVOKED: i64 = i64::MAX / 2;

/// The value of `taken` for something that ends at that time: the sooner, the greater.
pub(in crate::store) fn ending(end: Option<Timestamp>) -> i64 {
    let end_s = end.map_or(0, Timestamp::as_second).max(0);
    (REVOKED / 2).saturating_sub(end_s).max(1)
}

/// The latest state of a row that was seen.
#[derive(Clone, Copy)]
struct Latest {
    /// Version and `taken`: it only grows.
    state: (i64, i64),
    /// SHA-256 of its fields.
    digest: [u8; 32],
}

/// The latest states of rows, by table and id.
#[derive(Clone, Default)]
pub(in crate::store) struct Seen(HashMap<(Table, String), Latest>);

/// Rows that a process had seen before it came into the epoch of the log: they are no news, whatever revision they
/// bear.
#[derive(Clone, Default)]
pub struct SeenBefore(Arc<Seen>);

impl SeenBefore {
    /// Returns whether this row was seen, in this state or a later one. `version`: that of its present state.
    pub(in crate::store) fn has(&self, table: Table, id: &str, version: i64) -> bool {
        self.0.0.get(&(table, id.to_owned())).is_some_and(|latest| version <= latest.state.0)
    }

    /// Returns whether this MAC key was seen.
    #[must_use]
    pub fn has_mac_key(&self, id: [u8; 4]) -> bool {
        // Its row is written once.
        self.has(Table::MacKey, &hex(&id), i64::MIN)
    }
}

/// Makes and checks the MACs of rows, and remembers the latest states that it has seen.
pub struct Seal {
    keys: RowKeys,
    /// The chains of this process's audit rows.
    pub(in crate::store) chains: Arc<Chains>,
    seen: Mutex<Arc<Seen>>,
    /// The rows that were seen before the epoch that this process is passing into.
    before: Mutex<Option<SeenBefore>>,
    said: Mutex<HashSet<(Table, String, Forged)>>,
}

impl Seal {
    /// Uses this master key; MACs under the others are good, too.
    #[must_use]
    pub fn new<'a>(master: &MasterKey, others: impl IntoIterator<Item = &'a MasterKey> + Clone) -> Arc<Self> {
        Arc::new(Self {
            keys: RowKeys::new(master, others.clone()),
            chains: Chains::new(ChainKeys::new(master, others)),
            seen: Mutex::default(),
            before: Mutex::default(),
            said: Mutex::default(),
        })
    }

    /// The MAC of a row.
    pub(in crate::store) fn mac(&self, fields: &RowFields) -> Vec<u8> {
        self.keys.mac(fields)
    }

    /// A new MAC for a row with a MAC under another master key; `None`: the present one stays.
    pub(in crate::store) fn remade(&self, fields: &RowFields, mac: &[u8]) -> Option<Vec<u8>> {
        self.keys.remade(fields, mac)
    }

    /// The rows seen so far. Taken before a statement is sent: its rows cannot be older than this.
    pub(in crate::store) fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The latest version of a row that was seen; 0: none.
    pub(in crate::store) fn version(&self, table: Table, id: &str) -> i64 {
        let of = |seen: &Seen| seen.0.get(&(table, id.to_owned())).map_or(0, |latest| latest.state.0);
        let before = self.before().as_ref().map_or(0, |before| of(&before.0));
        of(&self.seen()).max(before).max(0)
    }

    /// Begins the passage into another epoch, whose tables may have lost the latest states: any state of a row counts
    /// as the latest once more. A good row stays good while it is unchanged. Returns the rows that had been seen, also
    /// if it is called again.
    pub(in crate::store) fn begin_pass(&self) -> SeenBefore {
        let mut before = self.before();
        let kept = before.get_or_insert_with(|| SeenBefore(self.seen())).clone();
        let mut seen = Seen::clone(&kept.0);
        for latest in seen.0.values_mut() {
            latest.state = FORGOTTEN;
        }
        self.set_seen(seen);
        kept
    }

    /// Ends the passage: absent rows are gone as before.
    pub(in crate::store) fn end_pass(&self) {
        let Some(before) = self.before().take() else { return };
        let mut seen = Seen::clone(&self.seen());
        for (row, latest) in &mut seen.0 {
            if latest.state.0 == FORGOTTEN.0
                && let Some(before) = before.0.0.get(row)
            {
                latest.state = (before.state.0, GONE);
            }
        }
        self.set_seen(seen);
    }

    /// Gives up the passage: the replica is still in the epoch before.
    pub(in crate::store) fn give_up_pass(&self) {
        if let Some(SeenBefore(before)) = self.before().take() {
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = before;
        }
    }

    fn before(&self) -> MutexGuard<'_, Option<SeenBefore>> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_seen(&self, seen: Seen) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(seen);
    }

    /// The reason why a row counts as absent; `None`: it is good. `seen`: from before it was read.
    pub(in crate::store) fn judge(&self, seen: &Seen, table: Table, row: &Sealed<'_>) -> Option<Forged> {
        self.weigh(seen, table, row).filter(|forged| forged.is_absent())
    }

    /// The same, for people; also the reason why other processes will take it for absent.
    pub(in crate::store) fn weigh(&self, seen: &Seen, table: Table, row: &Sealed<'_>) -> Option<Forged> {
        let latest = seen.0.get(&(table, row.id.to_owned()));
        let fits = self.keys.fits(&row.fields, row.mac);
        // A good row stays good while it is unchanged: it may have been written again under a master key that is not
        // here.
        let good = fits || latest.is_some_and(|latest| latest.digest == sha256(&[row.fields.as_bytes()]));
        let forged = match latest {
            _ if !good => Some(Forged::Changed),
            Some(latest) if (row.version, row.taken) < latest.state => Some(Forged::PutBack),
            Some(_) | None => (!fits).then_some(Forged::Unproven),
        };
        self.say(table, row.id, forged);
        forged
    }

    /// Judges all rows of a table and remembers them, also that others are missing. Returns results in their order.
    /// Only for one reader, whose reads come one after another.
    pub(in crate::store) fn judge_all(&self, table: Table, rows: &[Sealed<'_>]) -> Vec<Option<Forged>> {
        let before = self.seen();
        let judged: Vec<_> = rows.iter().map(|row| self.judge(&before, table, row)).collect();
        let mut seen = Seen::clone(&before);
        let there: HashSet<&str> = rows.iter().map(|row| row.id).collect();
        for ((known, id), latest) in &mut seen.0 {
            if *known == table && !there.contains(id.as_str()) {
                latest.state.1 = GONE;
            }
        }
        for (row, _) in rows.iter().zip(&judged).filter(|(_, forged)| forged.is_none()) {
            let latest = Latest { state: (row.version, row.taken), digest: sha256(&[row.fields.as_bytes()]) };
            seen.0.insert((table, row.id.to_owned()), latest);
        }
        self.set_seen(seen);
        judged
    }

    /// Logs that a row is refused, once until it is good again.
    fn say(&self, table: Table, id: &str, forged: Option<Forged>) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(forged) = forged else {
            said.retain(|(of, known, _)| (*of, known.as_str()) != (table, id));
            return;
        };
        if !said.insert((table, id.to_owned(), forged)) {
            return;
        }
        let table = table.name();
        if forged.is_absent() {
            tracing::error!(
                jeton.table = table,
                jeton.id = id,
                jeton.why = %forged,
                "a row of the database is refused: it counts as absent"
            );
        } else {
            tracing::warn!(jeton.table = table, jeton.id = id, jeton.why = %forged, "a row of the database was changed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(byte: &str, others: &[&MasterKey]) -> Option<Arc<Seal>> {
        let master = MasterKey::parse(&byte.repeat(32)).ok()?;
        Some(Seal::new(&master, others.iter().copied()))
    }

    fn row<'a>(id: &'a str, says: &str, mac: &'a [u8], version: i64, taken: i64) -> Sealed<'a> {
        Sealed { id, fields: RowFields::of("t").text(id).text(says).number(version), mac, version, taken }
    }

    fn mac(seal: &Seal, id: &str, says: &str, version: i64) -> Vec<u8> {
        seal.mac(&row(id, says, &[], version, 0).fields)
    }

    #[test]
    fn an_older_row_is_noticed_until_it_is_changed_once_more() {
        let Some(seal) = seal("01", &[]) else { unreachable!("a seal") };
        let (first, second, third) =
            (mac(&seal, "a", "x", 1), mac(&seal, "a", "y", 2), mac(&seal, "a", "z", 3));
        let judge = |row| seal.judge_all(Table::Client, &[row]);
        assert_eq!(judge(row("a", "x", &first, 1, 0)), [None]);
        assert_eq!(judge(row("a", "y", &second, 2, 0)), [None]);
        assert_eq!(judge(row("a", "x", &first, 1, 0)), [Some(Forged::PutBack)]);
        assert_eq!(judge(row("a", "x", &second, 2, 0)), [Some(Forged::Changed)]);
        // Taking rights away needs no MAC, but giving them back does.
        assert_eq!(judge(row("a", "y", &second, 2, 1)), [None]);
        assert_eq!(judge(row("a", "y", &second, 2, 0)), [Some(Forged::PutBack)]);
        assert_eq!(seal.judge_all(Table::Client, &[]), []);
        assert_eq!(judge(row("a", "y", &second, 2, 1)), [Some(Forged::PutBack)], "it was gone");
        assert_eq!(judge(row("a", "z", &third, 3, 0)), [None]);
        assert_eq!(seal.version(Table::Client, "a"), 3);
        let other = mac(&seal, "a", "w", 2);
        let before = seal.begin_pass();
        assert_eq!(judge(row("a", "x", &first, 1, 0)), [None], "in another epoch");
        let seen = [1, 3, 4].map(|version| before.has(Table::Client, "a", version));
        assert_eq!(seen, [true, true, false], "it is no news there");
        assert_eq!(seal.version(Table::Client, "a"), 3, "what is written next is");
        assert_eq!(judge(row("a", "w", &other, 2, 0)), [None]);
        assert!(seal.begin_pass().has(Table::Client, "a", 3), "tried again");
        seal.give_up_pass();
        assert_eq!(judge(row("a", "x", &first, 1, 0)), [Some(Forged::PutBack)], "it is where it was");
    }

    #[test]
    fn what_is_not_in_another_epoch_stays_gone() {
        let Some(seal) = seal("01", &[]) else { unreachable!("a seal") };
        let (first, second) = (mac(&seal, "a", "x", 1), mac(&seal, "a", "y", 2));
        let judge = |row| seal.judge_all(Table::Client, &[row]);
        assert_eq!(judge(row("a", "x", &first, 1, 0)), [None]);
        let _before = seal.begin_pass();
        assert_eq!(seal.judge_all(Table::Client, &[]), []);
        seal.end_pass();
        assert_eq!(judge(row("a", "x", &first, 1, 0)), [Some(Forged::PutBack)]);
        assert_eq!(judge(row("a", "y", &second, 2, 0)), [None], "it was made again");
    }

    #[test]
    fn what_was_good_under_one_master_key_stays_so_under_another() {
        let (Some(old), Some(new)) = (seal("01", &[]), seal("02", &[])) else { unreachable!("seals") };
        let (before, after) = (mac(&old, "a", "x", 1), mac(&new, "a", "x", 1));
        assert_eq!(old.judge_all(Table::Client, &[row("a", "x", &before, 1, 0)]), [None]);
        assert_eq!(old.judge_all(Table::Client, &[row("a", "x", &after, 1, 0)]), [None], "it says the same");
        let said = |mac| old.weigh(&old.seen(), Table::Client, &row("a", "x", mac, 1, 0));
        assert_eq!((said(&before), said(&after)), (None, Some(Forged::Unproven)), "but people are told");
        let _before = old.begin_pass();
        assert_eq!(
            old.judge_all(Table::Client, &[row("a", "x", &after, 1, 0)]),
            [None],
            "in another epoch, too"
        );
        assert_eq!(new.judge_all(Table::Client, &[row("a", "x", &before, 1, 0)]), [Some(Forged::Changed)]);
    }
}
