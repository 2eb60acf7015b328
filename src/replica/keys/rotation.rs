//! Rotates the keys: each is published ahead, activated when it is due, and retired by the next one. The database
//! decides whether it is time, and one replica takes each step; the others find nothing to do.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    observe::Metrics,
    replica::{
        Keys, StoredKeyError,
        keys::{change::ANY_AGE_S, opening::SYSTEM},
    },
    state::{KeyLife, KeyRing, KeyState, Roots},
    store::Store,
};
use jeton_state::clock::Clock;
use jeton_token::{Algorithm, UnixSeconds};

/// The interval of looking at the keys in memory, which follow the log: a due step is taken soon.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The pause after a step that failed.
const STEP_AGAIN: Duration = Duration::from_secs(2);

/// The schedule of rotations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Schedule {
    every_s: i64,
    ahead_s: i64,
}

impl Default for Schedule {
    /// Every 30 days, published an hour ahead: service meshes fetch key sets every 20 minutes.
    fn default() -> Self {
        Self { every_s: 30 * 86_400, ahead_s: 3_600 }
    }
}

impl Schedule {
    /// The longest period, seconds: a schedule must not amount to no rotation.
    pub const EVERY_MAX_S: i64 = 366 * 86_400;
    /// The longest publication before a key signs. Seconds.
    pub const AHEAD_MAX_S: i64 = 7 * 86_400;

    /// A new key every `every_s` seconds, each published `ahead_s` before it signs.
    pub fn new(every_s: i64, ahead_s: i64) -> Result<Self, &'static str> {
        if !(1..=Self::AHEAD_MAX_S).contains(&ahead_s) {
            return Err("keys are published 1 s to 7 days ahead");
        }
        if every_s <= ahead_s || every_s > Self::EVERY_MAX_S {
            return Err(
                "the period of rotation is longer than keys are published ahead, and at most 366 days",
            );
        }
        Ok(Self { every_s, ahead_s })
    }

    /// Seconds from one rotation to the next.
    #[must_use]
    pub fn every_s(self) -> i64 {
        self.every_s
    }

    /// Seconds that a key is published before it signs.
    #[must_use]
    pub fn ahead_s(self) -> i64 {
        self.ahead_s
    }

    /// The time when a key that signs is to be replaced.
    #[must_use]
    pub fn end(self, life: &KeyLife) -> UnixSeconds {
        life.activate_time.saturating_add(self.every_s)
    }

    /// The age at which a key's successor is published, seconds.
    fn publish_at_s(self) -> i64 {
        self.every_s.saturating_sub(self.ahead_s)
    }
}

/// The next step for the keys of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// None yet.
    Rest,
    /// Publish a key, which signs `lead_s` later, unless the active key is younger than `older_than_s`.
    Publish { lead_s: i64, older_than_s: i64 },
    /// Activate the pending key.
    Activate,
}

/// The next step for the keys of one kind, of which at most one is active and one pending.
fn step(lives: &[KeyLife], now: UnixSeconds, schedule: Schedule) -> Step {
    let of = |state| lives.iter().find(|life| life.state == state);
    match (of(KeyState::Pending), of(KeyState::Active)) {
        (Some(pending), active) if active.is_none() || now >= pending.activate_time => Step::Activate,
        (None, None) => Step::Publish { lead_s: 0, older_than_s: ANY_AGE_S },
        (None, Some(active)) if now.since(active.activate_time) >= schedule.publish_at_s() => {
            Step::Publish { lead_s: schedule.ahead_s, older_than_s: schedule.publish_at_s() }
        }
        (Some(_), _) | (None, Some(_)) => Step::Rest,
    }
}

/// The task.
pub struct Rotation {
    /// The database.
    pub store: Store,
    /// The state in memory.
    pub roots: Arc<Roots>,
    /// The clocks.
    pub clock: Arc<Clock>,
    /// Makes keys.
    pub keys: Keys,
    /// The schedule.
    pub schedule: Schedule,
    /// The metrics.
    pub metrics: Arc<Metrics>,
}

impl Rotation {
    /// Rotates until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut failing = false;
        loop {
            let looked = tokio::select! {
                () = stop.cancelled() => return,
                looked = self.look() => looked,
            };
            match &looked {
                // The store logs that the database is away.
                Err(error) if !failing && !error.is_away() => {
                    tracing::error!(error = %error, "keys are not rotated by this replica");
                    failing = true;
                }
                Ok(()) if failing => tracing::info!("keys are rotated again"),
                Ok(()) | Err(_) => {}
            }
            failing &= looked.is_err();
            let pause = if looked.is_err() { STEP_AGAIN } else { LOOK_EVERY };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
    }

    /// Takes the due steps, by the state in memory. Not while the database's clock contradicts this one, nor without a
    /// lease: the replica's state may be long out of date.
    async fn look(&self) -> Result<(), StoredKeyError> {
        let root = self.roots.current();
        let (ring, signers) = (root.keys.load_full(), root.issuing.signers.load_full());
        let now_ms = self.clock.now_ms().saturating_add(root.clock_offset_ms());
        let now = UnixSeconds::new(now_ms.div_euclid(1000));
        self.measure(&ring, now);
        if root.clock_skew_ms().is_some() || !root.lease.is_held(self.clock.look()) {
            return Ok(());
        }
        let signing = [Algorithm::Es256, Algorithm::EdDsa].map(|algorithm| {
            let lives: Vec<_> = ring.of(algorithm).map(|record| record.life).collect();
            (algorithm, step(&lives, now, self.schedule))
        });
        // A MAC key whose row is refused is as good as none; signing keys whose rows are refused are not here.
        let good = signers.macs().iter().filter(|record| !record.refused);
        let mac = step(&good.map(|record| record.life).collect::<Vec<_>>(), now, self.schedule);
        let mut steps = signing.iter().map(|(_, step)| *step).chain([mac]);
        if steps.clone().any(|step| matches!(step, Step::Publish { .. })) {
            // Opens every key: a server that cannot must not add to them.
            self.keys.all(&self.store).await?;
        }
        for (algorithm, step) in signing {
            if let Step::Publish { lead_s, older_than_s } = step {
                let audit = self.keys.audit(SYSTEM, "PublishKey");
                self.keys.publish(&self.store, algorithm, lead_s, Some(older_than_s), &audit).await?;
            }
        }
        if let Step::Publish { lead_s, older_than_s } = mac {
            self.keys.publish_mac(&self.store, lead_s, older_than_s).await?;
        }
        if steps.any(|step| step == Step::Activate) {
            self.keys.activate_due(&self.store).await?;
        }
        if signers.macs().iter().any(|record| record.life.expire_time.is_some_and(|end| now > end)) {
            self.store.remove_mac_keys(&self.keys.audit(SYSTEM, "DeleteMacKeys")).await?;
        }
        Ok(())
    }

    fn measure(&self, ring: &KeyRing, now: UnixSeconds) {
        for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
            let mut lives = ring.of(algorithm).map(|record| record.life);
            if let Some(life) = lives.find(|life| life.state == KeyState::Active) {
                let left_s = self.schedule.end(&life).since(now);
                self.metrics.key(algorithm.as_str(), now.since(life.activate_time), left_s);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jeton_token::Revision;

    fn life(state: KeyState, activate_s: i64) -> KeyLife {
        let activate_time = UnixSeconds::new(activate_s);
        KeyLife { state, activate_time, expire_time: None, published: Revision::ZERO }
    }

    fn at(now_s: i64, lives: &[KeyLife]) -> Step {
        step(lives, UnixSeconds::new(now_s), Schedule { every_s: 100, ahead_s: 10 })
    }

    #[test]
    fn c1_a_key_is_published_ahead_signs_when_it_is_due_and_is_replaced_by_the_next() {
        let active = life(KeyState::Active, 1_000);
        assert_eq!(at(1_089, &[active]), Step::Rest);
        let ahead = Step::Publish { lead_s: 10, older_than_s: 90 };
        assert_eq!(at(1_090, &[active]), ahead);
        assert_eq!(at(9_000, &[active]), ahead, "however late");
        let pending = life(KeyState::Pending, 1_100);
        assert_eq!(at(1_099, &[active, pending]), Step::Rest);
        assert_eq!(at(1_100, &[active, pending]), Step::Activate);
        let retired = life(KeyState::Retired, 1_000);
        assert_eq!(at(1_101, &[retired, life(KeyState::Active, 1_100)]), Step::Rest);
    }

    #[test]
    fn c1_where_nothing_signs_the_next_key_is_due_at_once() {
        let none = Step::Publish { lead_s: 0, older_than_s: ANY_AGE_S };
        assert_eq!(at(1_000, &[]), none);
        let gone = [life(KeyState::Revoked, 900), life(KeyState::Retired, 800)];
        assert_eq!(at(1_000, &gone), none);
        assert_eq!(at(1_000, &[gone[0], life(KeyState::Pending, 5_000)]), Step::Activate);
    }

    #[test]
    fn a_schedule_publishes_ahead_within_its_period() {
        assert_eq!(Schedule::new(30 * 86_400, 3_600), Ok(Schedule::default()));
        for (every_s, ahead_s) in
            [(10, 10), (10, 0), (10, -1), (9, 10), (0, 1), (i64::MAX, 5), (i64::MAX, i64::MAX)]
        {
            assert!(Schedule::new(every_s, ahead_s).is_err(), "{every_s} {ahead_s}");
        }
        assert!(Schedule::new(Schedule::EVERY_MAX_S, Schedule::AHEAD_MAX_S).is_ok());
    }
}
