//! `jeton client bootstrap`: the first administrator of a deployment, once.

use jeton::proto::v1 as pb;

use crate::world::{Api, Database, Server, ServerOptions, Shell};

fn shell(database: &Database) -> Shell {
    let mut shell = Shell::new();
    shell.environment.push(("JETON_DATABASE_URL".to_owned(), database.url.clone()));
    shell
}

#[tokio::test]
async fn bootstrap_registers_the_first_administrator_and_no_second() {
    let database = Database::create_empty().await;
    let shell = shell(&database);
    assert!(
        shell.run(&["client", "bootstrap", "--client-id", "root"]).await.with_code(1).contains("migrate up")
    );
    shell.run(&["migrate", "up"]).await.with_code(0);
    assert!(
        shell
            .run(&["client", "bootstrap", "--client-id", "two words"])
            .await
            .with_code(1)
            .contains("client-id")
    );

    let said = shell.run(&["client", "bootstrap", "--client-id", "root"]).await;
    let key = said.data().trim().to_owned();
    let server = Server::start(&database.url, shell.directory.path(), &ServerOptions::default()).await;
    let mut api = Api::connect(&server.ready, &key);
    let token = api.token("svc:a", "api").await.access_token;
    assert_eq!(api.status(&token, "api").await, pb::TokenStatus::Active);
    let events =
        api.admin.list_audit_events(pb::ListAuditEventsRequest::default()).await.unwrap().into_inner();
    assert!(
        events
            .audit_events
            .iter()
            .any(|event| event.action == "BootstrapClient" && event.client_id == "root")
    );

    for name in ["root", "another"] {
        let said = shell.run(&["client", "bootstrap", "--client-id", name]).await;
        assert!(said.with_code(1).contains("already"), "{said:?}");
        assert_eq!(said.out, "", "no key");
    }
}

#[tokio::test]
async fn bootstrap_gives_nothing_to_keys_that_a_client_has_already() {
    let database = Database::create().await;
    database.execute("update client set disabled = true where client_id = 'admin'").await;
    let said = shell(&database).run(&["client", "bootstrap", "--client-id", "service"]).await;
    assert!(said.with_code(1).contains("already"), "{said:?}");
    shell(&database).run(&["client", "bootstrap", "--client-id", "second"]).await.with_code(0);
}

#[tokio::test]
async fn e20_the_first_key_goes_to_a_file_that_only_its_owner_can_read() {
    use std::os::unix::fs::PermissionsExt as _;

    let database = Database::create_empty().await;
    let shell = shell(&database);
    shell.run(&["migrate", "up"]).await.with_code(0);
    shell.script("umask 022; jeton client bootstrap --client-id root > key").await.with_code(0);
    let file = shell.path("key");
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("jtk_"));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}
