//! E10: a database with TLS, and the refusal of one that proves nothing.

use std::time::Duration;

use super::refused;
use crate::world::{Authority, Database, Leaf, Postgres, Server, ServerOptions, Shell, server};

/// The fault is reported in one sentence, by a starting server and by a verb on the database.
async fn is_refused(url: &str, words: &[&str]) {
    let said = refused(url, &ServerOptions::default()).await;
    let migrated = Shell::new().run(&["migrate", "status", "--database-url", url]).await;
    for said in [said.as_str(), migrated.with_code(1)] {
        assert!(words.iter().all(|word| said.contains(word)), "{url}: {said}");
        // A database that is out of reach would be tried again until the time is over.
        assert!(said.contains("cannot be used") && !said.contains("out of reach"), "{url}: {said}");
        let riddle = ["OtherError", "UnknownIssuer", "NotValidForName", "InvalidCertificate"];
        assert!(!riddle.iter().any(|word| said.contains(word)), "{url}: {said}");
    }
}

#[tokio::test]
async fn e10_a_database_proves_who_it_is_by_tls() {
    let mut postgres = Postgres::start().await;
    postgres.stop().await;
    let authority = Authority::new("of the database");
    let port = postgres.restart_with_tls(&authority.server());
    let files = tempfile::tempdir().unwrap();
    let known = authority.write(files.path(), "authority.pem");
    let url = |host: &str, rest: &str| format!("postgres://jeton@{host}:{port}/postgres?sslmode={rest}");
    let with = |mode: &str, file: &std::path::Path| format!("{mode}&sslrootcert={}", file.display());

    let good = url("127.0.0.1", &with("verify-full", &known));
    let directory = tempfile::tempdir().unwrap();
    let serving = Server::start(&good, directory.path(), &ServerOptions::default()).await;
    assert_eq!(serving.ops("/readyz").await.0, 200);
    let database = Database { name: "postgres".to_owned(), url: good };
    let sessions = "select count(*) from pg_stat_ssl join pg_stat_activity using (pid) where application_name like \
                    'jeton%' and ssl";
    assert!(database.number(sessions).await > 0);
    assert_eq!(database.number(&sessions.replace("and ssl", "and not ssl")).await, 0);

    // The certificate names an address, and not this name of it.
    is_refused(&url("localhost", &with("verify-full", &known)), &["another name", "subjectAltName"]).await;
    let other = Authority::new("of another").write(files.path(), "other.pem");
    let words = ["signed by no authority that is known here", "sslrootcert=FILE"];
    for mode in ["verify-full", "verify-ca"] {
        is_refused(&url("127.0.0.1", &with(mode, &other)), &words).await;
    }
    is_refused(&url("127.0.0.1", "verify-full"), &words).await;
}

#[tokio::test]
async fn e10_a_database_that_shows_the_certificate_of_an_authority_is_told_what_to_show() {
    let mut postgres = Postgres::start().await;
    postgres.stop().await;
    // As `openssl req -x509` makes it.
    let mut params = server(Duration::from_hours(1));
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let shown = Leaf::of_itself(&params);
    let port = postgres.restart_with_tls(&shown);
    let files = tempfile::tempdir().unwrap();
    let [known, _] = shown.write(files.path(), "shown");
    let url = format!(
        "postgres://jeton@127.0.0.1:{port}/postgres?sslmode=verify-full&sslrootcert={}",
        known.display()
    );
    is_refused(&url, &["CA:TRUE", "CA:FALSE"]).await;
}
