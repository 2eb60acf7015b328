//! `jeton migrate`: an empty database becomes one of this version, once.

use crate::world::{Database, Server, ServerOptions, Shell};

fn shell(database: &Database) -> Shell {
    let mut shell = Shell::new();
    shell.environment.push(("JETON_DATABASE_URL".to_owned(), database.url.clone()));
    shell
}

#[tokio::test]
async fn migrate_makes_an_empty_database_one_that_serves_and_may_be_repeated() {
    let database = Database::create_empty().await;
    let shell = shell(&database);
    let before = shell.run(&["migrate", "status"]).await;
    before.with_code(3);
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"))
        .unwrap()
        .filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "sql"))
        .count();
    assert_eq!(before.out.lines().filter(|line| line.contains(" missing ")).count(), files, "{before:?}");

    let up = shell.run(&["migrate", "up"]).await;
    assert_eq!(up.data().lines().filter(|line| line.contains(" applied ")).count(), files, "{up:?}");
    assert_eq!(shell.run(&["migrate", "status"]).await.data(), up.data());
    assert_eq!(shell.run(&["migrate", "up"]).await.data(), up.data(), "again");

    let server = Server::start(&database.url, shell.directory.path(), &ServerOptions::default()).await;
    assert_eq!(server.ops("/readyz").await.0, 200);
}

#[tokio::test]
async fn migrate_refuses_a_newer_schema_before_it_writes() {
    let database = Database::create().await;
    database
        .execute("insert into _sqlx_migrations select 9999, 'later', installed_on, true, checksum, execution_time from _sqlx_migrations limit 1")
        .await;
    database.execute("delete from _sqlx_migrations where version = 4").await;
    for verb in ["up", "status"] {
        let said = shell(&database).run(&["migrate", verb]).await;
        assert!(said.with_code(1).contains("9999"), "{said:?}");
    }
    let mut connection = database.connect().await;
    let count: i64 = sqlx::query_scalar("select count(*) from _sqlx_migrations where version = 4")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(count, 0, "nothing is applied");
}
