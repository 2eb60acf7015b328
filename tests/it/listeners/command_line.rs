//! The command line over TLS: flags, contexts, and what doctor says of certificates.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use super::BILLING;
use crate::world::{Authority, Said, Secure, Shell, api_key, server, until, until_within};

/// Flags that reach a world's listeners over TLS, with these beside.
fn reaching(secure: &Secure, more: &[(&str, &Path)]) -> Vec<String> {
    let ready = &secure.world.server.ready;
    let ca = secure.servers.write(secure.files.path(), "servers.pem");
    let endpoints = [("--endpoint", &ready.public), ("--admin-endpoint", &ready.admin)];
    let endpoints = endpoints.map(|(flag, address)| [flag.to_owned(), format!("https://{address}")]);
    let files = [("--tls-ca", ca.as_path())].into_iter().chain(more.iter().copied());
    let files = files.map(|(flag, path)| [flag.to_owned(), path.display().to_string()]);
    endpoints.into_iter().chain(files).flatten().collect()
}

/// A shell that shows a certificate.
fn shell(secure: &Secure, certificate: &[std::path::PathBuf; 2]) -> Shell {
    let shows = [("--tls-cert", certificate[0].as_path()), ("--tls-key", certificate[1].as_path())];
    Shell { arguments: reaching(secure, &shows), ..Shell::new() }
}

/// An administrator's, who looks at everything.
fn admin_shell(secure: &Secure, more: &[(&str, &Path)]) -> Shell {
    let mut shell = Shell::new();
    let key = shell.write("api.key", &api_key("admin"));
    shell.arguments = reaching(secure, &[&[("--api-key-file", key.as_path())], more].concat());
    shell
}

/// Doctor's check of the certificates: its status and the detail.
async fn looked(shell: &Shell) -> (Said, String, String) {
    let said = shell.run(&["doctor", "--output", "json"]).await;
    let json: Value = serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    let checks = json["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == "certificates").expect("it looks");
    let text = |field: &str| check[field].as_str().unwrap().to_owned();
    (said, text("status"), text("detail"))
}

#[tokio::test]
async fn c3_verbs_show_a_certificate_in_place_of_an_api_key_by_flags_and_by_context() {
    let secure = Secure::start().await;
    secure.register("billing", BILLING).await;
    let leaf = secure.clients.client(BILLING).write(secure.files.path(), "billing");
    let mut shell = shell(&secure, &leaf);
    let issue = ["issue", "--subject", "user:7", "--audience", "api"];
    let token = shell.run(&issue).await.data().to_owned();
    let told = shell.pipe(&["inspect", "--output", "json"], &token).await;
    assert!(told.data().contains("\"billing\""), "{told:?}");

    // The same by a context, whose paths work from anywhere.
    let flags = std::mem::take(&mut shell.arguments);
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    shell.run(&[&["context", "add", "prod"], &flags[..]].concat()).await.with_code(0);
    shell.run(&["context", "use", "prod"]).await.with_code(0);
    shell.run(&issue).await.with_code(0);
    let listed = shell.run(&["context", "list", "--output", "json"]).await.json();
    assert_eq!(listed["contexts"][0]["tlsCert"], leaf[0].display().to_string());
    let kept = std::fs::read_to_string(shell.path("config/jeton/contexts.toml")).unwrap();
    assert!(!kept.contains("PRIVATE KEY"), "{kept}");

    // A certificate goes where it was given for, and nowhere else.
    let public = &secure.world.server.ready.public;
    let elsewhere = ["--endpoint", &format!("https://localhost:{}", public.rsplit_once(':').unwrap().1)];
    let said = shell.run(&[&issue[..], &elsewhere].concat()).await;
    assert!(said.with_code(2).contains("no credential is known"), "{said:?}");
}

#[tokio::test]
async fn what_is_wrong_with_tls_is_said_with_what_to_do() {
    let secure = Secure::start().await;
    let leaf = secure.clients.client(BILLING).write(secure.files.path(), "billing");
    let foreign = Authority::new("foreign");
    let foreign_ca = foreign.write(secure.files.path(), "foreign.pem");
    let [foreign, foreign_key] = foreign.client(BILLING).write(secure.files.path(), "foreign-client");
    let ready = &secure.world.server.ready;
    let issue = ["issue", "--subject", "user:7", "--audience", "api"];
    let with = async |change: &dyn Fn(&mut Vec<String>)| {
        let mut shell = shell(&secure, &leaf);
        change(&mut shell.arguments);
        shell.run(&issue).await
    };
    let set = |arguments: &mut Vec<String>, flag: &str, value: &str| {
        let place = arguments.iter().position(|argument| argument == flag).unwrap();
        value.clone_into(&mut arguments[place + 1]);
    };
    let path = |path: &Path| path.display().to_string();

    let said = with(&|it| set(it, "--tls-ca", &path(&foreign_ca))).await;
    assert!(said.with_code(5).contains("Give its authority with --tls-ca"), "{said:?}");
    let port = ready.public.rsplit_once(':').unwrap().1;
    let said = with(&|it| set(it, "--endpoint", &format!("https://127.0.0.2:{port}"))).await;
    assert!(!said.with_code(5).is_empty(), "{said:?}");
    let said = with(&|it| set(it, "--endpoint", &format!("https://localhost:{port}"))).await;
    assert!(said.with_code(5).contains("is for another name"), "{said:?}");
    let said = with(&|it| set(it, "--endpoint", &format!("http://{}", ready.public))).await;
    assert!(
        said.with_code(2).contains("no credential is known"),
        "a certificate says nothing in plaintext: {said:?}"
    );
    let said = with(&|it| set(it, "--tls-cert", "absent.pem")).await;
    assert!(said.with_code(2).contains("cannot read absent.pem"), "{said:?}");
    let said = with(&|it| set(it, "--tls-key", &path(&leaf[0]))).await;
    assert!(said.with_code(2).contains("the files of TLS cannot be used"), "{said:?}");
    let said = with(&|it| it.truncate(it.len() - 2)).await;
    assert!(said.with_code(2).contains("--tls-cert and --tls-key go together"), "{said:?}");
    // Of another authority: no connection. Of an unregistered client: a refusal.
    let said = with(&|it| {
        set(it, "--tls-cert", &path(&foreign));
        set(it, "--tls-key", &path(&foreign_key));
    })
    .await;
    assert!(!said.with_code(5).contains("UNAUTHENTICATED"), "{said:?}");
    let said = with(&|_| {}).await;
    assert!(said.with_code(4).contains("CALLER_UNAUTHENTICATED"), "{said:?}");
}

#[tokio::test]
async fn doctor_is_well_with_good_certificates_and_warns_of_one_that_ends_soon() {
    let secure = Secure::start().await;
    let shell = admin_shell(&secure, &[]);
    let (said, status, detail) = looked(&shell).await;
    assert_eq!((said.code, status.as_str()), (0, "ok"), "{said:?}");
    // Of 90 days, less the time since it was made.
    let ends = ["public: TLS 1.3, ends in 90d", "public: TLS 1.3, ends in 89d"];
    assert!(ends.iter().any(|end| detail.contains(end)) && detail.contains("admin: TLS 1.3"), "{detail}");

    // The client's own.
    let mine = secure.clients.client_for(BILLING, Duration::from_mins(10)).write(secure.files.path(), "mine");
    let shows = [("--tls-cert", mine[0].as_path()), ("--tls-key", mine[1].as_path())];
    let (said, status, detail) = looked(&admin_shell(&secure, &shows)).await;
    assert_eq!((said.code, status.as_str()), (0, "warn"), "{said:?}");
    assert!(detail.contains("mine.pem: ends in"), "{detail}");

    let mut params = server(Duration::from_hours(24 * 10));
    params.not_before = (SystemTime::now() - Duration::from_hours(24 * 80)).into();
    secure.servers.sign(&params).write(secure.files.path(), "server");
    until("doctor warns", async || looked(&shell).await.1 == "warn").await;
    let (said, _, detail) = looked(&shell).await;
    assert_eq!(said.code, 0, "it is no failure yet: {said:?}");
    assert!(detail.contains("public: TLS 1.3, ends in"), "{detail}");
}

#[tokio::test]
async fn e19_what_tls_refuses_is_said_in_words_with_what_helps() {
    let secure = Secure::start().await;
    // Plaintext where TLS was asked for.
    let plain = crate::world::World::start().await;
    let mut shell = admin_shell(&secure, &[]);
    shell.arguments[1] = format!("https://{}", plain.server.ready.public);
    let said = shell.run(&["issue", "--subject", "user:7", "--audience", "api"]).await;
    let told = said.with_code(5);
    assert!(told.contains("this server speaks plaintext"), "{said:?}");
    assert!(told.contains(&format!("http://{}", plain.server.ready.public)), "{said:?}");
    // The certificate that `openssl req -x509` makes by default.
    let mut params = server(Duration::from_hours(24));
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let made = secure.servers.sign(&params);
    made.write(secure.files.path(), "server");
    let shell = admin_shell(&secure, &[]);
    until("it is in use", async || looked(&shell).await.1 == "fail").await;
    let (_, _, detail) = looked(&shell).await;
    assert!(detail.contains("CA:TRUE") && detail.contains("basicConstraints=critical,CA:FALSE"), "{detail}");
    let said = shell.run(&["issue", "--subject", "user:7", "--audience", "api"]).await;
    assert!(said.with_code(5).contains("openssl req -x509") && !said.err.contains("OtherError"), "{said:?}");
    assert!(secure.world.server.logged().contains("CA:TRUE"), "the server says so, too");
}

#[tokio::test]
async fn doctor_fails_for_certificates_that_have_ended_or_are_not_trusted() {
    let secure = Secure::start().await;
    let past = secure.clients.client_for(BILLING, Duration::ZERO).write(secure.files.path(), "past");
    let shows = [("--tls-cert", past[0].as_path()), ("--tls-key", past[1].as_path())];
    let (said, status, detail) = looked(&admin_shell(&secure, &shows)).await;
    assert_eq!((said.code, status.as_str()), (3, "fail"), "{said:?}");
    assert!(detail.contains("past.pem: ended"), "{detail}");

    // Of another authority than this client trusts.
    let mut untrusting = admin_shell(&secure, &[]);
    let foreign = Authority::new("foreign").write(secure.files.path(), "foreign.pem");
    let place = untrusting.arguments.iter().position(|argument| argument == "--tls-ca").unwrap();
    untrusting.arguments[place + 1] = foreign.display().to_string();
    let (said, status, detail) = looked(&untrusting).await;
    assert_eq!((said.code, status.as_str()), (3, "fail"), "{said:?}");
    assert!(detail.contains("public: ") && detail.contains("no authority that is known"), "{detail}");

    // The server's certificate ends while it is in use, as one that was not renewed. It takes two or three seconds
    // until it is in use, and some more on a machine that stands still.
    let shell = admin_shell(&secure, &[]);
    secure.servers.server_for(Duration::from_secs(14)).write(secure.files.path(), "server");
    until_within(Duration::from_mins(1), "it has ended", async || looked(&shell).await.1 == "fail").await;
    let (said, _, detail) = looked(&shell).await;
    said.with_code(3);
    assert!(
        detail.contains("public: ") && (detail.contains("ended") || detail.contains("expired")),
        "{detail}"
    );
    assert!(said.out.contains("Renew the certificate"), "what to do: {said:?}");
}

#[tokio::test]
async fn e19_the_files_of_a_client_may_have_a_byte_order_mark() {
    let secure = Secure::start().await;
    let mut shell = admin_shell(&secure, &[]);
    let place = shell.arguments.iter().position(|argument| argument == "--tls-ca").unwrap();
    let text = std::fs::read_to_string(&shell.arguments[place + 1]).unwrap();
    let marked = shell.write("marked.pem", &format!("\u{feff}{text}"));
    shell.arguments[place + 1] = marked.display().to_string();
    shell.run(&["issue", "--subject", "user:7", "--audience", "api"]).await.data();
    let (said, status, detail) = looked(&shell).await;
    assert_eq!(status, "ok", "{detail}: {said:?}");
}
