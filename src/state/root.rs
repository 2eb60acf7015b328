//! One root holds all that a replica answers from. A call takes it once, and anew after every
//! wait. Entries are added to the live root; it is never cleared: loading anew builds another,
//! which begins unfresh, and swaps it in.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use arc_swap::ArcSwap;

use crate::{
    clock::{BootMillis, Clock},
    token::{Revision, UnixSeconds},
};

use super::{Clients, Denylist, Entry, KeyRing, Marks, Policies, Reason, SessionFacts};

/// How long a root may be answered from after the log was last read.
pub const FRESHNESS_MS: i64 = 2_700;

/// Server and database clocks further apart than this: nobody mints or judges.
const CLOCK_SKEW_MAX_MS: i64 = 30_000;

/// Everything that is answered from memory.
pub struct Root {
    /// Until when the content is proven fresh, boot-clock milliseconds.
    deadline_ms: AtomicI64,
    /// When the log was last read, boot-clock milliseconds.
    read_ms: AtomicI64,
    /// The revision up to which the content is whole.
    applied: AtomicI64,
    /// Database clock minus wall clock, milliseconds.
    clock_offset_ms: AtomicI64,
    /// Revoked tokens, by `jti`.
    pub tokens: Denylist,
    /// Revoked sessions, by `sid`.
    pub sessions: Denylist,
    /// Wide revocations.
    pub marks: Marks,
    /// Policies.
    pub policies: ArcSwap<Policies>,
    /// Callers.
    pub clients: ArcSwap<Clients>,
    /// Keys.
    pub keys: ArcSwap<KeyRing>,
}

impl Root {
    /// A root whose content is whole up to `applied`, but not yet proven fresh.
    #[must_use]
    pub fn new(applied: Revision, policies: Policies, clients: Clients, keys: KeyRing) -> Self {
        Self {
            deadline_ms: AtomicI64::new(BootMillis::NEVER.get()),
            read_ms: AtomicI64::new(BootMillis::NEVER.get()),
            applied: AtomicI64::new(applied.as_i64()),
            clock_offset_ms: AtomicI64::new(0),
            tokens: Denylist::default(),
            sessions: Denylist::default(),
            marks: Marks::default(),
            policies: ArcSwap::from_pointee(policies),
            clients: ArcSwap::from_pointee(clients),
            keys: ArcSwap::from_pointee(keys),
        }
    }

    /// Adds one entry of the log. To apply an entry twice changes nothing.
    pub fn apply(&self, entry: Entry) {
        match entry {
            Entry::Token { id, expire_time, reason } => self.tokens.insert(id, expire_time, reason),
            Entry::Session { id, expire_time, reason } => self.sessions.insert(id, expire_time, reason),
            Entry::Mark(mark) => self.marks.insert(mark),
            Entry::MarkRemoved { kind, target, audience } => self.marks.remove(kind, &target, &audience),
        }
    }

    /// The revision up to which the content is whole.
    #[must_use]
    pub fn applied(&self) -> Revision {
        Revision::from_i64(self.applied.load(Ordering::Acquire)).unwrap_or(Revision::ZERO)
    }

    /// Says that everything up to here has been applied. After the entries, never before.
    pub fn publish(&self, applied: Revision) {
        self.applied.fetch_max(applied.as_i64(), Ordering::Release);
    }

    /// Says that the content was whole at a read of the log that was sent at `sent`.
    pub fn prove_fresh(&self, sent: BootMillis, clock_offset_ms: i64) {
        self.clock_offset_ms.store(clock_offset_ms, Ordering::Relaxed);
        self.read_ms.fetch_max(sent.get(), Ordering::Relaxed);
        self.deadline_ms.fetch_max(sent.plus_ms(FRESHNESS_MS).get(), Ordering::Release);
    }

    /// Says that nothing may be answered from this root any more.
    pub fn retire(&self) {
        self.deadline_ms.store(BootMillis::NEVER.get(), Ordering::Release);
    }

    /// Whether the content is proven fresh at `now`.
    #[must_use]
    pub fn is_fresh(&self, now: BootMillis) -> bool {
        now.get() < self.deadline_ms.load(Ordering::Acquire)
    }

    /// Milliseconds since the log was last read.
    #[must_use]
    pub fn age_ms(&self, now: BootMillis) -> i64 {
        now.since_ms(BootMillis::new(self.read_ms.load(Ordering::Relaxed)))
    }

    /// Database clock minus wall clock, milliseconds.
    #[must_use]
    pub fn clock_offset_ms(&self) -> i64 {
        self.clock_offset_ms.load(Ordering::Relaxed)
    }

    /// How far entries must be kept beyond what this server's clock says: where it is behind the
    /// database's, the tables would forget too early. Seconds.
    #[must_use]
    pub fn behind_s(&self) -> i64 {
        self.clock_offset_ms().max(0).div_euclid(1000).saturating_add(i64::from(self.clock_offset_ms() > 0))
    }

    /// The offset, where it is too large to mint or to judge.
    #[must_use]
    pub fn clock_skew_ms(&self) -> Option<i64> {
        let offset = self.clock_offset_ms();
        (offset.saturating_abs() > CLOCK_SKEW_MAX_MS).then_some(offset)
    }

    /// Why a session is revoked, by its id or by a mark, if it is.
    #[must_use]
    pub fn session_revoked(&self, session: SessionFacts<'_>) -> Option<Reason> {
        self.sessions.get(&session.id).or_else(|| self.marks.hit_session(session))
    }
}

/// What a call got at the gate: a root that was fresh after the call began, and the place and time
/// that everything it mints bears. Taken before any look-up: a mark that is acknowledged while the
/// call waits for something else must stand above it.
#[derive(Clone)]
pub struct Pass {
    /// The root.
    pub root: Arc<Root>,
    /// The `rev` of what this call mints.
    pub revision: Revision,
    /// The `iat` of what this call mints, milliseconds since the epoch; the claim is whole seconds.
    pub issue_time_ms: i64,
    /// When the gate was passed.
    pub entered: BootMillis,
}

impl Pass {
    /// The `iat` of what this call mints.
    #[must_use]
    pub fn issue_time(&self) -> UnixSeconds {
        UnixSeconds::new(self.issue_time_ms.div_euclid(1000))
    }
}

/// The one pointer to the root in force.
pub struct Roots {
    current: ArcSwap<Root>,
}

impl Roots {
    /// Begins with this root.
    #[must_use]
    pub fn new(root: Root) -> Self {
        Self { current: ArcSwap::from_pointee(root) }
    }

    /// The root in force, fresh or not.
    #[must_use]
    pub fn current(&self) -> Arc<Root> {
        self.current.load_full()
    }

    /// Puts another root in force; the old one is not answered from any more.
    pub fn swap(&self, root: Arc<Root>) {
        self.current.swap(root).retire();
    }

    /// Passes the gate, if the root is fresh now.
    #[must_use]
    pub fn enter(&self, clock: &Clock) -> Option<Pass> {
        let root = self.current.load_full();
        let entered = clock.boot();
        if !root.is_fresh(entered) {
            return None;
        }
        let revision = root.applied();
        Some(Pass { root, revision, issue_time_ms: clock.now_ms(), entered })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn root() -> Root {
        Root::new(Revision::ZERO, Policies::default(), Clients::default(), KeyRing::default())
    }

    #[test]
    fn a_root_is_not_fresh_before_the_log_was_read() {
        let clock = Clock::system();
        assert!(Roots::new(root()).enter(&clock).is_none());
    }

    #[test]
    fn e3_a_root_is_fresh_for_2_7_s_from_before_the_read_was_sent() {
        let root = root();
        let sent = BootMillis::new(1_000);
        root.prove_fresh(sent, 0);
        assert!(root.is_fresh(BootMillis::new(3_699)));
        assert!(!root.is_fresh(BootMillis::new(3_700)));
    }

    #[test]
    fn a_read_that_was_sent_earlier_never_shortens_nor_prolongs() {
        let root = root();
        root.prove_fresh(BootMillis::new(2_000), 0);
        root.prove_fresh(BootMillis::new(1_000), 0);
        assert!(root.is_fresh(BootMillis::new(4_699)));
        assert!(!root.is_fresh(BootMillis::new(4_700)));
    }

    #[test]
    fn a_root_that_was_replaced_is_not_answered_from() {
        let clock = Clock::system();
        let roots = Roots::new(root());
        let old = roots.current();
        old.prove_fresh(clock.boot(), 0);
        let pass = roots.enter(&clock).unwrap();
        roots.swap(Arc::new(root()));
        assert!(!pass.root.is_fresh(clock.boot()));
        assert!(roots.enter(&clock).is_none());
    }
}
