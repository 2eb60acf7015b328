//! A new epoch begins: changes that the tables have lost come back from the memory of the replicas, once; and a replica
//! that cannot bring back its state says so.

use jeton::proto::v1::{self as pb, Permission, TokenStatus, revocation_target::Kind};
use prost_types::FieldMask;
use tonic::{Code, Status};

use crate::{
    keys::kid_of,
    world::{
        AS_HERE, AS_JETON, Answer, Api, Database, Fleet, Postgres, Refused, Server, ServerOptions, Shell,
        World, issue_request, policy, seconds, store, until,
    },
};

pub(super) async fn bump(database: &Database) {
    let said = Shell::new().run(&["epoch", "bump", "--keep-keys", "--database-url", &database.url]).await;
    assert_eq!(said.code, 0, "{said:?}");
}

impl Fleet {
    /// Waits until every replica has registered in this epoch.
    pub(super) async fn has_come_to(&self, epoch: i64) {
        let there = format!("select count(*) from replica where epoch = {epoch}");
        let count = i64::try_from(self.replicas.len()).unwrap();
        until("every replica is in the epoch", async || self.database.number(&there).await == count).await;
    }
}

/// The tables of a replica's state in the log.
const TABLES: [&str; 10] = [
    "policy",
    "removed_policy",
    "client",
    "api_key",
    "trusted_issuer",
    "mark",
    "lock",
    "revocation",
    "change",
    "signing_key",
];

pub(super) async fn back_up(database: &Database, also: &[&str]) {
    for table in TABLES.iter().chain(also).chain(&["log_head"]) {
        database.execute(&format!("create table backup_{table} as select * from {table}")).await;
    }
}

/// Sets the tables back to the copy while servers run: as a restore does, with the same timeline.
pub(super) async fn lose_all_since(database: &Database, also: &[&str]) {
    let mut statements = vec!["begin".to_owned(), "select from log_head for update".to_owned()];
    statements.extend(also.iter().chain(TABLES.iter().rev()).map(|table| format!("delete from {table}")));
    statements.extend(
        TABLES.iter().chain(also).map(|table| format!("insert into {table} select * from backup_{table}")),
    );
    statements.push(format!(
        "update log_head h set epoch = b.epoch, seq = b.seq, settled_epoch = b.settled_epoch,
                   carried_epoch = b.carried_epoch, {AS_HERE} from backup_log_head b; commit"
    ));
    database.execute(&statements.join("; ")).await;
}

pub(super) async fn create_client(api: &mut Api, client: pb::Client) {
    api.admin.create_client(pb::CreateClientRequest { client: Some(client) }).await.unwrap();
}

pub(super) async fn get_client(api: &mut Api, client_id: &str) -> Result<pb::Client, Status> {
    let request = pb::GetClientRequest { client_id: client_id.to_owned() };
    Ok(api.admin.get_client(request).await?.into_inner().client.unwrap())
}

pub(super) async fn add_key(api: &mut Api, client_id: &str, ttl_s: Option<i64>) -> pb::CreateApiKeyResponse {
    let request = pb::CreateApiKeyRequest { client_id: client_id.to_owned(), ttl: ttl_s.map(seconds) };
    api.admin.create_api_key(request).await.unwrap().into_inner()
}

pub(super) async fn delete_key(
    api: &mut Api,
    client_id: &str,
    key: &pb::CreateApiKeyResponse,
) -> Result<(), Status> {
    let api_key_id = key.api_key.clone().unwrap().api_key_id;
    let request = pb::DeleteApiKeyRequest { client_id: client_id.to_owned(), api_key_id };
    api.admin.delete_api_key(request).await.map(|_| ())
}

pub(super) async fn delete_policy(api: &mut Api, audience: &str) {
    let (audience, client_id) = (audience.to_owned(), "*".to_owned());
    let request = pb::DeletePolicyRequest { audience, client_id, ..Default::default() };
    api.admin.delete_policy(request).await.unwrap();
}

pub(super) fn client(client_id: &str) -> pb::Client {
    pb::Client {
        client_id: client_id.to_owned(),
        permissions: vec![Permission::Issue.into(), Permission::Validate.into()],
        audiences: vec!["*".to_owned()],
        subjects: vec!["*".to_owned()],
        ..Default::default()
    }
}

pub(super) fn up_to(audience: &str, max_ttl_s: i64) -> pb::Policy {
    pb::Policy { max_ttl: Some(seconds(max_ttl_s)), ..policy(audience) }
}

/// The seconds that a token of this audience may live: a day is requested, and longer lifetimes are refused.
pub(super) async fn longest(api: &mut Api, audience: &str) -> i64 {
    let asked = Some(pb::issue_request::Expiration::Ttl(seconds(86_400)));
    let request = pb::IssueRequest { expiration: asked, ..issue_request("user:7", &[audience]) };
    match api.issue(request).await {
        Ok(_) => 86_400,
        Err(status) => Err::<(), _>(status).refused().get("maxTtlSeconds").parse().unwrap(),
    }
}

/// Nobody by this key.
pub(super) async fn is_refused(api: &mut Api) {
    let refused = api.validate("x", &["api"]).await.map_err(|status| status.code());
    assert_eq!(refused.err(), Some(Code::Unauthenticated));
}

#[tokio::test]
async fn k12_removals_and_reductions_that_the_tables_have_lost_are_made_again() {
    let mut fleet = Fleet::start(2).await;
    let mut admin = fleet.caller(0).api;
    admin.set_policy(up_to("removed", 86_400)).await.unwrap();
    admin.set_policy(up_to("lowered", 7_200)).await.unwrap();
    admin.set_policy(up_to("cleared", 86_400)).await.unwrap();
    let uris = vec!["spiffe://jeton.test/a".to_owned(), "spiffe://jeton.test/b".to_owned()];
    create_client(&mut admin, pb::Client { certificate_uris: uris, ..client("less") }).await;
    create_client(&mut admin, client("gone")).await;
    create_client(&mut admin, client("untouched")).await;
    let ending = add_key(&mut admin, "less", Some(100_000)).await;
    let removed = add_key(&mut admin, "less", None).await;
    let of_gone = add_key(&mut admin, "gone", None).await;
    // The backup is from before the key's end was set, which no call changes.
    let vouch = async || {
        let store = store(&fleet.database.url);
        store.adopt_clients().await.unwrap();
        store.close().await;
    };
    let set_end =
        "create table ends as select api_key_id, expire_time from api_key where expire_time is not null;
                   update api_key set expire_time = null";
    fleet.database.execute(set_end).await;
    vouch().await;
    back_up(&fleet.database, &[]).await;
    let put_back =
        "update api_key k set expire_time = e.expire_time from ends e where e.api_key_id = k.api_key_id";
    fleet.database.execute(put_back).await;
    vouch().await;

    delete_policy(&mut admin, "removed").await;
    admin.set_policy(up_to("lowered", 600)).await.unwrap();
    let update_mask = Some(FieldMask { paths: vec!["max_ttl".to_owned()] });
    let request =
        pb::UpdatePolicyRequest { policy: Some(policy("cleared")), update_mask, ..Default::default() };
    admin.admin.update_policy(request).await.unwrap();
    admin.set_policy(up_to("added", 60)).await.unwrap();
    let less = pb::Client {
        permissions: vec![Permission::Validate.into()],
        audiences: vec!["api".to_owned()],
        subjects: vec!["user:*".to_owned()],
        certificate_uris: vec!["spiffe://jeton.test/a".to_owned()],
        ..client("less")
    };
    let paths = ["permissions", "audiences", "subjects", "certificate_uris"].map(str::to_owned).to_vec();
    let request =
        pb::UpdateClientRequest { client: Some(less.clone()), update_mask: Some(FieldMask { paths }) };
    admin.admin.update_client(request).await.unwrap();
    delete_key(&mut admin, "less", &removed).await.unwrap();
    let request = pb::DeleteClientRequest { client_id: "gone".to_owned(), ..Default::default() };
    admin.admin.delete_client(request).await.unwrap();

    lose_all_since(&fleet.database, &[]).await;
    fleet.has_come_to(2).await;
    // On those that held it, and on one that starts from the tables.
    fleet.join().await;
    for place in 0..3 {
        let mut admin = fleet.caller(place).api;
        for (audience, max_ttl_s) in [("removed", 3_600), ("lowered", 600), ("cleared", 3_600), ("added", 60)]
        {
            assert_eq!(longest(&mut admin, audience).await, max_ttl_s, "{audience} at {place}");
        }
        let mut kept = get_client(&mut admin, "less").await.unwrap();
        assert_eq!(kept.api_keys.len(), 1, "{kept:?}");
        let end = kept.api_keys.remove(0).expire_time;
        assert!(end.is_some() && end == ending.api_key.clone().unwrap().expire_time, "{end:?}");
        assert_eq!(kept.permissions, less.permissions);
        assert_eq!((&kept.audiences, &kept.subjects), (&less.audiences, &less.subjects));
        assert_eq!(kept.certificate_uris, less.certificate_uris);
        assert!(get_client(&mut admin, "gone").await.unwrap().disabled, "nobody knows any more what it was");
        assert!(!get_client(&mut admin, "untouched").await.unwrap().disabled);
        let ready = &fleet.replicas[place].server.ready;
        is_refused(&mut Api::connect(ready, &removed.secret)).await;
        is_refused(&mut Api::connect(ready, &of_gone.secret)).await;
        let refused = Api::connect(ready, &ending.secret).issue(issue_request("user:7", &["api"])).await;
        assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    }
    // The etags are those of the writes: readers from before can continue.
    let restricted = "select count(*) from audit_event where action = 'RestrictClient'";
    assert_eq!(fleet.database.number(restricted).await, 2, "once, though two replicas held it");
}

#[tokio::test]
async fn k12_a_key_that_was_revoked_after_a_backup_stays_revoked_when_that_is_put_back() {
    let mut postgres = Postgres::start().await;
    let mut fleet = Fleet::on(postgres.database(), 2).await;
    let mut caller = fleet.caller(0);
    let token = caller.token("user:7").await;
    let kid = kid_of(&token.text);
    postgres.stop().await;
    postgres.back_up();
    postgres.restart();
    let mut admin = fleet.caller(0).api;
    until("the database is back", async || {
        let revoked = admin.revoke_wide(Kind::KeyId(kid.clone())).await;
        revoked.is_ok_and(|revoked| revoked.propagation.is_some_and(|it| it.complete))
    })
    .await;
    // Another replica has it, too.
    assert_eq!(fleet.caller(1).validate(&token).await, Answer::REVOKED);
    postgres.stop().await;
    postgres.restore();
    postgres.restart();
    fleet.has_come_to(2).await;
    let signs_anew = async |api: &mut Api| {
        let mut api = api.clone();
        until("another key signs", async || {
            let issued = api.issue(issue_request("user:8", &["api"])).await;
            let Ok(issued) = issued else { return false };
            assert_ne!(kid_of(&issued.access_token), kid, "it signs no more");
            api.status(&issued.access_token, "api").await == TokenStatus::Active
        })
        .await;
    };
    for place in 0..2 {
        assert_eq!(fleet.caller(place).validate(&token).await, Answer::REVOKED);
        signs_anew(&mut fleet.caller(place).api).await;
    }
    // Nobody is left who held it but the tables.
    for place in 0..2 {
        fleet.server(place).kill();
    }
    let place = fleet.join().await;
    assert_eq!(fleet.caller(place).validate(&token).await, Answer::REVOKED);
    signs_anew(&mut fleet.caller(place).api).await;
    let marks = format!("select count(*) from mark where kind = 5 and target = '{kid}'");
    assert_eq!(fleet.database.number(&marks).await, 1);
}

#[tokio::test]
async fn k12_a_key_that_was_revoked_long_ago_stays_revoked_when_an_older_state_is_put_back() {
    let mut fleet = Fleet::start(1).await;
    let mut caller = fleet.caller(0);
    let kid = kid_of(&caller.token("user:7").await.text);
    back_up(&fleet.database, &[]).await;
    caller.api.revoke_wide(Kind::KeyId(kid.clone())).await.unwrap();
    // Days later its tokens are dead, and nothing but its row says so.
    let days_later = format!(
        "begin; delete from mark; update signing_key set expire_time = now() - interval '2 days' where key_id = '{kid}';
         select log_change(3::smallint, '{kid}'); commit"
    );
    fleet.database.execute(&days_later).await;
    // The replica that holds it has never seen it otherwise.
    let place = fleet.join().await;
    fleet.server(0).kill();
    lose_all_since(&fleet.database, &[]).await;
    let revoked =
        format!("select count(*) from signing_key where key_id = '{kid}' and revoke_time is not null");
    until("it is revoked again", async || fleet.database.number(&revoked).await == 1).await;
    let mut caller = fleet.caller(place);
    until("another key signs", async || {
        let issued = caller.api.issue(issue_request("user:8", &["api"])).await;
        let Ok(issued) = issued else { return false };
        assert_ne!(kid_of(&issued.access_token), kid, "it signs no more");
        true
    })
    .await;
}

#[tokio::test]
async fn c8_an_older_row_is_no_news_in_an_epoch_that_was_begun_by_force() {
    let fleet = Fleet::start(2).await;
    let mut admin = fleet.caller(0).api;
    create_client(&mut admin, client("less")).await;
    let (kept, removed) = (add_key(&mut admin, "less", None).await, add_key(&mut admin, "less", None).await);
    fleet.database.execute("create table olden as select * from client where client_id = 'less'; create table keys as select * from api_key").await;
    let less = pb::Client { permissions: vec![Permission::Validate.into()], ..client("less") };
    let update_mask = Some(FieldMask { paths: vec!["permissions".to_owned()] });
    let request = pb::UpdateClientRequest { client: Some(less), update_mask };
    admin.admin.update_client(request).await.unwrap();
    delete_key(&mut admin, "less", &removed).await.unwrap();
    // As anybody could do who can write to the database: with rows that jeton once made, and revisions that nothing
    // vouches for.
    let force = format!(
        "begin;
         update client c set permissions = o.permissions, version = o.version, row_mac = o.row_mac,
                             revision = (2::bigint << 40) + 1 from olden o where c.client_id = 'less';
         insert into api_key select * from keys on conflict do nothing;
         update log_head set epoch = 2, seq = 1, carried_epoch = 2, {AS_JETON}; commit"
    );
    fleet.database.execute(&force).await;
    fleet.has_come_to(2).await;
    for place in 0..2 {
        let ready = &fleet.replicas[place].server.ready;
        let mut api = Api::connect(ready, &kept.secret);
        until("it answers again", async || api.validate("x", &["api"]).await.is_ok()).await;
        let refused = api.issue(issue_request("user:7", &["api"])).await;
        assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
        is_refused(&mut Api::connect(ready, &removed.secret)).await;
    }
    let keys = "select count(*) from api_key where client_id = 'less'";
    assert_eq!(fleet.database.number(keys).await, 1);
}

/// Doctor's check of the epoch.
async fn doctor(world: &World) -> String {
    let said = Shell::of(world, "admin").run(&["doctor"]).await;
    said.out.lines().find(|line| line.contains("  epoch ")).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn k13_a_replica_that_cannot_carry_over_what_it_holds_says_so_and_no_start_makes_up_for_it() {
    const CAUSE: &str = "alter table log_head add constraint stop check (epoch < 2 or seq = 0)";
    let world = World::start().await;
    let mut api = world.api("service").await;
    assert!(doctor(&world).await.starts_with("ok "));
    let token = api.token("user:7", "api").await;
    back_up(&world.database, &[]).await;
    api.revoke(Kind::Token(token.access_token.clone())).await.unwrap();
    // For any cause.
    world.sql(CAUSE).await;
    lose_all_since(&world.database, &[]).await;
    until("it is not ready, and says why", async || {
        let (status, body) = world.server.ops("/readyz").await;
        status == 503 && body.contains("[-]epoch failed")
    })
    .await;
    let refused = api.validate(&token.access_token, &["api"]).await.refused();
    assert_eq!(refused.reason, "REVOCATION_STATE_STALE");
    until("doctor says so", async || doctor(&world).await.starts_with("fail")).await;

    // A new server holds nothing of what was lost: while the other one lives, and when it has gone.
    let directory = tempfile::tempdir().unwrap();
    let options = ServerOptions::default();
    let mut world = world;
    let url = world.database.url.clone();
    let starting = Server::start(&url, directory.path(), &options);
    let bumping = async {
        let log = directory.path().join("log");
        until("it says what it waits for", async || {
            std::fs::read_to_string(&log)
                .is_ok_and(|log| log.contains("no replica has carried over its state"))
        })
        .await;
        let said = "this replica cannot carry over its state";
        assert_eq!(world.server.logged().matches(said).count(), 1, "once");
        world.server.kill();
        let lapsed = "select count(*) from replica where beat_time < clock_timestamp() - interval '4 s'";
        until("the registration of the other one counts no longer", async || world.number(lapsed).await == 1)
            .await;
        assert!(!directory.path().join("ready.json").exists(), "it has not waited");
        world.sql("alter table log_head drop constraint stop").await;
        Shell::new().run(&["epoch", "bump", "--keep-keys", "--database-url", &url]).await.data();
    };
    let (server, ()) = tokio::join!(starting, bumping);
    assert!(server.ops("/readyz").await.1.contains("[+]epoch ok"));
}

#[tokio::test]
async fn k13_a_replica_that_can_carry_over_at_last_goes_on_with_all_that_it_held() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let token = api.token("user:7", "api").await;
    back_up(&world.database, &[]).await;
    api.revoke(Kind::Token(token.access_token.clone())).await.unwrap();
    world.sql("alter table log_head add constraint stop check (epoch < 2 or seq = 0)").await;
    lose_all_since(&world.database, &[]).await;
    until("it is not ready", async || world.server.ops("/readyz").await.1.contains("[-]epoch failed")).await;
    world.sql("alter table log_head drop constraint stop").await;
    until("it is ready", async || world.server.ops("/readyz").await.0 == 200).await;
    assert_eq!(api.status(&token.access_token, "api").await, TokenStatus::Revoked);
    assert!(doctor(&world).await.starts_with("ok "));
    assert_eq!(world.number("select carried_epoch from log_head").await, 2);
}

// The end of every session is no row of the log: the keys of their refresh tokens are gone.
#[tokio::test]
async fn k12_sessions_that_an_operator_has_ended_stay_ended_when_an_older_state_is_put_back() {
    const ALSO: [&str; 2] = ["mac_key", "session"];
    let world = World::start().await;
    let mut api = world.api("service").await;
    let session = api.session("user:7", "api").await;
    let refresh_token = session.refresh.clone().unwrap().refresh_token;
    back_up(&world.database, &ALSO).await;
    let bump = ["epoch", "bump", "--revoke-keys", "--database-url", &world.database.url];
    assert_eq!(Shell::new().run(&bump).await.code, 0);
    until("the server is in the next epoch", async || {
        world.number("select count(*) from replica where epoch = 2").await == 1
    })
    .await;
    lose_all_since(&world.database, &ALSO).await;
    until("what was ended is ended again", async || {
        world.number("select count(*) from replica where epoch = 3").await == 1
    })
    .await;
    assert_eq!(api.status(&session.access_token, "api").await, TokenStatus::Revoked);
    assert_eq!(api.refresh(&refresh_token).await.refused().reason, "REFRESH_TOKEN_INVALID");
    assert_eq!(world.audited("action = 'RemoveMacKeys'").await, 1);
}
