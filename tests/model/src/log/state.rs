//! The state of the model of the leased log: a database, replicas, revokers and one call.

/// A place in the log. Compares by epoch first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    pub epoch: u8,
    pub number: u8,
}

/// The epoch that everything begins in.
pub const FIRST_EPOCH: u8 = 1;

impl Revision {
    /// Before every entry.
    pub const FIRST: Self = Self { epoch: FIRST_EPOCH, number: 0 };
}

/// A token that was revoked, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    pub revision: Revision,
    pub token: u8,
}

/// A set of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tokens(u8);

impl Tokens {
    pub const NONE: Self = Self(0);

    pub fn has(self, token: u8) -> bool {
        self.0 & (1 << token) != 0
    }

    pub fn add(&mut self, token: u8) {
        self.0 |= 1 << token;
    }

    pub fn remove(&mut self, token: u8) {
        self.0 &= !(1 << token);
    }

    pub fn contains_all(self, other: Self) -> bool {
        self.0 | other.0 == self.0
    }
}

/// A replica's row in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Registration {
    pub present: bool,
    pub epoch: u8,
    pub acknowledged: Revision,
    /// Ticks until a reaper may remove it.
    pub silent_for: u8,
}

impl Registration {
    /// No row.
    pub const NONE: Self =
        Self { present: false, epoch: FIRST_EPOCH, acknowledged: Revision::FIRST, silent_for: 0 };
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Database {
    pub head: Revision,
    /// In the order of their commits.
    pub entries: Vec<Entry>,
    /// The next number of the sequence, if commits do not number the log.
    pub next_number: u8,
    /// The server is on the timeline that the log was written in.
    pub same_log: bool,
    /// Some replica has known the epoch for as long as a revoker waits.
    pub settled: bool,
    /// Ticks until a replica that starts takes the epoch for settled, where it does so by itself.
    pub fresh_for: u8,
    /// A few for each replica, one after the other: one for each start.
    pub registrations: Vec<Registration>,
}

/// The state that a replica answers from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Root {
    pub applied: Revision,
    pub denied: Tokens,
    /// Ticks that the lease still holds.
    pub lease: u8,
}

impl Root {
    /// Without content and without a lease.
    pub const EMPTY: Self = Self { applied: Revision::FIRST, denied: Tokens::NONE, lease: 0 };
}

/// A renewal under way. Its age counts from before it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Renewal {
    None,
    Sent {
        age: u8,
    },
    /// The statement's snapshot has been taken, the row not yet written.
    HeadRead {
        age: u8,
        head: Revision,
    },
    Replied {
        age: u8,
        head: Revision,
    },
}

impl Renewal {
    pub fn age_mut(&mut self) -> Option<&mut u8> {
        match self {
            Self::None => None,
            Self::Sent { age } | Self::HeadRead { age, .. } | Self::Replied { age, .. } => Some(age),
        }
    }

    pub fn age(self) -> Option<u8> {
        match self {
            Self::None => None,
            Self::Sent { age } | Self::HeadRead { age, .. } | Self::Replied { age, .. } => Some(age),
        }
    }
}

/// Ticks of a sound clock that pass between two that a slow one misses.
pub const TICKS_BETWEEN_MISSED: u8 = 2;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replica {
    /// The number of its restarts.
    pub restarts: u8,
    pub epoch: u8,
    /// Ticks until it has known the epoch for as long as a revoker waits.
    pub unsettled_for: u8,
    /// It has registered since its start: it has state.
    pub joined: bool,
    pub root: Root,
    /// The next root, as of the snapshot that it was read in.
    pub next_root: Option<Root>,
    pub renewal: Renewal,
    /// Ticks since its clock missed one.
    pub since_missed: u8,
    /// The head that a joiner read before it registered.
    pub early_head: Option<Revision>,
    /// The tokens that it knows to be revoked everywhere.
    pub stable: Tokens,
}

impl Replica {
    /// Just started: it has read nothing.
    pub fn started(restarts: u8) -> Self {
        Self {
            restarts,
            epoch: FIRST_EPOCH,
            unsettled_for: 0,
            joined: false,
            root: Root::EMPTY,
            next_root: None,
            renewal: Renewal::None,
            since_missed: TICKS_BETWEEN_MISSED,
            early_head: None,
            stable: Tokens::NONE,
        }
    }
}

/// A call of Revoke.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Revoke {
    Idle,
    /// Has read the registrations before its commit.
    ReadEarly {
        awaited: u16,
    },
    /// Has drawn a number before its commit.
    Numbered {
        number: u8,
    },
    /// Its timer runs from the commit.
    Committed {
        revision: Revision,
        timer: u8,
    },
    /// Waits for the registrations of this set.
    Waiting {
        revision: Revision,
        timer: u8,
        awaited: u16,
    },
    Returned,
    /// Answered with an error, or not at all.
    Failed,
}

/// The progress of the one call of Validate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    Started,
    /// Waits for a renewal.
    Joined,
    Checked,
    LookedUp {
        active: bool,
    },
}

/// A call of Validate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    pub stage: Stage,
    pub replica: u8,
    pub token: u8,
    /// Its root, where another has taken that one's place since.
    pub former_root: Option<Root>,
    /// Began after Revoke had returned.
    pub after_revoke: bool,
    /// It began after a caller had been answered REVOKED.
    pub after_revoked_seen: bool,
}

/// Events that were seen: so that the rest does not hold only because they are missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Witnessed {
    pub returned_by_acknowledgements: bool,
    pub returned_by_waiting: bool,
    pub answered_active: bool,
    pub answered_revoked_after_revoke: bool,
    pub answered_revoked_after_restart: bool,
    pub answered_revoked_in_a_later_epoch: bool,
}

/// Faults that may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mishaps {
    /// Crashes of replicas, in all.
    pub crashes: u8,
    /// Crashes of the database.
    pub database_crashes: u8,
    /// Failovers to another server.
    pub failovers: u8,
    /// Steps of the database's clock.
    pub clock_steps: u8,
    /// Replicas that leave, and may come back.
    pub leaves: u8,
    /// Roots built again while the former is in use.
    pub loads: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub database: Database,
    pub replicas: Vec<Replica>,
    pub revokes: Vec<Revoke>,
    pub call: Option<Call>,
    /// Tokens whose Revoke has returned.
    pub returned: Tokens,
    /// Those of them that the database has lost and not every replica held: nothing is promised of them.
    pub lost: Tokens,
    /// Tokens for which a caller was answered REVOKED.
    pub seen: Tokens,
    /// A call that began after Revoke had returned was answered ACTIVE.
    pub violated: bool,
    /// A call that began after a caller was answered REVOKED was answered ACTIVE.
    pub inverted: bool,
    pub mishaps: Mishaps,
    pub witnessed: Witnessed,
}
