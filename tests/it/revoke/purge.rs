//! Entries are forgotten when no token that they hit can be live, and not before.

use std::sync::Arc;

use jeton::{
    mint::MasterKey,
    observe::Metrics,
    proto::v1::{TokenStatus, revocation_target::Kind},
    replica::{Feed, Following, Housekeeping, Keys, LeaseHandle, LeaseRenewer, Loader, Registered},
    state::{Entry, Roots},
    store::{AppendTarget, NewRevocation, ReplicaIdentity, Store, Task},
};
use jeton_state::clock::Clock;
use jeton_token::{Revision, UnixSeconds, new_uuid_v7};
use jiff::Timestamp;
use sqlx::{Connection, Executor};
use tokio_util::sync::CancellationToken;

use super::{REVOCATIONS, durable::item, is_active, refresh_token, text};
use crate::world::{Database, Refused, World, master_key_text, now_s, until};

/// A second replica's memory and housekeeping, in this process.
struct House {
    keeping: Housekeeping,
    roots: Arc<Roots>,
    lease: LeaseHandle,
    store: Store,
    stop: CancellationToken,
}

impl House {
    async fn of(world: &World) -> Self {
        Self::with_clock(world, Clock::system()).await
    }

    async fn with_clock(world: &World, clock: Clock) -> Self {
        let (store, clock) = (world.store(), Arc::new(clock));
        let master = MasterKey::parse(&master_key_text()).unwrap();
        let keys = Keys::new(master, Arc::clone(&clock));
        let loader = Loader::new(keys.clone(), Arc::clone(&clock));
        let metrics = Metrics::register(&[], &[], &[]);
        let registered = Registered::default();
        let Following { feed, handle, roots, .. } =
            Feed::start(store.clone(), loader, Arc::clone(&clock), Arc::clone(&metrics), registered.clone())
                .await
                .unwrap();
        let identity = ReplicaIdentity { name: "house".to_owned(), ..ReplicaIdentity::default() };
        let (renewing, lease) = LeaseRenewer::new(
            Arc::clone(&roots),
            Arc::clone(&clock),
            store.connection_of(Task::Lease),
            handle,
            identity,
            registered,
        );
        let stop = CancellationToken::new();
        tokio::spawn(feed.run(stop.clone()));
        tokio::spawn(renewing.run(stop.clone()));
        let keeping = Housekeeping { store: store.clone(), roots: Arc::clone(&roots), clock, metrics };
        Self { keeping, roots, lease, store, stop }
    }

    /// One round; then the entries that it appended are read.
    async fn round(&self) {
        self.hold_a_lease().await;
        self.keeping.round().await;
        self.hold_a_lease().await;
    }

    /// Waits for a renewal that is sent from now on: earlier entries are in memory then.
    async fn hold_a_lease(&self) {
        until("it holds a lease", async || self.lease.join().await).await;
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

const MARKS: &str = "select count(*) from mark";
const EXPIRE_MARKS: &str = "update mark set expire_time = now() - interval '1 second'";

fn subject(name: &str) -> Kind {
    Kind::Subject(name.to_owned())
}

#[tokio::test]
async fn k6_the_sweep_writes_what_entries_and_marks_hit_and_nothing_else() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let house = House::of(&world).await;
    let by_id = api.session("user:1", "api").await;
    let by_subject = api.session("user:2", "api").await;
    let by_audience = api.session("user:3", "api").await;
    let other_audience = api.session("user:3", "web").await;
    let mut other = world.api("other").await;
    let by_client = other.session("user:1", "api").await;
    admin.revoke(Kind::SessionId(by_id.session_id.clone())).await.unwrap();
    admin.revoke_wide(subject("user:2")).await.unwrap();
    admin.revoke_wide(Kind::ClientId("other".to_owned())).await.unwrap();
    let mut narrowed = super::wide_request(subject("user:3"));
    narrowed.target.as_mut().unwrap().audience = "api".to_owned();
    admin.wide.revoke(narrowed).await.unwrap();
    let after = api.session("user:2", "api").await;
    // By cutoff: an old one, and one that is not.
    let cut = api.session("user:4", "api").await;
    let uncut = api.session("user:4", "api").await;
    world
        .sql(&format!(
            "update session set create_time = now() - interval '1 hour' where id = '{}'",
            cut.session_id
        ))
        .await;
    let mut cutoff = super::wide_request(subject("user:4"));
    cutoff.target.as_mut().unwrap().issue_cutoff_time =
        Some(prost_types::Timestamp { seconds: now_s() - 600, nanos: 0 });
    admin.wide.revoke(cutoff).await.unwrap();
    house.round().await;
    let written = async |id: &str| {
        let sql = format!(
            "select case when revoke_time is null then -1 else revoke_reason end::bigint from session where id = '{id}'"
        );
        world.number(&sql).await
    };
    assert_eq!(written(&by_id.session_id).await, 0, "no reason was given");
    for token in [&by_subject, &by_audience, &by_client, &cut] {
        assert_eq!(written(&token.session_id).await, 3);
    }
    for token in [&other_audience, &after, &uncut] {
        assert_eq!(written(&token.session_id).await, -1);
        api.refresh(refresh_token(token)).await.unwrap();
    }
}

#[tokio::test]
async fn k6_more_sessions_than_one_transaction_sweeps_are_all_swept() {
    let world = World::start().await;
    let house = House::of(&world).await;
    let token = world.api("service").await.session("user:7", "api").await;
    world
        .sql(
            "insert into session select (x).* from (select jsonb_populate_record(s, jsonb_build_object('id',
                 overlay(s.id::text placing lpad(to_hex(n), 12, '0') from 25))) x
               from session s, generate_series(1, 1300) n) rows",
        )
        .await;
    world.api("admin").await.revoke_wide(subject("user:7")).await.unwrap();
    house.round().await;
    assert_eq!(world.number("select count(*) from session where revoke_time is null").await, 0);
    let refused = world.api("service").await.refresh(refresh_token(&token)).await.refused();
    assert_eq!(refused.get("revocationReason"), "COMPROMISED");
}

#[tokio::test]
async fn v7_an_expired_mark_goes_through_the_log_once_no_session_is_left_for_it() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let house = House::of(&world).await;
    let dead = api.session("user:7", "api").await;
    admin.revoke_wide(subject("user:7")).await.unwrap();
    admin.revoke_wide(subject("user:8")).await.unwrap();
    house.round().await;
    assert_eq!(
        (world.number(MARKS).await, house.roots.current().marks.len()),
        (2, 2),
        "not before their end"
    );
    world
        .sql(&format!("{EXPIRE_MARKS} where target = 'user:7'; update session set revoke_time = null"))
        .await;
    // A row that is locked is waited for: it may be a refresh.
    let mut holder = world.database.connect().await;
    let mut holding = holder.begin().await.unwrap();
    holding.execute("select 1 from session for update").await.unwrap();
    let watched = async {
        until("the sweep waits", async || {
            world.number("select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'").await > 0
        })
        .await;
        assert_eq!(world.number(MARKS).await, 2, "not while a session is left");
        let committing = std::time::Instant::now();
        holding.commit().await.unwrap();
        committing
    };
    let ((), committing) = tokio::join!(house.keeping.round(), watched);
    assert!(committing.elapsed().as_millis() >= 3_300, "no mint that was under way is left");
    house.hold_a_lease().await;
    assert_eq!((world.number(MARKS).await, house.roots.current().marks.len()), (1, 1));
    assert_eq!(world.number("select count(*) from change where kind = 4").await, 1);
    assert_eq!(api.refresh(refresh_token(&dead)).await.refused().reason, "SESSION_REVOKED");
    // The next round of removals finds nothing to do.
    let head = world.number(super::HEAD).await;
    house.round().await;
    assert_eq!(world.number(super::HEAD).await, head);
}

#[tokio::test]
async fn v7_a_mark_that_is_made_anew_after_its_removal_holds() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let house = House::of(&world).await;
    for round in 0..5 {
        let before = api.session("user:7", "api").await;
        let head = Revision::new(1, world.number(super::HEAD).await).unwrap();
        admin.revoke_wide(subject("user:7")).await.unwrap();
        world.sql(EXPIRE_MARKS).await;
        house.round().await;
        assert_eq!(world.number(MARKS).await, 0);
        let between = api.session("user:7", "api").await;
        admin.revoke_wide(subject("user:7")).await.unwrap();
        for token in [&before, &between] {
            assert_eq!(api.refresh(refresh_token(token)).await.refused().reason, "SESSION_REVOKED");
        }
        assert_eq!(api.status(&between.access_token, "api").await, TokenStatus::Revoked, "round {round}");
        let after = api.session("user:7", "api").await;
        assert!(is_active(&mut api, &after.access_token).await);
        // In one read, the removal comes before later entries.
        let read = house.store.connection_of(Task::Feed).read(head, 50_000).await.unwrap().entries;
        let place = |wanted: fn(&Entry) -> bool| read.entries.iter().position(wanted).unwrap();
        let removed = place(|entry| matches!(entry, Entry::MarkRemoved { .. }));
        assert!(removed < place(|entry| matches!(entry, Entry::Mark(_))));
    }
}

#[tokio::test]
async fn v7_old_notes_of_changes_go_and_a_reader_that_is_behind_them_loads_anew() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let before = Revision::new(1, world.number(super::HEAD).await).unwrap();
    admin.revoke_wide(subject("user:7")).await.unwrap();
    world.sql(EXPIRE_MARKS).await;
    let house = House::of(&world).await;
    house.round().await;
    let removed = world.number("select revision from change where kind = 4").await;
    assert_eq!(world.number("select floor from log_head").await, 0, "nothing is old");
    world.sql("update change set change_time = now() - interval '2 days'").await;
    let token = api.token("user:8", "api").await;
    admin.revoke(text(&token)).await.unwrap();
    house.round().await;
    assert_eq!(world.number("select count(*) from change").await, 0);
    assert_eq!(world.number("select floor from log_head").await, removed);
    assert!(before.as_i64() < removed, "whoever stands there is told by the floor");
    assert_eq!(house.roots.current().tokens.len(), 1, "who is beyond it reads on");
    assert_eq!(api.status(&token.access_token, "api").await, TokenStatus::Revoked);
}

#[tokio::test]
async fn v7_a_mark_that_is_renewed_while_it_is_being_removed_stays() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let store = world.store();
    admin.revoke_wide(subject("user:7")).await.unwrap();
    admin.revoke_wide(subject("it's \"quoted\" \\ \u{e9}")).await.unwrap();
    world.sql(EXPIRE_MARKS).await;
    let expired = store.expired_marks(500).await.unwrap();
    assert_eq!(expired.len(), 2);
    let token = api.token("user:7", "api").await;
    admin.revoke_wide(subject("user:7")).await.unwrap();
    assert_eq!(store.remove_marks(&expired).await.unwrap(), 1);
    assert_eq!(world.number(MARKS).await, 1);
    assert_eq!(store.remove_marks(&expired).await.unwrap(), 0);
    assert_eq!(api.status(&token.access_token, "api").await, TokenStatus::Revoked);
}

#[tokio::test]
async fn v7_memory_and_tables_forget_what_has_ended() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let house = House::of(&world).await;
    let (token, session) = (api.token("user:7", "api").await, api.session("user:8", "api").await);
    admin.revoke(text(&token)).await.unwrap();
    admin.revoke(Kind::SessionId(session.session_id.clone())).await.unwrap();
    house.round().await;
    let held = || (house.roots.current().tokens.len(), house.roots.current().sessions.len());
    assert_eq!(held(), (1, 1));
    assert_eq!(world.number(REVOCATIONS).await, 2);
    // Two days on, as the tables see it.
    let later = Timestamp::from_second(now_s() + 2 * 86_400).unwrap();
    // A reader of a partition is not waited for.
    let mut dropped = 0;
    until("every partition is dropped", async || {
        let now = house.store.drop_partitions(later).await.unwrap();
        dropped += now;
        now == 0 && world.number(REVOCATIONS).await == 0
    })
    .await;
    assert!(dropped > 0);
    assert_eq!(world.number("select count(*) from session").await, 1, "a session's time is not up");
    assert!(world.audited("action = 'Revoke'").await >= 2);
    let root = house.roots.current();
    let end = jeton_token::UnixSeconds::new(now_s() + 2 * 86_400);
    root.tokens.forget_expired(end);
    root.sessions.forget_expired(end);
    assert_eq!(held(), (0, 0));
}

#[tokio::test]
async fn v7_a_round_forgets_what_has_ended_and_keeps_the_rest() {
    const PARTITIONS: &str = "select count(*) from pg_inherits where inhparent = 'revocation'::regclass";
    let world = World::start().await;
    let house = House::of(&world).await;
    let id = || new_uuid_v7(Clock::system().now_ms());
    let soon = |target| NewRevocation { expire_time: UnixSeconds::new(now_s() + 1), ..item(target) };
    let targets = [AppendTarget::Token(id()), AppendTarget::Session(id())];
    let mut batch = targets.clone().map(soon).to_vec();
    batch.extend([item(AppendTarget::Token(id())), item(AppendTarget::Session(id()))]);
    house.store.connection_of(Task::Flusher).append(&batch).await.unwrap();
    let partitions = world.number(PARTITIONS).await;
    let long_ago = Timestamp::from_second(now_s() - 20 * 86_400).unwrap();
    assert!(house.store.make_partitions(long_ago).await.unwrap() > 2);

    let held = || (house.roots.current().tokens.len(), house.roots.current().sessions.len());
    until("all of them are in memory", async || held() == (2, 2)).await;
    until("what has ended is forgotten, and its partitions are dropped", async || {
        house.round().await;
        // A day may begin meanwhile: its partitions are made ahead.
        held() == (1, 1) && world.number(PARTITIONS).await <= partitions + 2
    })
    .await;
}

#[tokio::test]
async fn v7_partitions_are_made_ahead_and_dropped_after_their_time() {
    let database = Database::create_empty().await;
    let store = crate::world::store(&database.url);
    // One moment for both: a partition's bound may pass between the making of a schema and now.
    let now = Timestamp::now();
    store.migrate(now).await.unwrap();
    assert_eq!(store.make_partitions(now).await.unwrap(), 0, "made with the schema");
    let of = async |table: &str| {
        let mut connection = database.connect().await;
        sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(format!(
            "select count(*) from pg_inherits where inhparent = '{table}'::regclass"
        )))
        .fetch_one(&mut connection)
        .await
        .unwrap()
    };
    let (revocations, sessions, audits) =
        (of("revocation").await, of("session").await, of("audit_event").await);
    let day = |days: i64| Timestamp::from_second(now.as_second() + days * 86_400).unwrap();
    assert!(store.make_partitions(day(1)).await.unwrap() >= 2);
    assert_eq!(of("revocation").await, revocations + 2, "a day is two partitions");
    assert_eq!(store.make_partitions(day(1)).await.unwrap(), 0);
    assert!(store.drop_partitions(day(10)).await.unwrap() > 0);
    assert_eq!(of("revocation").await, 1, "the default one stays");
    assert!(of("session").await >= sessions && of("audit_event").await >= audits && revocations > 1);
    store.drop_partitions(day(130)).await.unwrap();
    assert_eq!((of("session").await, of("audit_event").await >= audits), (1, true));
    store.drop_partitions(day(480)).await.unwrap();
    assert_eq!(of("audit_event").await, 1);
    // One that is in use is left for the next round, at once.
    store.make_partitions(now).await.unwrap();
    let mut reader = database.connect().await;
    let mut reading = reader.begin().await.unwrap();
    reading.execute("select count(*) from revocation").await.unwrap();
    assert_eq!(store.drop_partitions(day(10)).await.unwrap(), 0);
    reading.commit().await.unwrap();
    assert!(store.drop_partitions(day(10)).await.unwrap() > 0);
}

#[tokio::test]
async fn v7_nothing_is_purged_while_the_clocks_are_too_far_apart() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let token = api.token("user:7", "api").await;
    api.revoke(text(&token)).await.unwrap();
    admin.revoke_wide(subject("user:8")).await.unwrap();
    // The mark has ended by the database's clock, too: only the check of the clocks keeps it.
    world.sql(EXPIRE_MARKS).await;
    // A housekeeping whose clock is three days ahead: by it everything has ended.
    let house = House::with_clock(&world, Clock::shifted(3 * 86_400_000)).await;
    house.round().await;
    assert_eq!(world.number(REVOCATIONS).await, 1);
    assert_eq!(world.number(MARKS).await, 1);
    assert_eq!(house.roots.current().marks.len(), 1);
    let partitions = "select count(*) from pg_inherits where inhparent = 'revocation'::regclass";
    let before = world.number(partitions).await;
    house.round().await;
    assert!(world.number(partitions).await >= before, "no partition was dropped");
}
