//! A revocation waits for every replica that may hold a lease from before it, whatever it says.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jeton::proto::v1::{RevocationOutcome, revocation_target::Kind};
use jeton_state::clock::Clock;
use jeton_token::new_uuid_v7;
use sqlx::{AssertSqlSafe, Executor};
use tonic::Code;

use super::{assert_swift, assert_waited, revoke_all, target, timed};
use crate::world::{
    Answer, Asking, Caller, FEED, Fleet, LEASE, Link, Stopwatch, Token, revoke_request, steady, until,
};

/// Appends that wait for the head of the log.
const BLOCKED: &str = "select count(*) from pg_stat_activity where application_name = 'jeton flusher'
                        and wait_event_type = 'Lock' and datname = current_database()";

/// `r0` revokes; `r1` is hindered, and asked all along.
struct Hindered {
    fleet: Fleet,
    revoker: Caller,
    token: Arc<Token>,
    asking: Asking,
    since: Instant,
}

impl Hindered {
    async fn by(hinder: impl FnOnce(&Link)) -> Self {
        let fleet = Fleet::start(2).await;
        let mut revoker = fleet.caller(0);
        let token = revoker.token("user:7").await;
        let asking = fleet.ask(1, &[Arc::clone(&token)]);
        until("it answers", async || fleet.active_after(1, token.issued) > 10).await;
        hinder(fleet.link_of(1));
        Self { fleet, revoker, token, asking, since: Instant::now() }
    }

    /// Revokes: `r1` has answered ACTIVE meanwhile, and is waited for.
    async fn revoke(&mut self) {
        assert_waited(&timed(&mut self.revoker, &self.token).await, "r1");
        assert!(
            self.fleet.active_after(1, self.since) > 0,
            "it held a lease: {}",
            self.fleet.history.tally()
        );
    }

    /// Nothing hinders it any more.
    async fn end(self) {
        // A lease that was adopted wrongly shows.
        self.fleet.is_asked_on(1).await;
        self.fleet.history.assert_no_stale_answer();
        self.fleet.link_of(1).resume(crate::world::ALL);
        until("it has read the log", async || self.fleet.history.answered(&Answer::REVOKED) > 0).await;
        self.asking.end().await;
        self.fleet.all_revoked(&[self.token]).await;
        self.fleet.history.assert_no_stale_answer();
    }
}

// M2: who says nothing is waited for. M8: a renewal is adopted only when its head is applied.
#[tokio::test]
async fn k1_a_replica_that_renews_but_does_not_read_the_log_is_waited_for_and_its_lease_ends() {
    steady(async || {
        let mut hindered = Hindered::by(|link| link.stall(FEED)).await;
        hindered.revoke().await;
        // It renews, and yet leaves: it is waited for once.
        hindered.fleet.has_registered(1).await;
        let next = hindered.revoker.token("user:8").await;
        assert_swift(&timed(&mut hindered.revoker, &next).await, 1);
        hindered.end().await;
    })
    .await;
}

// M16: a replica acknowledges entries that it has applied, not entries that it has heard of.
#[tokio::test]
async fn k1_a_replica_that_has_read_the_log_but_not_what_changed_with_it_is_waited_for() {
    steady(async || {
        let hindered = Hindered::by(|link| link.stall(FEED)).await;
        // One read finds both: the revocation, and a change whose table is read next.
        hindered.fleet.database.execute("select log_change(3::smallint, '')").await;
        let (mut revoker, link) = (hindered.revoker.clone(), hindered.fleet.link_of(1));
        let (revoked, ()) = tokio::join!(timed(&mut revoker, &hindered.token), async {
            let entries = format!("select count(*) from revocation where id = '{}'", hindered.token.jti);
            until("it is in the log", async || hindered.fleet.database.number(&entries).await == 1).await;
            link.hold_replies_to(FEED, "from signing_key");
            link.has_held(FEED).await;
        });
        assert_waited(&revoked, "r1");
        hindered.end().await;
    })
    .await;
}

// M12: no lease is judged by the database's clock.
#[tokio::test]
async fn k1_a_replica_whose_row_looks_old_is_waited_for_all_the_same() {
    steady(async || {
        let hinder = |link: &Link| {
            link.stall(LEASE);
            link.stall(FEED);
        };
        let mut hindered = Hindered::by(hinder).await;
        hindered
            .fleet
            .database
            .execute("update replica set beat_time = now() - interval '1 hour', start_time = now() - interval '1 hour' where name = 'r1'")
            .await;
        hindered.revoke().await;
        hindered.end().await;
    })
    .await;
}

// M5: a repeated revocation waits as the first one does.
#[tokio::test]
async fn k2_a_revocation_that_is_repeated_is_answered_only_when_it_is_in_effect_everywhere() {
    steady(async || {
        let mut hindered = Hindered::by(|link| link.stall(FEED)).await;
        let kind = target(&hindered.token);
        let first = hindered.revoker.revoked_without_waiting(kind.clone()).await;
        assert_eq!(first.outcome(), RevocationOutcome::Revoked);
        let propagation = first.propagation.unwrap();
        assert!(!propagation.complete, "{propagation:?}");
        let (mut caller, token) = (hindered.revoker.clone(), Arc::clone(&hindered.token));
        until("it is applied here", async || caller.validate(&token).await == Answer::REVOKED).await;
        let watch = Stopwatch::start();
        let again = hindered.revoker.revoked(kind).await;
        assert_eq!(again.outcome(), RevocationOutcome::AlreadyRevoked);
        assert_waited(&(again.propagation.unwrap(), watch.ran()), "r1");
        assert!(hindered.fleet.active_after(1, hindered.since) > 0, "{}", hindered.fleet.history.tally());
        hindered.end().await;
    })
    .await;
}

// M5, where the first answer never came.
#[tokio::test]
async fn k1_a_revocation_whose_caller_would_not_wait_is_safely_asked_for_again() {
    steady(async || {
        let mut hindered = Hindered::by(|link| link.stall(FEED)).await;
        let mut request = tonic::Request::new(revoke_request(Kind::Token(hindered.token.text.clone())));
        request.set_timeout(Duration::from_millis(600));
        let status = hindered.revoker.api.tokens.revoke(request).await.unwrap_err();
        assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&status.code()), "{status:?}");
        assert!(hindered.fleet.active_after(1, hindered.since) > 0, "{}", hindered.fleet.history.tally());
        let (mut caller, token) = (hindered.revoker.clone(), Arc::clone(&hindered.token));
        until("it is applied here", async || caller.validate(&token).await == Answer::REVOKED).await;
        let watch = Stopwatch::start();
        let again = hindered.revoker.revoked(target(&hindered.token)).await;
        assert_eq!(again.outcome(), RevocationOutcome::AlreadyRevoked);
        assert_waited(&(again.propagation.unwrap(), watch.ran()), "r1");
        hindered.end().await;
    })
    .await;
}

// M14: the rows of the replicas are read after the commit.
#[tokio::test]
async fn k1_a_replica_that_registers_while_a_revocation_commits_is_waited_for() {
    steady(async || {
        let fleet = Fleet::start(2).await;
        let mut revoker = fleet.caller(0);
        fleet.lose_registration(1).await;
        let token = revoker.token("user:7").await;
        let asking = fleet.ask(1, &[Arc::clone(&token)]);

        let mut lock = fleet.database.connect().await;
        lock.execute("begin; select seq from log_head for update").await.unwrap();
        let (mut caller, same) = (revoker.clone(), Arc::clone(&token));
        let revoking = tokio::spawn(async move { timed(&mut caller, &same).await });
        until("the append waits for the head", async || fleet.database.number(BLOCKED).await > 0).await;
        fleet.link_of(1).resume(LEASE);
        until("it holds a lease", async || fleet.active_after(1, token.issued) > 0).await;
        fleet.link_of(1).stall(FEED);
        lock.execute("commit").await.unwrap();
        let (propagation, _with_the_wait_for_the_lock) = revoking.await.unwrap();
        assert_waited(&(propagation, Duration::ZERO), "r1");
        fleet.is_asked_on(1).await;
        asking.end().await;
        fleet.history.assert_no_stale_answer();
        fleet.link_of(1).resume(FEED);
        until("it has read the log", async || fleet.caller(1).validate(&token).await == Answer::REVOKED)
            .await;
        fleet.history.assert_no_stale_answer();
    })
    .await;
}

// M3: the order of revisions is the order of commits.
#[tokio::test]
async fn k1_a_revocation_that_commits_late_is_missed_by_nobody() {
    let fleet = Fleet::start(3).await;
    let revoker = fleet.caller(0);
    let late = revoker.clone().token("user:7").await;
    let others = revoker.tokens("user:8", 20).await;
    // As by a flusher whose replica is slow between the append and its commit.
    let audit_id = new_uuid_v7(Clock::system().now_ms());
    let append = format!(
        "begin; select append_revocations(array['{audit_id}']::uuid[], array[1]::smallint[], array['{}']::uuid[],
            array[null]::text[], array[null]::text[], array[0]::bigint[], array[0]::smallint[],
            array[extract(epoch from now())::bigint + 86400], array['test'], array['Revoke'], array[null]::text[],
            array[null]::uuid[], array[null]::uuid[], array[null]::text[], array[''], array[''], array['OK'],
            array[null]::text[], array[null]::text[], array[null]::bigint[], null, null, array[null]::bytea[])",
        late.jti
    );
    let mut pending = fleet.database.connect().await;
    pending.execute(AssertSqlSafe(append)).await.unwrap();
    let revoking = {
        let others = others.clone();
        let (here, there) = (fleet.caller(1), fleet.caller(2));
        tokio::spawn(async move {
            tokio::join!(revoke_all(&here, &others[..10]), revoke_all(&there, &others[10..]));
        })
    };
    // None overtakes it: later appends wait behind it.
    until("both wait for the head", async || fleet.database.number(BLOCKED).await == 2).await;
    assert_eq!(fleet.history.answered(&Answer::Revoked { complete: true }), 0, "it is not committed");
    assert_eq!(revoker.clone().verdict(&late).await, Answer::ACTIVE, "nor is this one");
    pending.execute("commit").await.unwrap();
    revoking.await.unwrap();
    fleet.all_revoked(&others).await;
    for mut caller in fleet.callers() {
        until("the late one is applied", async || caller.validate(&late).await == Answer::REVOKED).await;
    }
    fleet.history.assert_no_stale_answer();
}
