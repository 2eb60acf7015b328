//! The TLS options of a starting server, and its refusals: one clear sentence each.

use std::path::Path;

use rcgen::KeyPair;
use tokio::{task::JoinSet, time::timeout};

use super::JWKS;
use crate::world::{Authority, Database, Dialer, InProcess, PATIENCE, Server, ServerOptions, World};

/// Starts a server that must not come up with these arguments, and gives its one sentence.
async fn refused(database: &Database, arguments: &[String]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let options = ServerOptions { tls: true, arguments: arguments.to_vec(), ..ServerOptions::default() };
    let started = Server::try_start(&database.url, directory.path(), &options).await;
    let (status, said) = started.err().unwrap_or_else(|| panic!("it serves with {arguments:?}"));
    assert_eq!(status.code(), Some(1), "{said}");
    let lines: Vec<_> = said.lines().filter(|line| !line.starts_with('{')).collect();
    let [sentence] = lines[..] else { panic!("one sentence: {said}") };
    assert!(sentence.starts_with("error: "), "{said}");
    sentence.to_owned()
}

fn told(flags: &[(&str, &Path)]) -> Vec<String> {
    flags.iter().flat_map(|(flag, path)| [(*flag).to_owned(), path.display().to_string()]).collect()
}

#[tokio::test]
async fn without_tls_files_plaintext_must_be_asked_for_and_nonsense_is_refused_in_one_sentence() {
    let database = Database::create().await;
    let files = tempfile::tempdir().unwrap();
    let authority = Authority::new("servers");
    let [certificate, key] = authority.server().write(files.path(), "server");
    let [_, other_key] = authority.server().write(files.path(), "other");
    let [ended, ended_key] = authority.ended_server().write(files.path(), "ended");
    let client_ca = authority.write(files.path(), "clients.pem");
    let encrypted = files.path().join("encrypted.pem");
    std::fs::write(
        &encrypted,
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGj\n-----END ENCRYPTED PRIVATE KEY-----\n",
    )
    .unwrap();
    let (absent, text) = (files.path().join("absent.pem"), files.path().join("text.pem"));
    std::fs::write(&text, "no PEM at all").unwrap();
    let not_theirs = files.path().join("leaf-key.pem");
    std::fs::write(&not_theirs, KeyPair::generate().unwrap().serialize_pem()).unwrap();

    let (cert, its_key, ca) = ("--tls-cert", "--tls-key", "--client-ca");
    let good = [(cert, certificate.as_path()), (its_key, key.as_path())];
    let with = |more: &[(&'static str, &Path)]| told(&[&good[..], more].concat());
    let pair = |certificate: &Path, key: &Path| told(&[(cert, certificate), (its_key, key)]);
    let plaintext = |mut arguments: Vec<String>| {
        arguments.push("--plaintext".to_owned());
        arguments
    };
    let neither = "--tls-cert and --tls-key are required, or --plaintext";
    let both = "exclude each other: give TLS files, or plaintext";
    let cases: Vec<(&str, Vec<String>, &str)> = vec![
        ("nothing", vec![], neither),
        ("a certificate alone", told(&good[..1]), neither),
        ("a key alone", told(&good[1..]), neither),
        ("clients' authorities alone", told(&[(ca, &client_ca)]), neither),
        ("the admin listener's alone", told(&[("--admin-tls-cert", &certificate)]), neither),
        ("plaintext with a certificate", plaintext(with(&[])), both),
        ("plaintext with authorities", plaintext(told(&[(ca, &client_ca)])), both),
        ("plaintext with the admin's", plaintext(told(&[("--admin-client-ca", &client_ca)])), both),
        (
            "an admin certificate without its key",
            with(&[("--admin-tls-cert", &certificate)]),
            "--admin-tls-cert and --admin-tls-key go together",
        ),
        ("no such certificate", pair(&absent, &key), "absent.pem cannot be read"),
        ("no such key", pair(&certificate, &absent), "absent.pem cannot be read"),
        ("no such authorities", with(&[(ca, &absent)]), "absent.pem cannot be read"),
        ("a directory", pair(files.path(), &key), "cannot be read"),
        ("a certificate that is none", pair(&text, &key), "text.pem holds no certificate in PEM form"),
        ("a key that is none", pair(&certificate, &text), "text.pem holds no private key in PEM form"),
        ("a key as a certificate", pair(&key, &key), "server.key holds no certificate in PEM form"),
        ("a certificate as a key", pair(&certificate, &certificate), "holds no private key in PEM form"),
        ("authorities that are none", with(&[(ca, &text)]), "text.pem holds no certificate in PEM form"),
        ("authorities that are a key", with(&[(ca, &not_theirs)]), "holds no certificate in PEM form"),
        ("another's key", pair(&certificate, &other_key), "is not that of the certificate in"),
        ("an encrypted key", pair(&certificate, &encrypted), "encrypted.pem is encrypted: decrypt it"),
        ("a certificate that has ended", pair(&ended, &ended_key), "ended.pem is good from"),
    ];
    for (name, arguments, expected) in cases {
        let said = refused(&database, &arguments).await;
        assert!(said.contains(expected), "{name}: {said}");
        assert!(!said.contains("PRIVATE KEY"), "{name}: {said}");
        assert!(said.matches("KeyMismatch").count() == 0, "in words: {said}");
    }
    // An editor's byte order mark is no part of a key.
    for file in [&certificate, &key] {
        let text = std::fs::read_to_string(file).unwrap();
        std::fs::write(file, format!("\u{feff}{text}\n\n")).unwrap();
    }
    let options = ServerOptions { tls: true, arguments: with(&[]), ..ServerOptions::default() };
    let directory = tempfile::tempdir().unwrap();
    Server::try_start(&database.url, directory.path(), &options).await.map_err(|(_, said)| said).unwrap();
    // Faults of the admin listener's files name the admin listener.
    let admin = [("--admin-tls-cert", ended.as_path()), ("--admin-tls-key", ended_key.as_path())];
    let said = refused(&database, &with(&admin)).await;
    assert!(said.contains("the admin listener has no TLS") && said.contains("ended.pem"), "{said}");
}

#[tokio::test]
async fn each_listener_has_a_certificate_of_its_own_and_takes_clients_of_its_own_authority() {
    let files = tempfile::tempdir().unwrap();
    let [services, people, servers, offices] =
        ["services", "people", "servers", "offices"].map(Authority::new);
    let [public, public_key] = servers.server().write(files.path(), "public");
    let [admin, admin_key] = offices.server().write(files.path(), "admin");
    let (public_ca, admin_ca) =
        (services.write(files.path(), "services.pem"), people.write(files.path(), "people.pem"));
    let arguments = told(&[
        ("--tls-cert", &public),
        ("--tls-key", &public_key),
        ("--client-ca", &public_ca),
        ("--admin-tls-cert", &admin),
        ("--admin-tls-key", &admin_key),
        ("--admin-client-ca", &admin_ca),
    ]);
    let world = World::start_with(ServerOptions { tls: true, arguments, ..ServerOptions::default() }).await;
    let ready = &world.server.ready;
    let service = services.client("spiffe://example.org/service");
    let person = people.client("spiffe://example.org/person");
    for (listener, own, foreign, client, stranger) in [
        (&ready.public, &servers, &offices, &service, &person),
        (&ready.admin, &offices, &servers, &person, &service),
    ] {
        let dialer = |trusts, shows| Dialer::new(trusts, shows, &["http/1.1"]);
        let answer = dialer(own, Some(client)).get(listener, "/").await;
        assert_eq!(answer.status, 404, "it answers: {answer:?}");
        assert_eq!(dialer(own, None).get(listener, "/").await.status, 404, "without one, too");
        let error = dialer(foreign, None).dial(listener).await.expect_err("another's certificate");
        assert!(error.to_string().contains("UnknownIssuer"), "{error}");
        let mut refused = dialer(own, Some(stranger)).http(listener).await;
        assert!(refused.is_closed().await, "a client of the other listener's authority");
    }
    // The ops listener is for probes: it has none.
    assert_eq!(ready.ops("/readyz").await.0, 200);
}

#[tokio::test]
async fn the_admin_listener_has_what_the_public_one_has_and_the_ops_listener_no_tls() {
    let secure = crate::world::Secure::start().await;
    let dialer = secure.dialer(None);
    assert_eq!(dialer.get(&secure.world.server.ready.admin, "/").await.status, 404);
    assert_eq!(dialer.get(secure.public(), JWKS).await.status, 200);
    assert_eq!(secure.world.server.ops("/livez").await.0, 200);
    // A client in plaintext gets nothing, and no answer that it could take for one.
    let mut plain = crate::world::Http::open(secure.public()).await;
    plain.write("GET /.well-known/jwks.json HTTP/1.1\r\nhost: jeton.test\r\n\r\n").await;
    let rest = plain.rest().await;
    assert!(!rest.starts_with(b"HTTP/"), "{rest:?}");
}

#[tokio::test]
async fn no_probe_is_cut_off_at_the_moment_when_a_server_has_started() {
    let database = Database::create().await;
    for _ in 0..3 {
        // Its listeners are there before it begins to start.
        let server = InProcess::start(&database.url, 0).await;
        let mut probing = JoinSet::new();
        for _ in 0..8 {
            let ready = server.ready.clone();
            // A connection that is reset fails this.
            probing.spawn(timeout(PATIENCE, async move { while ready.ops("/readyz").await.0 != 200 {} }));
        }
        assert!(probing.join_all().await.iter().all(Result::is_ok), "it becomes ready");
        server.ended().await;
    }
}
