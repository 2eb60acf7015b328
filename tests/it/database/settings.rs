//! E9: the settings of a connection, whatever role and database say.

use jeton::proto::v1::{TokenStatus, revocation_target::Kind};

use super::refused;
use crate::world::{Api, Database, Server, ServerOptions, Shell, World, api_key, until};

#[tokio::test]
async fn e9_defaults_of_the_database_change_nothing_for_a_server() {
    let database = Database::create().await;
    // A connection that is not the server's, and has none of these settings.
    let mut holder = database.connect().await;
    for (setting, value) in [
        ("synchronous_commit", "off"),
        ("statement_timeout", "500ms"),
        ("lock_timeout", "1ms"),
        ("idle_session_timeout", "400ms"),
        ("idle_in_transaction_session_timeout", "1ms"),
        ("default_transaction_isolation", "serializable"),
        ("default_transaction_deferrable", "on"),
        ("TimeZone", "Asia/Kathmandu"),
        ("DateStyle", "German"),
        ("bytea_output", "escape"),
        ("extra_float_digits", "-15"),
    ] {
        database.set(setting, value).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&database.url, directory.path(), &ServerOptions::default()).await;
    let mut api = Api::connect(&server.ready, &api_key("service"));
    let (token, session) = (api.token("user:7", "api").await, api.session("user:7", "api").await);
    // Longer than each of the limits, while another session holds the locks.
    let mut transaction = sqlx::Connection::begin(&mut holder).await.unwrap();
    sqlx::Executor::execute(&mut *transaction, "select from log_head for update").await.unwrap();
    let mut revoker = api.clone();
    let text = token.access_token.clone();
    let revoking = tokio::spawn(async move { revoker.revoke(Kind::Token(text)).await });
    until("it waits for the head", async || {
        database
            .number(
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()
                    and query_start < clock_timestamp() - interval '700 ms'",
            )
            .await
            > 0
    })
    .await;
    transaction.rollback().await.unwrap();
    revoking.await.unwrap().unwrap();
    assert_eq!(api.status(&token.access_token, "api").await, TokenStatus::Revoked);
    let next = api.refresh(&session.refresh.unwrap().refresh_token).await.unwrap();
    assert_eq!(api.status(&next.access_token, "api").await, TokenStatus::Active);
    // Connections that rest for longer than the database lets others rest.
    until("a connection has rested for long", async || {
        let rested = "select count(*) from pg_stat_activity where application_name = 'jeton listen'
                       and datname = current_database() and state = 'idle' and state_change < now() - interval '1 second'";
        database.number(rested).await == 1
    })
    .await;
}

#[tokio::test]
async fn e9_a_database_that_cannot_be_written_is_refused_in_one_sentence() {
    let database = Database::create().await;
    database.set("default_transaction_read_only", "on").await;
    let said = refused(&database.url, &ServerOptions::default()).await;
    assert!(said.contains("it is read-only") && said.contains("default_transaction_read_only"), "{said}");
    let said = Shell::new().run(&["migrate", "up", "--database-url", &database.url]).await;
    assert!(said.with_code(1).contains("it is read-only"), "{said:?}");
}

#[tokio::test]
async fn e9_a_database_that_becomes_read_only_makes_a_server_unavailable_until_it_is_not() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let token = api.token("user:7", "api").await.access_token;
    world.database.set("default_transaction_read_only", "on").await;
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()
                and pid <> pg_backend_pid()";
    world.sql(end).await;
    until("it refuses", async || api.validate(&token, &["api"]).await.is_err()).await;
    assert!(api.revoke(Kind::Token(token.clone())).await.is_err());
    assert_eq!(world.server.ops("/readyz").await.0, 503);
    assert!(world.server.logged().contains("it is read-only"), "{}", world.server.logged());
    world.database.reset().await;
    until("it is back", async || api.validate(&token, &["api"]).await.is_ok()).await;
    api.revoke(Kind::Token(token.clone())).await.unwrap();
    assert_eq!(api.status(&token, "api").await, TokenStatus::Revoked);
    until("it is ready", async || world.server.ops("/readyz").await.0 == 200).await;
}

#[tokio::test]
async fn e9_a_database_whose_fsync_is_off_is_refused_unless_a_test_asks() {
    let database = Database::create().await;
    let options = ServerOptions { needs_fsync: true, ..ServerOptions::default() };
    let said = refused(&database.url, &options).await;
    assert!(said.contains("its fsync is off") && said.contains("--allow-fsync-off"), "{said}");
}

#[tokio::test]
async fn e9_a_database_in_another_encoding_is_refused_before_anything_is_written() {
    let database = Database::create_encoded("LATIN1").await;
    for verb in ["up", "status"] {
        let said = Shell::new().run(&["migrate", verb, "--database-url", &database.url]).await;
        let said = said.with_code(1);
        assert!(said.contains("its encoding is LATIN1") && said.lines().count() == 1, "{said}");
    }
    let tables = "select count(*) from pg_class where relnamespace = 'public'::regnamespace";
    assert_eq!(database.number(tables).await, 0, "nothing is written");
}

#[tokio::test]
async fn e9_a_role_that_may_make_no_tables_is_told_before_anything_is_written() {
    let database = Database::create_empty().await;
    let role = format!("nobody_of_{}", database.name);
    database.execute(&format!("create role {role} login")).await;
    let url = database.url.replacen("postgres://jeton@", &format!("postgres://{role}@"), 1);
    let said = Shell::new().run(&["migrate", "up", "--database-url", &url]).await;
    let said = said.with_code(1);
    assert!(said.contains(&format!("the role {role} may not create tables in schema public")), "{said}");
}

// A server that has never read the log says so, rather than a number of milliseconds since the beginning of time.
#[tokio::test]
async fn e3_a_server_that_could_never_renew_says_that_it_has_not_read_the_log_yet() {
    let database = Database::create().await;
    database.execute("alter table replica add constraint nobody check (false) not valid").await;
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&database.url, directory.path(), &ServerOptions::default()).await;
    let refused = Api::connect(&server.ready, &api_key("service")).validate("x", &["api"]).await.unwrap_err();
    let said = "This replica has not read the log yet and refuses to guess. Try again, or another replica.";
    assert_eq!((refused.code(), refused.message()), (tonic::Code::Unavailable, said));
    let (_, metrics) = server.ops("/metrics").await;
    assert!(metrics.contains("jeton_lease_age_seconds inf"), "{metrics}");
}
