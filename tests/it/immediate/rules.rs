//! Rules of the protocol that no answer shows unless everything else fails, each held by itself.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jeton::{
    mint::MasterKey,
    observe::Metrics,
    proto::v1 as pb,
    replica::{
        Feed, Fleet as Others, Flusher, Following, Keys, LeaseHandle, LeaseRenewer, Loader, Registered,
    },
    state::{Reason, Roots},
    store::{AppendTarget, NewAudit, NewRevocation, ReplicaIdentity, Store, StoreError, Task},
};
use jeton_state::clock::Clock;
use jeton_token::{Revision, UnixSeconds, new_uuid_v7};
use sqlx::Executor;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::world::{
    AS_JETON, Database, FEED, Link, POOL, Refused, Server, ServerOptions, Stopwatch, World, master_key_text,
    steady, until,
};

/// The longest time of a lease, by a revoker's clock.
const LEASE_OVER: Duration = Duration::from_millis(3_300);

fn audit(action: &'static str) -> NewAudit {
    NewAudit::new(new_uuid_v7(Clock::system().now_ms()), "test", action)
}

// M11: if a crash lost a registration, nobody would wait for its lease.
#[tokio::test]
async fn k9_registrations_are_as_durable_as_revocations() {
    let database = Database::create().await;
    for table in ["replica", "log_head", "mark"] {
        let logged =
            format!("select count(*) from pg_class where oid = '{table}'::regclass and relpersistence = 'p'");
        assert_eq!(database.number(&logged).await, 1, "{table}");
    }
}

/// A replica's memory, that has read the log once, and does not go on.
async fn follower(world: &World) -> (Arc<Clock>, Following, Registered) {
    follower_by(world.store()).await
}

async fn follower_by(store: Store) -> (Arc<Clock>, Following, Registered) {
    let (clock, registered) = (Arc::new(Clock::system()), Registered::default());
    let keys = Keys::new(MasterKey::parse(&master_key_text()).unwrap(), Arc::clone(&clock));
    let loader = Loader::new(keys, Arc::clone(&clock));
    let metrics = Metrics::register(&[], &[], &[]);
    let started = Feed::start(store, loader, Arc::clone(&clock), metrics, registered.clone()).await;
    (clock, started.unwrap(), registered)
}

/// A replica's memory with its lease, in this process.
struct Leaseholder {
    roots: Arc<Roots>,
    clock: Arc<Clock>,
    renewals: LeaseHandle,
    feed: Feed,
    /// Ends the lease, and waits for that.
    leaving: CancellationToken,
    ended: JoinHandle<()>,
}

impl Leaseholder {
    /// Registered, and holding its lease.
    async fn join(world: &World) -> Self {
        let (clock, Following { feed, handle, roots, .. }, registered) = follower(world).await;
        let identity = ReplicaIdentity { name: "guest".to_owned(), ..ReplicaIdentity::default() };
        let connection = world.store().connection_of(Task::Lease);
        let (lease, renewals) = LeaseRenewer::new(
            Arc::clone(&roots),
            Arc::clone(&clock),
            connection,
            handle,
            identity,
            registered,
        );
        let leaving = CancellationToken::new();
        let ended = tokio::spawn(lease.run(leaving.clone()));
        assert!(renewals.join().await);
        assert!(roots.snapshot(&clock).is_some());
        Self { roots, clock, renewals, feed, leaving, ended }
    }
}

// M15, M13: a renewal that another database answers, or this one on another timeline, says nothing.
#[tokio::test]
async fn k9_a_lease_is_not_renewed_where_the_log_was_not_written() {
    steady(async || {
        for change in ["timeline = 'FFFFFFFF'", "system_identifier = 1", "place = '1 2 3'"] {
            let world = World::start().await;
            let guest = Leaseholder::join(&world).await;
            // Nobody begins an epoch meanwhile.
            drop(world.server);
            world.database.execute(&format!("update log_head set {change}, {AS_JETON}")).await;
            assert!(!guest.renewals.join().await, "{change}");
            drop(guest.feed);
        }
    })
    .await;
}

// E17: registrations that are read elsewhere than where a revocation was committed say nothing.
#[tokio::test]
async fn k1_only_the_log_that_a_revocation_stands_in_says_who_has_applied_it() {
    steady(async || {
        let world = World::start().await;
        let head = Revision::new(1, world.number("select seq from log_head").await).unwrap();
        // The epoch is known, and settled.
        let epoch = follower(&world).await.1.epoch;
        // Nobody is there to be waited for.
        drop(world.server);
        world.database.execute("delete from replica").await;
        let ask = async |revision: Revision| {
            let (clock, store) = (Arc::new(Clock::system()), crate::world::store(&world.database.url));
            let connection = store.connection_of(Task::Fleet);
            let (fleet, others) =
                Others::new(Arc::clone(&clock), connection, Registered::default(), epoch.clone());
            let stop = CancellationToken::new();
            tokio::spawn(fleet.run(stop.clone()));
            // By the clock that the promise is about: it counts in whole milliseconds.
            let committed = clock.boot();
            let mut seen = others.follow(revision, committed).unwrap();
            assert!(seen.wait_for(|seen| seen.complete).await.is_ok());
            stop.cancel();
            Duration::from_millis(clock.boot().since_ms(committed).try_into().unwrap())
        };
        // At once, however often it takes to see that on a machine that stands still.
        until("nobody waits for who is not there", async || ask(head).await < LEASE_OVER).await;
        let later = ask(Revision::new(1, head.seq() + 1).unwrap()).await;
        assert!(later >= LEASE_OVER, "{later:?}");
        world.database.execute(&format!("update log_head set timeline = 'FFFFFFFF', {AS_JETON}")).await;
        let foreign = ask(head).await;
        assert!(foreign >= LEASE_OVER, "{foreign:?}");
    })
    .await;
}

// N4: an append to a log that has lost its end is not acknowledged under revisions that others know.
#[tokio::test]
async fn k9_an_append_below_what_was_read_waits_for_another_epoch() {
    steady(async || {
        let world = World::start().await;
        let (_clock, following, _registered) = follower(&world).await;
        drop(world.server);
        world.database.execute(&format!("update log_head set seq = seq - 2, {AS_JETON}")).await;
        let connection = crate::world::store(&world.database.url).connection_of(Task::Flusher);
        let (flusher, _task) = Flusher::start(connection, following.handle.clone(), following.roots);
        let id = new_uuid_v7(Clock::system().now_ms());
        let item = NewRevocation {
            target: AppendTarget::Token(id),
            reason: Reason::Leaked,
            expire_time: UnixSeconds::new(Clock::system().now_s() + 600),
            audit: audit("Revoke"),
        };
        let before = world.database.number("select seq from log_head").await;
        let appended = flusher.append(item).await.unwrap();
        assert!(matches!(appended, Err(StoreError::ForeignLog)), "{appended:?}");
        assert_eq!(world.database.number("select seq from log_head").await, before + 1, "and not sent on");
    })
    .await;
}

// C17: who has only just read the tables would pass for one who had held more.
#[tokio::test]
async fn k13_a_server_that_is_not_registered_yet_carries_nothing_over() {
    let world = World::start().await;
    let link = Link::start(&world.database.url).await;
    let (_clock, following, _registered) = follower_by(crate::world::store(&link.url)).await;
    drop(world.server);
    let begin = format!("update log_head set epoch = 2, seq = 0, {AS_JETON}");
    world.database.execute(&begin).await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(following.feed.run(stop.clone()));
    // It looks again and again for a replica that has.
    link.more_round_trips(FEED, 20).await;
    assert_eq!(world.database.number("select carried_epoch from log_head").await, 1);
    assert_eq!(following.roots.current().applied().epoch(), 1);
    world.database.execute(&format!("update log_head set carried_epoch = 2, {AS_JETON}")).await;
    until("it loads all tables again", async || following.roots.current().applied().epoch() == 2).await;
    stop.cancel();
    running.await.unwrap();
}

// M18: a replica that leaves answers nothing from the moment on that others stop waiting for it.
#[tokio::test]
async fn e4_a_lease_has_ended_before_its_registration_goes() {
    steady(async || {
        const GUESTS: &str = "select count(*) from replica where name = 'guest'";
        let world = World::start().await;
        let guest = Leaseholder::join(&world).await;
        let following = CancellationToken::new();
        tokio::spawn(guest.feed.run(following.clone()));
        // Its row cannot go yet.
        let mut lock = world.database.connect().await;
        lock.execute("begin; lock table replica in share mode").await.unwrap();
        let asked = Stopwatch::start();
        guest.leaving.cancel();
        until("the lease has ended", async || guest.roots.snapshot(&guest.clock).is_none()).await;
        assert!(asked.ran() < Duration::from_secs(2), "it did not end by itself: {:?}", asked.ran());
        assert_eq!(world.number(GUESTS).await, 1);
        lock.execute("commit").await.unwrap();
        guest.ended.await.unwrap();
        assert_eq!(world.number(GUESTS).await, 0);
        following.cancel();
    })
    .await;
}

// E11: of two replicas that find the same, one begins an epoch.
#[tokio::test]
async fn k9_an_epoch_is_begun_once() {
    steady(async || {
        let world = World::start().await;
        let store = world.store();
        let (mut one, mut other) = (store.connection_of(Task::Feed), store.connection_of(Task::Feed));
        let (begin, again) = (audit("BeginEpoch"), audit("BeginEpoch"));
        let (first, second) = tokio::join!(one.begin_epoch(1, 2, &begin), other.begin_epoch(1, 2, &again));
        assert_ne!(first.unwrap(), second.unwrap(), "one of both");
        assert_eq!(world.number("select epoch from log_head").await, 2);
        assert_eq!(world.audited("action = 'BeginEpoch'").await, 1);
    })
    .await;
}

/// A registration that another is read of each time that it is looked at.
const CARRYING: &str = "alter table replica rename to replicas;
    create view replica as select id, name, version, address, epoch,
        case when name = 'carrying' then (extract(epoch from clock_timestamp()) * 1000000)::bigint else beat end as beat,
        beat_time, start_time, issuer, master_key, rotate_every_s, publish_ahead_s, clock_offset_ms from replicas;
    insert into replicas (id, name, version, address, epoch, beat, beat_time, start_time)
        values ('00000000-0000-7000-8000-000000000001', 'carrying', '', '', 1, 0, now(), now());
    update log_head set place = log_place(), written_by = pg_current_xact_id()";
/// It has brought its state, and left.
const CARRIED: &str = "begin; drop view replica; alter table replicas rename to replica;
    delete from replica; update log_head set settled_epoch = 2, place = log_place(), written_by = pg_current_xact_id();
    commit";
/// Round trips of looks, two each five times a second, in about the time that a lease can last.
const LOOKS: i64 = 30;

// E14: who has no state waits for those who carry theirs over.
#[tokio::test]
async fn k9_a_server_does_not_start_in_an_epoch_that_others_are_still_bringing_their_state_to() {
    let database = Database::create().await;
    database.execute(&format!("update log_head set epoch = 2, seq = 0, carried_epoch = 2, {AS_JETON}")).await;
    // Its registration is renewed for every look: however long the pause between looks, it does not stand still.
    database.execute(CARRYING).await;
    let (link, directory) = (Link::start(&database.url).await, tempfile::tempdir().unwrap());
    let options = ServerOptions::default();
    let starting = Server::start(&link.url, directory.path(), &options);
    let carried = async {
        link.more_round_trips(FEED, 2).await;
        // Its next step begins with its keys, which it reads through the pool.
        let before = link.round_trips(POOL);
        // Longer than one would be waited for that stands still, and as often as it is looked within that.
        let begun = Instant::now();
        link.more_round_trips(FEED, LOOKS).await;
        until("it has waited for long enough", async || begun.elapsed() > 2 * LEASE_OVER).await;
        assert_eq!(link.round_trips(POOL), before, "it has not waited");
        database.execute(CARRIED).await;
    };
    tokio::join!(starting, carried);
}

// E16: where an epoch has just begun, the rows may not show who holds a lease of the one before.
#[tokio::test]
async fn k1_in_a_fresh_epoch_a_revocation_waits_as_long_as_a_lease_can_last() {
    steady(async || {
        let world = World::start().await;
        let mut api = world.api("service").await;
        let token = api.token("user:7", "api").await;
        let mut connection = world.store().connection_of(Task::Feed);
        let begun = Instant::now();
        assert!(connection.begin_epoch(1, 2, &audit("BeginEpoch")).await.unwrap());
        let target = pb::revocation_target::Kind::Token(token.access_token);
        let mut revoked = None;
        until("it is revoked", async || {
            revoked = api.revoke(target.clone()).await.ok();
            revoked.is_some()
        })
        .await;
        let revoked = revoked.unwrap();
        assert!(revoked.revision.starts_with("2."), "{revoked:?}");
        assert!(begun.elapsed() >= LEASE_OVER, "{:?}", begun.elapsed());
        // Settled from then on.
        until("the epoch is settled", async || world.number("select settled_epoch from log_head").await == 2)
            .await;
    })
    .await;
}

// S13, S18: a token that is signed late would be below marks that are no longer compared with it.
#[tokio::test]
async fn k1_a_refresh_that_takes_longer_than_a_lease_lasts_is_abandoned() {
    steady(async || {
        let world = World::start().await;
        let api = world.api("service").await;
        for ahead in [false, true] {
            let session = api.clone().session("user:7", "api").await;
            let id = &session.session_id;
            if ahead {
                // The session was opened at a later revision than this replica has read: it takes another snapshot.
                world.sql(&format!("update session set revision = revision + 1000 where id = '{id}'")).await;
            }
            let mut lock = world.database.connect().await;
            let hold = format!("begin; select 1 from session where id = '{id}' for update");
            lock.execute(sqlx::AssertSqlSafe(hold)).await.unwrap();
            let refresh_token = session.refresh.unwrap().refresh_token;
            let (mut late, presented) = (api.clone(), refresh_token.clone());
            let refreshing = tokio::spawn(async move { late.refresh(&presented).await });
            until("it waits for the row", async || world.refreshes_that_wait().await == 1).await;
            // This is about time: a token that is signed later than 3 s after its lease check is not handed out.
            tokio::time::sleep(LEASE_OVER).await;
            lock.execute("commit").await.unwrap();
            let refused = refreshing.await.unwrap().refused();
            assert_eq!(refused.reason, "STORE_UNAVAILABLE", "ahead: {ahead}");
            // Nothing is lost: a retry gets the successor that was not handed out.
            api.clone().refresh(&refresh_token).await.unwrap();
        }
    })
    .await;
}
