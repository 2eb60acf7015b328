//! Immediate revocation under faults: real servers on a real Postgres, whose processes, connections and clocks fail.
//! Each test records what was called and answered, and holds the history to the one promise: when a revocation was
//! answered as complete, no call that starts later, on any replica, is answered ACTIVE for what it hit.
//!
//! A tag such as M8 or N3 in a comment names the rule of the protocol (as its model numbers them) without which the
//! test fails.

mod barrier;
mod clocks;
mod cut_off;
mod database;
mod epochs;
mod everywhere;
mod failover;
mod joined;
mod killed;
mod lease;
mod paused;
mod rules;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jeton::proto::v1 as pb;
use tokio::{task::JoinSet, time::sleep};

use crate::world::{Answer, Asking, Caller, Fleet, LEASE, Target, Token, until};

/// How long a revoker waits at most for a replica that says nothing: W of the protocol, with room for a busy machine.
const W_AND_ROOM: Duration = Duration::from_millis(3_300 + 2_500);

/// How long something is waited for that must come about.
const PATIENCE: Duration = Duration::from_secs(30);

fn target(token: &Arc<Token>) -> Target {
    Target::Token(Arc::clone(token))
}

/// Revokes, and says how long it took. It must be complete.
async fn timed(revoker: &mut Caller, token: &Arc<Token>) -> (pb::Propagation, Duration) {
    let asked = Instant::now();
    let revoked = revoker.revoke(target(token)).await.unwrap();
    let propagation = revoked.propagation.unwrap();
    assert!(propagation.complete, "{propagation:?}");
    (propagation, asked.elapsed())
}

/// The answer came when the lease of this replica was over, or its registration gone: it says so.
fn assert_waited(propagation: &pb::Propagation, laggard: &str) {
    assert_eq!(propagation.laggards, [laggard], "{propagation:?}");
}

/// All of these are revoked. A replica that has just lost its lease, or loads anew, is asked again.
async fn assert_revoked(mut caller: Caller, tokens: &[Arc<Token>]) {
    for token in tokens {
        let begun = Instant::now();
        let mut answer = caller.validate(token).await;
        while answer.is_stale_state() && begun.elapsed() < PATIENCE {
            sleep(Duration::from_millis(20)).await;
            answer = caller.validate(token).await;
        }
        assert_eq!(answer, Answer::REVOKED);
    }
}

/// Revokes each of these at once, on one replica. All must be complete; a refusal on a busy machine is asked again.
async fn revoke_all(revoker: &Caller, tokens: &[Arc<Token>]) {
    let mut tasks = JoinSet::new();
    for token in tokens {
        let (revoker, token) = (revoker.clone(), Arc::clone(token));
        tasks.spawn(async move { revoke_somewhere(&mut [revoker], &token).await });
    }
    tasks.join_all().await;
}

/// Revokes until it is answered as complete, on one replica after the other: to repeat it is safe.
async fn revoke_somewhere(revokers: &mut [Caller], token: &Arc<Token>) {
    let begun = Instant::now();
    for place in (0..revokers.len()).cycle() {
        let answer = revokers[place].revoke(target(token)).await;
        if answer.is_ok_and(|revoked| revoked.propagation.is_some_and(|it| it.complete)) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "no revocation is answered as complete");
        sleep(Duration::from_millis(20)).await;
    }
}

impl Fleet {
    /// How many replicas are registered.
    async fn registered(&self) -> i64 {
        self.database.number("select count(*) from replica").await
    }

    /// Waits until so many are.
    async fn has_registered(&self, count: i64) {
        until("as many replicas are registered", async || self.registered().await == count).await;
    }

    /// A replica that serves, and is registered no more until its lease's connection is resumed.
    async fn lose_registration(&self, place: usize) {
        let before = self.registered().await;
        self.link_of(place).stall(LEASE);
        self.has_registered(before - 1).await;
    }

    /// Waits until a replica answers again, and holds it to what was revoked and what was not.
    async fn is_back(&self, place: usize, good: &Arc<Token>, revoked: &[Arc<Token>]) {
        let mut caller = self.caller(place);
        until("the replica is back", async || caller.validate(good).await == Answer::ACTIVE).await;
        assert_revoked(caller, revoked).await;
    }

    /// Asks each replica about each of these: all must be revoked.
    async fn all_revoked(&self, tokens: &[Arc<Token>]) {
        let mut tasks = JoinSet::new();
        for caller in self.callers() {
            let tokens = tokens.to_vec();
            tasks.spawn(async move { assert_revoked(caller, &tokens).await });
        }
        tasks.join_all().await;
    }

    /// How often a replica answered ACTIVE to calls that started after an instant.
    fn active_after(&self, place: usize, instant: Instant) -> usize {
        let name = self.name(place);
        let after = |start: Instant| start > instant;
        self.history.count(|call| call.replica == name && after(call.start) && call.answer == Answer::ACTIVE)
    }

    /// Asks a replica all the time, over several connections.
    fn ask(&self, place: usize, tokens: &[Arc<Token>]) -> Asking {
        Asking::start((0..3).map(|_| self.caller(place)), tokens)
    }
}
