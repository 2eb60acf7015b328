//! The audit trail's chains: changed, missing, added and cut-off rows are named.

use std::time::Duration;

use jeton::{
    mint::MasterKey,
    proto::v1::{self as pb, revocation_target::Kind},
    state::Permission,
};
use jeton_state::clock::Clock;
use jeton_token::{ApiKey, new_uuid_v7};
use tokio::task::JoinSet;

use crate::world::{
    Database, FLUSHER, POOL, Refused, Said, Shell, World, api_key, basic, issue_request, policy, post_form,
    seconds, store, until_within,
};

async fn verify(database: &Database, arguments: &[&str]) -> Said {
    Shell::new().run(&[&["audit", "verify", "--database-url", &database.url][..], arguments].concat()).await
}

/// Holds the trail to be as jeton wrote it.
async fn assert_whole(database: &Database) -> Said {
    let said = verify(database, &[]).await;
    assert!(said.data().contains("are as jeton wrote them"), "{said:?}");
    said
}

/// The one finding.
async fn finding(database: &Database, arguments: &[&str]) -> String {
    let said = verify(database, arguments).await;
    assert_eq!(said.code, 3, "{said:?}");
    let lines: Vec<_> = said.out.lines().collect();
    assert_eq!(lines.len(), 2, "one finding, and the sum: {said:?}");
    assert!(lines[1].contains(": 1 findings"), "{said:?}");
    lines[0].to_owned()
}

fn refresh_token(issued: &pb::IssuedToken) -> &str {
    &issued.refresh.as_ref().unwrap().refresh_token
}

/// Acts of every task that writes.
async fn work(world: &World) {
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let session = api.session("user:1", "api").await;
    let next = api.refresh(refresh_token(&session)).await.unwrap();
    // Replayed.
    api.refresh(refresh_token(&session)).await.unwrap();
    admin.set_policy(pb::Policy { max_ttl: Some(seconds(900)), ..policy("api") }).await.unwrap();
    for _ in 0..3 {
        let token = api.token("user:1", "api").await.access_token;
        api.revoke(Kind::Token(token)).await.unwrap();
    }
    admin.revoke_wide(Kind::Subject("user:9".to_owned())).await.unwrap();
    world.register("late", &[Permission::Validate], &["api"], &[]).await;
    admin.set_policy(pb::Policy { max_ttl: Some(seconds(800)), ..policy("api") }).await.unwrap();
    api.refresh(refresh_token(&next)).await.unwrap();
}

#[tokio::test]
async fn e17_a_trail_that_nobody_touched_is_whole_across_restarts_and_verbs() {
    let mut world = World::start().await;
    work(&world).await;
    world.crash_and_restart().await;
    work(&world).await;
    let bump = ["epoch", "bump", "--keep-keys", "--database-url", &world.database.url];
    Shell::new().run(&bump).await.data();
    work(&world).await;
    let rows = world.number("select count(*) from audit_event").await;
    let said = assert_whole(&world.database).await;
    assert!(said.out.starts_with(&format!("{rows} rows in ")), "{said:?}");
    let writers = "select count(distinct chain_id) from audit_event";
    assert!(world.number(writers).await >= 6, "each task that writes has one of its own");
    assert_eq!(world.audited("chain_tag is null").await, 0);
    // Another master key is a mistake, and no reason to call the trail forged; with the one from before, all fits.
    let shell = Shell::new();
    let other = shell.write("other.key", &MasterKey::generate().unwrap().to_text()).display().to_string();
    let old = shell.path("master.key").display().to_string();
    let with = ["--master-key-file", &other];
    let said = verify(&world.database, &with).await;
    assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
    assert!(said.err.contains("another master key"), "{said:?}");
    let said = verify(&world.database, &[&with[..], &["--previous-master-key-file", &old]].concat()).await;
    assert_eq!(said.code, 0, "{said:?}");
}

#[tokio::test]
async fn e17_a_row_that_was_changed_left_out_or_added_is_named() {
    let world = World::start().await;
    work(&world).await;
    assert_whole(&world.database).await;
    world.sql("create table kept as select * from audit_event").await;
    // One in the middle of a chain.
    let middle = "(select id from audit_event where action = 'Revoke' order by id offset 1 limit 1)";
    world.sql(&format!("create table victim as select * from audit_event where id = {middle}")).await;
    let restore = "truncate audit_event; insert into audit_event select * from kept";
    let mut connection = world.database.connect().await;
    let id: String =
        sqlx::query_scalar("select id::text from victim").fetch_one(&mut connection).await.unwrap();
    for column in [
        "actor = 'somebody'",
        "action = 'Issue'",
        "subject = 'user:2'",
        "jti = gen_random_uuid()",
        "session_id = gen_random_uuid()",
        "client_id = null",
        "outcome = 'CALLER_FORBIDDEN'",
        "reason = reason + 1",
        "note = 'nothing happened'",
        "trace_id = 'x'",
        "key_id = 'x'",
        "audience = 'x'",
        "cutoff_s = 1",
        "chain_tag = sha256('x')",
    ] {
        world.sql(&format!("update audit_event set {column} where id = '{id}'")).await;
        let said = verify(&world.database, &[]).await;
        assert_eq!(said.code, 3, "{column}");
        assert!(
            said.out.lines().any(|line| line.starts_with("changed") && line.contains(&id)),
            "{column}: {said:?}"
        );
        world.sql(restore).await;
    }
    world
        .sql(&format!("update audit_event set event_time = event_time - interval '1 day' where id = '{id}'"))
        .await;
    assert!(finding(&world.database, &[]).await.contains(&id));
    world.sql(restore).await;

    world.sql(&format!("delete from audit_event where id = '{id}'")).await;
    let number: i64 = world.number("select chain_number from victim").await;
    let missing = finding(&world.database, &[]).await;
    assert!(missing.starts_with(&format!("missing: numbers {number} to {number} of chain ")), "{missing}");
    world.sql(restore).await;

    let copy = |columns: &str| {
        format!(
            "create table copy as select * from victim; update copy set {columns}; insert into audit_event select * from copy;
             drop table copy"
        )
    };
    let fresh = new_uuid_v7(Clock::system().now_ms());
    world.sql(&copy(&format!("id = '{fresh}', chain_id = null"))).await;
    let added = finding(&world.database, &[]).await;
    assert!(added.starts_with("added: ") && added.contains(&fresh.to_string()), "{added}");
    world.sql(restore).await;
    world.sql(&copy(&format!("id = '{fresh}'"))).await;
    let added = finding(&world.database, &[]).await;
    assert!(added.starts_with("added: ") && added.contains(&fresh.to_string()), "{added}");
    world.sql(restore).await;
    assert_whole(&world.database).await;
}

#[tokio::test]
async fn e17_an_end_that_was_cut_off_is_noticed_by_the_heads_that_servers_tell() {
    let mut world = World::start().await;
    work(&world).await;
    // At the latest when it ends, a server tells its heads.
    world.server.terminate();
    assert!(world.server.ended().await.success());
    let log = world.server.log.display().to_string();
    let told = world.server.logged().lines().filter(|line| line.contains("head of an audit chain")).count();
    assert!(told >= 3, "flusher, acts and audit: {told}");
    assert_eq!(verify(&world.database, &["--heads", &log]).await.code, 0);
    world
        .sql("delete from audit_event where id = (select id from audit_event where action = 'Revoke' order by id desc limit 1)")
        .await;
    assert_whole(&world.database).await;
    let cut = finding(&world.database, &["--heads", &log]).await;
    assert!(cut.starts_with("cut: chain "), "{cut}");
    // A whole chain.
    world.sql("delete from audit_event where action = 'Revoke'").await;
    let cut = finding(&world.database, &["--heads", &log]).await;
    assert!(cut.contains("ends with number 0"), "{cut}");
    let empty = Shell::new().write("empty", "{}\n").display().to_string();
    let said = verify(&world.database, &["--heads", &empty]).await;
    assert_ne!(said.code, 0, "a file that tells nothing proves nothing");
}

#[tokio::test]
async fn e17_whatever_becomes_of_a_batch_no_number_is_missing() {
    let (world, link) = World::behind_link().await;
    let (api, admin) = (world.api("service").await, world.api("admin").await);
    for round in 0..4 {
        // Later statements are committed, but their replies are lost.
        link.hold_replies(FLUSHER);
        link.hold_replies_to(POOL, "put_policy");
        let mut tasks = JoinSet::new();
        for user in 0..20 {
            let mut api = api.clone();
            tasks.spawn(async move {
                let token = api.token(&format!("user:{round}-{user}"), "api").await.access_token;
                // It may fail although it is committed.
                let _unknown = api.revoke(Kind::Token(token)).await;
            });
        }
        for leeway in 0..5 {
            let mut admin = admin.clone();
            tasks.spawn(async move {
                let written = pb::Policy { leeway: Some(seconds(leeway)), ..policy(&format!("a{leeway}")) };
                let _unknown = admin.set_policy(written).await;
            });
        }
        link.has_held(FLUSHER).await;
        link.has_held(POOL).await;
        for name in [FLUSHER, POOL] {
            link.cut(name);
            link.resume(name);
        }
        tasks.join_all().await;
    }
    let mut api = world.api("service").await;
    let token = api.token("user:7", "api").await.access_token;
    api.revoke(Kind::Token(token)).await.unwrap();
    assert_whole(&world.database).await;
}

#[tokio::test]
async fn e17_a_partition_that_was_dropped_in_its_time_is_no_gap() {
    let database = Database::create().await;
    let now = Clock::system().now();
    let old_s = now.as_second() - 500 * 86_400;
    let store = store(&database.url);
    store.make_partitions(jiff::Timestamp::from_second(old_s).unwrap()).await.unwrap();
    // One chain, from the old partition into the new one.
    for (place, second) in [old_s, old_s + 1, now.as_second(), now.as_second()].into_iter().enumerate() {
        let key = ApiKey::generate();
        let client = jeton::state::Client {
            client_id: format!("c{place}"),
            revision: jeton_token::Revision::ZERO,
            certificate_uris: vec![],
            permissions: vec![],
            audiences: vec![],
            subjects: vec![],
            own_subject: String::new(),
            disabled: false,
        };
        let audit = jeton::store::NewAudit::new(new_uuid_v7(second * 1_000), "test", "PutClient");
        store.put_client(&jeton::store::NewClient::new(client, &key), &audit).await.unwrap();
    }
    assert!(store.drop_partitions(now).await.unwrap() > 0);
    assert_eq!(
        database
            .number("select count(*) from audit_event where actor = 'test' and client_id like 'c_'")
            .await,
        2
    );
    assert_whole(&database).await;
    // Rows that are missing without a checkpoint are reported.
    database.execute("delete from audit_event where action = 'AuditCheckpoint'").await;
    let said = verify(&database, &[]).await;
    assert!(said.code == 3 && said.out.contains("missing: numbers 1 to 2 of chain "), "{said:?}");
    store.close().await;
}

#[tokio::test]
async fn e17_a_checkpoint_says_nothing_that_the_rows_do_not() {
    let world = World::start().await;
    work(&world).await;
    let store = store(&world.database.url);
    // Acts that the server's role allows: a partition that has long been due, and a row in it that claims a place far
    // ahead.
    world.sql("select make_partition('audit_event', 0)").await;
    world
        .sql(
            "insert into audit_event (id, revision, event_time, actor, action, outcome, chain_id, chain_number, chain_tag)
             select '00000000-0001-7000-8000-000000000000', 0, to_timestamp(0), 'x', 'Revoke', 'OK', chain_id, 1000000,
                    sha256('x')
               from audit_event where action = 'Revoke' limit 1",
        )
        .await;
    // And a note that jeton never wrote.
    world
        .sql(
            "insert into audit_event (id, revision, event_time, actor, action, outcome, note)
             select gen_random_uuid(), 0, now(), 'system', 'AuditCheckpoint', 'OK', chain_id || ' 1000000 00'
               from audit_event where action = 'Revoke' limit 1",
        )
        .await;
    assert_eq!(store.drop_partitions(Clock::system().now()).await.unwrap(), 1);
    world.sql("delete from audit_event where actor = 'system' and action = 'AuditCheckpoint' and note like '% 00'").await;
    assert_whole(&world.database).await;
    world
        .sql("delete from audit_event where id = (select id from audit_event where action = 'Revoke' order by id offset 1 limit 1)")
        .await;
    assert!(finding(&world.database, &[]).await.starts_with("missing: numbers "));
    store.close().await;
    for (table, start) in [("audit_event", 1), ("audit_event", -2_592_000), ("log_head", 0)] {
        let mut connection = world.database.connect().await;
        let made: Result<bool, _> = sqlx::query_scalar("select make_partition($1, $2)")
            .bind(table)
            .bind(i64::from(start))
            .fetch_one(&mut connection)
            .await;
        assert!(made.unwrap_err().to_string().contains("no partition of"), "{table} {start}");
    }
}

#[tokio::test]
async fn e18_refused_calls_and_credentials_are_told_by_who_it_was_and_why() {
    let mut world = World::start().await;
    let (mut nobody, mut narrow) = (world.api("nobody").await, world.api("narrow").await);
    let mut stranger = world.api_with_key(ApiKey::generate().expose()).await;
    for _ in 0..3 {
        nobody.issue(issue_request("user:7", &["api"])).await.unwrap_err();
        narrow.issue(issue_request("user:7", &["other"])).await.unwrap_err();
        narrow.issue(issue_request("svc:other", &["api"])).await.unwrap_err();
        stranger.issue(issue_request("user:7", &["api"])).await.unwrap_err();
    }
    nobody.admin.list_clients(pb::ListClientsRequest::default()).await.unwrap_err();
    // Wide targets on the wrong listener, and refresh tokens that jeton did not make.
    let mut admin = world.api("admin").await;
    let subject = Kind::Subject("user:7".to_owned());
    let wide = admin.revoke(subject).await.refused();
    assert_eq!(wide.reason, "WIDE_REVOCATION_FORBIDDEN");
    let mut service = world.api("service").await;
    let real = service.session("user:7", "api").await.refresh.unwrap().refresh_token;
    let last = if real.ends_with('A') { 'B' } else { 'A' };
    for forged in ["jtr_garbage".to_owned(), format!("{}{last}", &real[..real.len() - 1])] {
        assert_eq!(service.refresh(&forged).await.refused().reason, "REFRESH_TOKEN_INVALID");
    }
    // Once a minute, and when the server ends.
    world.server.terminate();
    assert!(world.server.ended().await.success());
    for (actor, outcome, what, count) in [
        ("nobody", "CALLER_FORBIDDEN", "PERMISSION_ISSUE", 3),
        ("nobody", "CALLER_FORBIDDEN", "PERMISSION_ADMIN_READ", 1),
        ("narrow", "AUDIENCE_NOT_ALLOWED", "an audience", 3),
        ("narrow", "SUBJECT_NOT_ALLOWED", "a subject", 3),
        ("admin", "WIDE_REVOCATION_FORBIDDEN", "subject", 1),
        ("service", "REFRESH_TOKEN_INVALID", "a bad refresh token", 2),
    ] {
        let row = format!(
            "action = 'Refused' and actor = '{actor}' and outcome = '{outcome}' and note = '{count} times within a minute: {what}'"
        );
        assert_eq!(world.audited(&row).await, 1, "{row}");
    }
    let credential =
        "outcome = 'CALLER_UNAUTHENTICATED' and note like '% times within a minute: a bad credential'";
    assert_eq!(world.audited(&format!("action = 'Refused' and {credential}")).await, 1);
    assert!(world.server.logged().contains("refused within a minute"));
    assert_whole(&world.database).await;
}

#[tokio::test]
async fn e18_what_is_refused_over_http_is_told_by_who_it_was_and_why() {
    const BAD: &str = "action = 'Refused' and outcome = 'CALLER_UNAUTHENTICATED'
                       and note like '% times within a minute: a bad credential'";
    let mut world = World::start().await;
    let public = world.server.ready.public.clone();
    let theirs = world.api("service").await.token("user:7", "api").await.access_token;
    let form = format!("token={theirs}");
    let post = async |path: &str, authorization: &str, form: &str| {
        post_form(&public, path, authorization, form).await.status
    };
    let bearer = |client_id: &str| format!("Bearer {}", api_key(client_id));
    let stranger = format!("Bearer {}", ApiKey::generate().expose());
    for path in ["/oauth2/introspect", "/oauth2/revoke"] {
        assert_eq!(post(path, &stranger, &form).await, 401);
        // A good key with another's name; and a good credential with another's name in the form.
        assert_eq!(post(path, &basic("other", &api_key("service")), &form).await, 401);
        assert_eq!(post(path, &bearer("other"), &format!("{form}&client_id=service")).await, 401);
    }
    for _ in 0..3 {
        assert_eq!(post("/oauth2/introspect", &bearer("reader"), &form).await, 403);
        // Another's token: to revoke any is more than it may.
        assert_eq!(post("/oauth2/revoke", &basic("narrow", &api_key("narrow")), &form).await, 400);
    }
    world.server.terminate();
    assert!(world.server.ended().await.success());
    for (actor, outcome, what, count) in [
        ("reader", "CALLER_FORBIDDEN", "PERMISSION_VALIDATE", 3),
        ("narrow", "CALLER_FORBIDDEN", "PERMISSION_REVOKE_ANY", 3),
        ("other", "CALLER_UNAUTHENTICATED", "to be another client", 2),
    ] {
        let row = format!(
            "action = 'Refused' and actor = '{actor}' and outcome = '{outcome}' and note = '{count} times within a minute: {what}'"
        );
        assert_eq!(world.audited(&row).await, 1, "{row}");
    }
    // By address: each connection of a test comes from another.
    assert_eq!(world.audited(BAD).await, 4);
    assert_whole(&world.database).await;
}

#[tokio::test]
async fn e17_heads_are_told_by_the_metrics_too_and_verified_against() {
    let world = World::start().await;
    work(&world).await;
    let told = async || {
        let (_, text) = world.server.ops("/metrics").await;
        text.lines()
            .filter(|line| line.starts_with("jeton_audit_chain_head{"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    // Once a minute.
    until_within(Duration::from_mins(3), "heads are told", async || told().await.len() >= 3).await;
    let heads = told().await;
    assert!(heads.len() >= 3 && heads.len() <= 32, "one for each chain: {heads:?}");
    for part in ["writer=\"flusher\"", "chain=\"", "tag=\""] {
        assert!(heads.iter().any(|head| head.contains(part)), "{part}: {heads:?}");
    }
    let shell = Shell::new();
    let (_, text) = world.server.ops("/metrics").await;
    let file = shell.write("metrics", &text).display().to_string();
    assert_eq!(verify(&world.database, &["--heads", &file]).await.code, 0);
    let last = "(select id from audit_event where action = 'Revoke' order by chain_number desc limit 1)";
    world.sql(&format!("delete from audit_event where id = {last}")).await;
    let said = verify(&world.database, &["--heads", &file]).await;
    assert!(said.code == 3 && said.out.contains("cut: chain "), "{said:?}");
    // An endless file is not read to its end.
    let endless = verify(&world.database, &["--heads", "/dev/zero"]).await;
    assert!(endless.with_code(1).contains("a line longer than 1 MiB"), "{endless:?}");
}
