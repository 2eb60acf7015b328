//! A database whose log was written elsewhere: restored from a dump, copied, or with tables of another time. A server
//! that starts on it waits for an operator.

use std::process::Command;

use jeton::proto::v1::{TokenStatus, revocation_target::Kind};
use jeton_postgres::Binaries;

use crate::world::{Api, Database, Server, ServerOptions, Shell, World, api_key, until};

/// Runs one of Postgres' programs.
fn program(name: &str, arguments: &[&str]) -> String {
    let binaries = std::env::var_os("JETON_POSTGRES_BIN");
    let binaries = Binaries::find(binaries.as_ref().map(AsRef::as_ref)).unwrap();
    let output = Command::new(binaries.program(name)).args(arguments).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A world with a backup from before a revocation, which has ended.
struct Backup {
    world: World,
    revoked: String,
    dump: String,
}

impl Backup {
    async fn of(options: &[&str]) -> Self {
        let mut world = World::start().await;
        let mut api = world.api("service").await;
        let revoked = api.token("user:7", "api").await.access_token;
        // One that the backup knows.
        let before = api.token("user:8", "api").await.access_token;
        api.revoke(Kind::Token(before)).await.unwrap();
        let dump = program("pg_dump", &[options, &["--dbname", &world.database.url]].concat());
        api.revoke(Kind::Token(revoked.clone())).await.unwrap();
        world.server.kill();
        world.database.execute("delete from replica").await;
        Self { world, revoked, dump }
    }

    fn restore(&self) {
        let file = self.world.directory.path().join("dump.sql");
        std::fs::write(&file, &self.dump).unwrap();
        // Such a dump creates things twice that come with attaching a partition: it continues, as `pg_restore` does.
        let parts_alone = self.dump.contains(" ATTACH PARTITION ") && !self.dump.contains(" PARTITION BY ");
        let stop = if parts_alone { "ON_ERROR_STOP=0" } else { "ON_ERROR_STOP=1" };
        let arguments = ["--quiet", "--no-psqlrc", "--set", stop, "--file"];
        let file = [file.to_str().unwrap(), "--dbname", &self.world.database.url];
        program("psql", &[&arguments[..], &file].concat());
    }

    /// A server that starts says that it waits, and serves once the keys are revoked; the token stays revoked.
    async fn waits_for_an_operator(&self) {
        let database = &self.world.database;
        let directory = tempfile::tempdir().unwrap();
        let options = self.world.server.same_ports();
        let starting = Server::start(&database.url, directory.path(), &options);
        let bumped = async {
            waits(directory.path()).await;
            // Probes find it alive, so that nothing restarts it, and say what it waits for.
            assert_eq!(self.world.server.ops("/livez").await, (200, "ok\n".to_owned()));
            let (status, body) = self.world.server.ops("/readyz").await;
            assert_eq!(status, 503);
            assert!(body.contains("[-]started") && body.contains("jeton epoch bump"), "{body}");
            self.doctor_says_so().await;
            let bump = ["epoch", "bump", "--revoke-keys", "--database-url", &database.url];
            Shell::new().run(&bump).await
        };
        let (server, said) = tokio::join!(starting, bumped);
        assert_eq!(said.code, 0, "{}", said.err);
        let mut api = Api::connect(&server.ready, &api_key("service"));
        assert_ne!(api.status(&self.revoked, "api").await, TokenStatus::Active);
        let token = api.token("user:7", "api").await;
        assert_eq!(api.status(&token.access_token, "api").await, TokenStatus::Active);
    }
}

impl Backup {
    /// Doctor asks first what answers before a start, and waits in vain once at most.
    async fn doctor_says_so(&self) {
        let shell = Shell::of(&self.world, "admin");
        let ops = format!("http://{}", self.world.server.ready.ops);
        let said = shell.run(&["doctor", "--ops-endpoint", &ops]).await;
        assert_eq!(said.code, 3, "{said:?}");
        let checks: Vec<_> = said.out.lines().filter(|line| !line.starts_with(' ')).collect();
        assert_eq!(checks.len(), 1, "the others would only wait: {said:?}");
        assert!(checks[0].starts_with("fail  ready") && checks[0].contains("jeton epoch bump"), "{said:?}");
        let said = shell.run(&["doctor", "--timeout", "1s"]).await;
        assert_eq!(said.code, 3, "{said:?}");
        let names: Vec<_> = said.out.lines().filter_map(|line| line.get(6..)?.split(' ').next()).collect();
        let names: Vec<_> = names.into_iter().filter(|name| !name.is_empty()).collect();
        assert_eq!(names, ["server", "rest"], "{said:?}");
        assert!(said.out.contains("no answer within 1 s") && said.out.contains("--ops-endpoint"), "{said:?}");
    }
}

async fn waits(directory: &std::path::Path) {
    until("it says what it waits for", async || {
        let log = std::fs::read_to_string(directory.join("log")).unwrap_or_default();
        log.contains("not the one that the log was written in") && log.contains("jeton epoch bump")
    })
    .await;
    assert!(!directory.join("ready.json").exists(), "no ready file");
}

#[tokio::test]
async fn k9_after_a_dump_is_restored_into_the_same_cluster_a_server_waits_for_an_operator() {
    let backup = Backup::of(&[]).await;
    backup.world.database.recreate().await;
    backup.restore();
    backup.waits_for_an_operator().await;
}

#[tokio::test]
async fn k9_after_a_dump_is_restored_into_the_same_database_a_server_waits_for_an_operator() {
    let backup = Backup::of(&[]).await;
    backup.world.database.execute("drop schema public cascade; create schema public").await;
    backup.restore();
    backup.waits_for_an_operator().await;
}

#[tokio::test]
async fn k9_after_one_table_is_restored_a_server_waits_for_an_operator() {
    let backup = Backup::of(&["--table", "revocation*"]).await;
    backup.world.database.execute("drop table revocation").await;
    backup.restore();
    backup.waits_for_an_operator().await;
}

#[tokio::test]
async fn k9_after_the_rows_of_one_table_are_restored_a_server_waits_for_an_operator() {
    let backup = Backup::of(&["--data-only", "--table", "revocation*"]).await;
    backup.world.database.execute("truncate revocation").await;
    backup.restore();
    backup.waits_for_an_operator().await;
}

/// Deletes from every table, without a truncation, which would be noticed by itself.
const DELETE_ALL: &str = "do $$ declare t text; begin
    for t in select relname from pg_class where relkind in ('r', 'p') and not relispartition
               and relnamespace = 'public'::regnamespace order by relname = 'client'
    loop execute format('delete from %I', t); end loop; end $$";

#[tokio::test]
async fn k9_after_the_rows_of_all_tables_are_restored_a_server_waits_for_an_operator() {
    for options in [&["--data-only", "--disable-triggers"][..], &["--data-only"]] {
        let backup = Backup::of(options).await;
        backup.world.database.execute(DELETE_ALL).await;
        backup.restore();
        backup.waits_for_an_operator().await;
    }
}

#[tokio::test]
async fn k9_after_the_head_is_put_back_by_hand_a_server_waits_for_an_operator() {
    let backup = Backup::of(&[]).await;
    // The number is the log's own: nothing but who wrote it is amiss.
    backup.world.database.execute("update log_head set seq = seq").await;
    backup.waits_for_an_operator().await;
}

/// Notes tell readers which tables to load again. Without them and below an old floor, a reader would miss a change.
#[tokio::test]
async fn k9_the_notes_of_a_log_that_was_written_elsewhere_are_kept() {
    let mut world = World::start().await;
    world.server.kill();
    let purge = |removed: &str| {
        format!(
            "do $$ begin
                assert exists (select from change), 'there are notes';
                assert (purge_changes('-1 hour') > 0) = {removed}, 'removed';
                assert (select count(*) = 0 from change) = {removed}, 'left';
             end $$"
        )
    };
    world.database.execute("update log_head set seq = seq").await;
    world.database.execute(&purge("false")).await;
    world.database.execute("update log_head set written_by = pg_current_xact_id()").await;
    world.database.execute(&purge("true")).await;
}

/// Does `lose` to each partition of the revocations.
fn each_partition(lose: &str) -> String {
    format!(
        "do $$ declare p text; begin
            for p in select inhrelid::regclass::text from pg_inherits where inhparent = 'revocation'::regclass
            loop execute '{lose} ' || p; end loop; end $$;\n"
    )
}

#[tokio::test]
async fn k9_after_partitions_are_restored_a_server_waits_for_an_operator() {
    for (options, lose) in
        [(&["--data-only"][..], "truncate"), (&["--data-only"], "delete from"), (&[], "drop table")]
    {
        let backup = Backup::of(&[options, &["--table", "revocation_*"]].concat()).await;
        backup.world.database.execute(&each_partition(lose)).await;
        backup.restore();
        backup.waits_for_an_operator().await;
    }
}

#[tokio::test]
async fn k9_after_the_registrations_are_restored_a_server_waits_for_an_operator() {
    let backup = Backup::of(&["--clean", "--table", "replica"]).await;
    backup.restore();
    backup.waits_for_an_operator().await;
}

#[tokio::test]
async fn k9_a_server_that_runs_notices_a_partition_that_was_restored() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let dump = program("pg_dump", &["--table", "revocation_*", "--dbname", &world.database.url]);
    let revoked = api.token("user:7", "api").await.access_token;
    api.revoke(Kind::Token(revoked.clone())).await.unwrap();
    let file = world.directory.path().join("dump.sql");
    std::fs::write(&file, each_partition("drop table") + &dump).unwrap();
    let once = ["--quiet", "--no-psqlrc", "--file"];
    let url = world.database.url.as_str();
    program("psql", &[&once[..], &[file.to_str().unwrap(), "--dbname", url]].concat());
    assert_eq!(world.number("select count(*) from revocation").await, 0);
    // As housekeeping does, twice a minute.
    world.store().notice_parts().await.unwrap();
    until("a new epoch has begun", async || world.number("select epoch from log_head").await == 2).await;
    until("the tables have it again", async || world.number("select count(*) from revocation").await == 1)
        .await;
    // Partitions that jeton makes and drops are noticed as its own, and leave the log where it is.
    until("it is carried over", async || world.number("select carried_epoch from log_head").await == 2).await;
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(480);
    assert!(world.store().make_partitions(later).await.unwrap() > 0);
    assert!(world.store().drop_partitions(later).await.unwrap() > 0);
    world.store().notice_parts().await.unwrap();
    assert_eq!(world.number("select count(*) from log_head where log_is_here(log_head, xmin)").await, 1);
}

#[tokio::test]
async fn k9_in_a_copy_of_a_database_a_server_waits_for_an_operator() {
    let mut world = World::start().await;
    world.server.kill();
    let copy = world.database.copy().await;
    let directory = tempfile::tempdir().unwrap();
    let options = ServerOptions::default();
    let starting = Server::start(&copy.url, directory.path(), &options);
    let bumped = async {
        waits(directory.path()).await;
        Shell::new().run(&["epoch", "bump", "--keep-keys", "--database-url", &copy.url]).await
    };
    let (server, said) = tokio::join!(starting, bumped);
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(server.ops("/readyz").await.0, 200);
    // The original is not affected.
    let serves = Server::start(&world.database.url, world.directory.path(), &options).await;
    assert_eq!(serves.ops("/readyz").await.0, 200);
}

#[tokio::test]
async fn k9_a_database_that_was_renamed_is_still_the_same() {
    let mut world = World::start().await;
    let mut api = world.api("service").await;
    let (good, revoked) = (api.token("user:7", "api").await, api.token("user:7", "api").await);
    api.revoke(Kind::Token(revoked.access_token.clone())).await.unwrap();
    world.server.kill();
    let renamed: Database = world.database.rename().await;
    let server = Server::start(&renamed.url, world.directory.path(), &ServerOptions::default()).await;
    let mut api = Api::connect(&server.ready, &api_key("service"));
    assert_eq!(api.status(&good.access_token, "api").await, TokenStatus::Active);
    assert_eq!(api.status(&revoked.access_token, "api").await, TokenStatus::Revoked);
}

#[tokio::test]
async fn k9_a_server_that_runs_brings_a_restored_database_what_it_lacks() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let (good, revoked) = (api.token("user:7", "api").await, api.token("user:7", "api").await);
    let dump = program("pg_dump", &["--dbname", &world.database.url]);
    api.revoke(Kind::Token(revoked.access_token.clone())).await.unwrap();
    world.database.recreate().await;
    let file = world.directory.path().join("dump.sql");
    std::fs::write(&file, &dump).unwrap();
    let url = world.database.url.as_str();
    let once = ["--quiet", "--no-psqlrc", "--single-transaction", "--set", "ON_ERROR_STOP=1", "--file"];
    program("psql", &[&once[..], &[file.to_str().unwrap(), "--dbname", url]].concat());
    until("a new epoch has begun", async || world.number("select epoch from log_head").await == 2).await;
    until("it answers again", async || api.validate(&good.access_token, &["api"]).await.is_ok()).await;
    assert_eq!(api.status(&revoked.access_token, "api").await, TokenStatus::Revoked);
    assert_eq!(api.status(&good.access_token, "api").await, TokenStatus::Active);
    until("the tables have it, too", async || world.number("select count(*) from revocation").await == 1)
        .await;
}
