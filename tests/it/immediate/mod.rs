//! Immediate revocation under faults: real servers on a real Postgres, whose processes, connections and clocks fail.
//! Each test records calls and answers, and checks the history against the one promise: after a revocation was answered
//! as complete, no call that starts later, on any replica, is answered ACTIVE for its target.
//!
//! A tag such as M8 or N3 in a comment names the rule of the protocol (as its model numbers them) without which the
//! test fails.

mod barrier;
mod clocks;
mod cut_off;
mod database;
mod epoch_over;
mod epochs;
mod everywhere;
mod failover;
mod joined;
mod killed;
mod lease;
mod locks;
mod lost;
mod lost_issuers;
mod paused;
mod removed;
mod rules;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jeton::proto::v1 as pb;
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

use crate::world::{Answer, Asking, Caller, Fleet, LEASE, PATIENCE, Stopwatch, Target, Token, until};

/// The longest time that a revoker waits for a silent replica: W of the protocol, with room for a busy machine.
const W_AND_ROOM: Duration = Duration::from_millis(3_300 + 5_000);

/// Less than anybody takes who waits for a replica that says nothing.
const SWIFT: Duration = Duration::from_secs(2);

fn target(token: &Arc<Token>) -> Target {
    Target::Token(Arc::clone(token))
}

/// Revokes, and says how long it took while the machine ran. It must be complete; a refusal for now is asked again.
async fn timed(revoker: &mut Caller, token: &Arc<Token>) -> (pb::Propagation, Duration) {
    let begun = Instant::now();
    loop {
        let watch = Stopwatch::start();
        let answer = revoker.revoke(target(token)).await;
        let took = watch.ran();
        let for_now = answer.as_ref().is_err_and(crate::world::is_for_now);
        if !for_now || begun.elapsed() > PATIENCE {
            let propagation = answer.unwrap().propagation.unwrap();
            assert!(propagation.complete, "{propagation:?}");
            return (propagation, took);
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// The answer came when the lease of this replica was over, or its registration gone: it says so.
fn assert_waited((propagation, took): &(pb::Propagation, Duration), laggard: &str) {
    assert_eq!(propagation.laggards, [laggard], "{propagation:?}");
    assert!(*took < W_AND_ROOM, "{took:?}");
}

/// The answer came at once, from so many replicas.
fn assert_swift((propagation, took): &(pb::Propagation, Duration), replicas: i32) {
    assert_eq!((propagation.laggards.len(), propagation.replicas), (0, replicas), "{propagation:?}");
    assert!(*took < SWIFT, "{took:?}");
}

/// Waits until a new revocation is answered at once, from so many replicas. Returns how many revocations that took.
async fn is_swift(revoker: &mut Caller, replicas: i32) -> i64 {
    let begun = Instant::now();
    for made in 1.. {
        let token = revoker.token("user:swift").await;
        let (propagation, took) = timed(revoker, &token).await;
        if propagation.laggards.is_empty() && propagation.replicas == replicas && took < SWIFT {
            return made;
        }
        assert!(begun.elapsed() < PATIENCE, "each revocation waits: {took:?} {propagation:?}");
    }
    unreachable!("it ends or fails");
}

/// Asserts that all of these are revoked. A replica that has just lost its lease, or loads all tables again, is asked
/// again.
async fn assert_revoked(mut caller: Caller, tokens: &[Arc<Token>]) {
    for token in tokens {
        assert_eq!(caller.verdict(token).await, Answer::REVOKED);
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
        if answer.as_ref().is_ok_and(|it| it.propagation.as_ref().is_some_and(|it| it.complete)) {
            return;
        }
        // A database that starts, or a standby that takes over, takes its own time before.
        assert!(begun.elapsed() < 3 * PATIENCE, "no revocation is answered as complete: {answer:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Revokes these in lanes of so many, beginning on one replica each, while the world changes: each revocation is begun
/// when it is let, so that some are left for whatever is still to come.
fn revoke_when_let(fleet: &Fleet, tokens: &[Arc<Token>], lane: usize) -> (JoinSet<()>, Arc<Semaphore>) {
    let (mut tasks, let_go) = (JoinSet::new(), Arc::new(Semaphore::new(0)));
    for (turn, part) in tokens.chunks(lane).enumerate() {
        let (mut revokers, part, let_go) = (fleet.callers(), part.to_vec(), Arc::clone(&let_go));
        let count = revokers.len();
        revokers.rotate_left(turn % count);
        tasks.spawn(async move {
            for token in &part {
                let_go.acquire().await.unwrap().forget();
                revoke_somewhere(&mut revokers, token).await;
            }
        });
    }
    (tasks, let_go)
}

impl Fleet {
    /// The place of the log's head in its epoch.
    async fn head(&self) -> i64 {
        self.database.number("select seq from log_head").await
    }

    /// Returns whether the revocation of each of these by its jti is committed.
    async fn are_logged(&self, tokens: &[Arc<Token>]) -> bool {
        let ids: Vec<_> = tokens.iter().map(|token| format!("'{}'", token.jti)).collect();
        let logged = format!("select count(*) from revocation where id in ({})", ids.join(", "));
        self.database.number(&logged).await == tokens.len() as i64
    }

    /// The number of registered replicas.
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

    /// Waits until a replica answers again, and checks revoked and live tokens on it.
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

    /// The number of ACTIVE answers of a replica to calls that started after an instant.
    fn active_after(&self, place: usize, instant: Instant) -> usize {
        let name = self.name(place);
        let after = |start: Instant| start > instant;
        self.history.count(|call| call.replica == name && after(call.start) && call.answer == Answer::ACTIVE)
    }

    /// Waits until a replica that is asked all the time has answered more: so many calls that start from here on, which is
    /// several from each who asks. What it knows wrongly would show.
    async fn is_asked_on(&self, place: usize) {
        let (name, since) = (self.name(place), Instant::now());
        until("it is asked on", async || {
            self.history.count(|call| call.replica == name && call.start > since) >= 10
        })
        .await;
    }

    /// Asks a replica all the time, over several connections.
    fn ask(&self, place: usize, tokens: &[Arc<Token>]) -> Asking {
        Asking::start((0..3).map(|_| self.caller(place)), tokens)
    }
}
