//! The state of the model of the carry-over: one setting in the tables, and replicas that hold it.

use super::Act;

/// A place in the log: epoch, then number.
pub type Revision = (u8, u8);

/// The value if nothing is set.
const DEFAULT: u8 = 1;

/// A setting that is written, and how old that is. The lower, the stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    pub level: u8,
    pub as_of: Revision,
    /// Nobody but jeton makes one, and each is later than all before.
    pub version: u8,
}

/// The effect of a row.
pub fn in_effect(row: Option<Row>) -> u8 {
    row.map_or(DEFAULT, |row| row.level)
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tables {
    pub head: Revision,
    pub row: Option<Row>,
    /// When the latest row was removed.
    pub removed: Option<Revision>,
    /// The latest version that they know.
    pub version: u8,
    /// The server is on the timeline that the log was written in.
    pub same_log: bool,
    /// A replica has carried over its state into the epoch, or an operator has begun it.
    pub carried: bool,
}

/// An act of the current epoch, and the tables before it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Done {
    pub revision: Revision,
    /// The effect after it.
    pub level: u8,
    pub returned: bool,
    /// The promise before it.
    pub promised: u8,
    pub before: Tables,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replica {
    /// Has loaded, and is not registered yet.
    pub loaded: bool,
    /// Holds state.
    pub joined: bool,
    /// Holds a lease: answers.
    pub serving: bool,
    pub applied: Revision,
    pub row: Option<Row>,
    /// The latest version that it has seen.
    pub seen: u8,
}

impl Replica {
    pub fn of(tables: &Tables) -> Self {
        Self {
            loaded: true,
            joined: true,
            serving: true,
            applied: tables.head,
            row: tables.row,
            seen: tables.version,
        }
    }

    /// This one, as of the tables now.
    pub fn read(&self, tables: &Tables) -> Self {
        Self { seen: self.seen.max(tables.version), ..Self::of(tables) }
    }

    pub fn gone() -> Self {
        Self { loaded: false, joined: false, serving: false, applied: (0, 0), row: None, seen: 0 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub tables: Tables,
    /// In the order of their commits.
    pub done: Vec<Done>,
    pub replicas: Vec<Replica>,
    /// The act that comes next.
    pub next: usize,
    /// The committed act that is waited for: the revision of its commit, and the effect after it.
    pub waiting: Option<(Revision, u8)>,
    /// The strictest effect that was answered, and that every replica with state held when a failover lost it: nothing
    /// laxer is in effect.
    pub promised: u8,
    /// An effect that was answered and lost, and that only these replicas held: nothing laxer is in effect once they
    /// have carried it over.
    pub owed: Option<(u8, u8)>,
    pub epochs_left: u8,
    pub crashes_left: u8,
    /// Epochs that may still be begun by force, with an older row put back.
    pub forces_left: u8,
    /// The latest version that was made.
    pub version: u8,
    pub violated: bool,
}

impl State {
    pub fn new(replicas: usize, level: Option<u8>, [epochs, crashes, forces]: [u8; 3]) -> Self {
        let tables = Tables {
            head: (1, 1),
            row: level.map(|level| Row { level, as_of: (1, 1), version: 1 }),
            removed: None,
            version: 1,
            same_log: true,
            carried: true,
        };
        Self {
            promised: in_effect(tables.row),
            replicas: vec![Replica::of(&tables); replicas],
            tables,
            done: Vec::new(),
            next: 0,
            waiting: None,
            owed: None,
            epochs_left: epochs,
            crashes_left: crashes,
            forces_left: forces,
            version: 1,
            violated: false,
        }
    }

    pub fn advance(&mut self) -> Revision {
        self.tables.head.1 += 1;
        self.tables.head
    }

    /// A version later than all before, in the tables.
    pub fn make_version(&mut self) -> u8 {
        self.version += 1;
        self.tables.version = self.version;
        self.version
    }

    /// Somebody who can write to the tables puts back the row from before the latest act, which every replica has seen,
    /// with a revision that nothing vouches for, and begins an epoch.
    pub fn force(&mut self) -> bool {
        let Some(latest) = self.done.last() else { return false };
        let has_seen = |replica: &Replica| !replica.joined || replica.applied >= latest.revision;
        if !self.replicas.iter().all(has_seen) {
            return false;
        }
        let older = latest.before.row;
        self.forces_left -= 1;
        self.tables.head = (self.tables.head.0 + 1, 1);
        self.tables.row = older.map(|row| Row { as_of: self.tables.head, ..row });
        self.tables.carried = true;
        self.done.clear();
        true
    }

    pub fn is_current(&self, at: usize) -> bool {
        self.tables.same_log && self.replicas[at].applied.0 == self.tables.head.0
    }

    pub fn act(&mut self, act: Act) {
        let before = self.tables.clone();
        let (revision, version) = (self.advance(), self.make_version());
        match act {
            Act::Write(level) => self.tables.row = Some(Row { level, as_of: revision, version }),
            Act::Remove => {
                self.tables.row = None;
                self.tables.removed = Some(revision);
            }
        }
        let level = in_effect(self.tables.row);
        self.done.push(Done { revision, level, returned: false, promised: self.promised, before });
        self.next += 1;
        self.waiting = Some((revision, level));
    }

    /// Nobody who answers is of an earlier epoch, or without this revision.
    pub fn is_applied_by_all(&self, revision: Revision) -> bool {
        self.replicas.iter().all(|replica| !replica.serving || replica.applied >= revision)
    }

    pub fn answer(&mut self) {
        if let Some((revision, level)) = self.waiting.take() {
            if let Some(act) = self.done.iter_mut().find(|act| act.revision == revision) {
                act.returned = true;
            }
            self.promised = self.promised.min(level);
        }
    }

    /// The latest acts are lost: so many.
    pub fn lose(&mut self, count: usize) {
        let kept = self.done.len() - count;
        let lost = self.done.split_off(kept);
        if let Some(first) = lost.first() {
            self.tables = first.before.clone();
            self.promised = first.promised;
        }
        for act in lost.iter().filter(|act| act.returned) {
            let holds = |replica: &Replica| replica.joined && replica.applied >= act.revision;
            let holders = self.replicas.iter().enumerate().filter(|(_, replica)| holds(replica));
            let holders = holders.fold(0, |set, (at, _)| set | 1 << at);
            if self.replicas.iter().all(|replica| !replica.joined || holds(replica)) && holders != 0 {
                self.promised = self.promised.min(act.level);
            } else if holders != 0 {
                self.owed = Some((act.level, holders));
            }
        }
    }

    pub fn crash(&mut self, at: usize) {
        let has_carried_over = self.is_current(at);
        self.replicas[at] = Replica::gone();
        self.crashes_left -= 1;
        if let Some((level, holders)) = self.owed
            && !has_carried_over
        {
            let left = holders & !(1 << at);
            self.owed = (left != 0).then_some((level, left));
        }
    }

    /// Returns whether each replica with state has come into the epoch.
    pub fn is_settled(&self) -> bool {
        let mut places = 0..self.replicas.len();
        self.tables.same_log && places.all(|at| !self.replicas[at].joined || self.is_current(at))
    }

    /// Records whether an answered effect is missing on a replica that answers.
    pub fn judge(&mut self) {
        let laxest = self.replicas.iter().filter(|replica| replica.serving);
        let laxest = laxest.map(|replica| in_effect(replica.row)).max().unwrap_or_default();
        self.violated |= laxest > self.promised;
        if let Some((level, _)) = self.owed
            && self.is_settled()
            && self.tables.carried
        {
            self.violated |= in_effect(self.tables.row) > level;
        }
    }
}
