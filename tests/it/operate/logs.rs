//! E2: nothing secret leaves by a log line, a metric, an error or a panic, and one event is one line.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jeton::{
    mint::MasterKey,
    proto::v1::{self as pb, revocation_target::Kind},
};
use jeton_token::{ApiKey, SigningKey};
use tonic::Status;
use zeroize::Zeroizing;

use crate::world::{ServerOptions, Shell, World, api_key, issue_request, master_key_text, revoke_request};

/// A text of others that would break lines and steer terminals.
const HOSTILE: &str =
    "INC-1\n{\"level\":\"ERROR\",\"message\":\"forged\"}\r\n\u{1b}[31mred\u{1b}]0;title\u{7}\u{202e}";

/// Secrets that must not be seen anywhere: named, so that a failure does not print them.
struct Secrets(Vec<(String, String)>);

impl Secrets {
    fn add(&mut self, what: &str, secret: &str) {
        assert!(secret.len() >= 8, "{what}");
        self.0.push((what.to_owned(), secret.to_owned()));
    }

    fn add_token(&mut self, what: &str, token: &str) {
        for (index, part) in token.split('.').enumerate().filter(|(_, part)| part.len() >= 8) {
            self.add(&format!("part {index} of {what}"), part);
        }
    }

    fn add_key(&mut self, what: &str, key: &SigningKey) {
        let pkcs8: &Zeroizing<Vec<u8>> = key.pkcs8();
        // The private scalar stands in the middle of the document, whatever its encoding.
        self.add(what, &URL_SAFE_NO_PAD.encode(&pkcs8[..])[60..90]);
        self.add(what, &STANDARD.encode(&pkcs8[..])[60..90]);
        let middle = u128::from_be_bytes(pkcs8[40..56].try_into().unwrap());
        self.add(what, &format!("{middle:032x}"));
    }

    /// Holds a text to E2.
    fn absent_from(&self, place: &str, text: &str) {
        for (what, secret) in &self.0 {
            assert!(!text.contains(secret.as_str()), "{what} is in {place}");
        }
        // A general check: a JWT begins like this, a refresh token or an API key like that.
        assert!(!text.contains("eyJ"), "a part of a JWT is in {place}");
        for prefix in ["jtr_", "jtk_"] {
            let long = text.match_indices(prefix).any(|(at, _)| {
                let rest = &text[at + prefix.len()..];
                rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_' || *c == '-').count() >= 8
            });
            assert!(!long, "{prefix}... is in {place}");
        }
    }
}

/// Every kind of call with every kind of secret, good and bad; the refusals are gathered.
async fn be_busy(world: &World, secrets: &mut Secrets) -> Vec<Status> {
    let mut refusals = Vec::new();
    let mut api = world.api("service").await;
    let mut admin = world.api("admin").await;
    let good = api.token("user:7", "api").await.access_token;
    secrets.add_token("an access token", &good);
    let session = api.session("user:7", "api").await;
    secrets.add_token("a session's token", &session.access_token);
    let first = session.refresh.unwrap().refresh_token;
    secrets.add("a refresh token", &first);
    let second = api.refresh(&first).await.unwrap();
    let successor = second.refresh.unwrap().refresh_token;
    secrets.add("its successor", &successor);
    let third = api.refresh(&successor).await.unwrap();
    secrets.add("the one after", &third.refresh.unwrap().refresh_token);
    refusals.push(api.refresh(&first).await.unwrap_err());
    let forged = format!("{}AAAA", &third.access_token[..third.access_token.len() - 4]);
    secrets.add_token("a forged token", &forged);
    let forged_refresh = format!("jtr_{}", "A".repeat(98));
    secrets.add("a forged refresh token", &forged_refresh);
    refusals.push(api.refresh(&forged_refresh).await.unwrap_err());
    for text in [&forged, &forged_refresh, &first, &good, HOSTILE] {
        api.status(text, "api").await;
        api.revoke(Kind::Token((*text).to_string())).await.unwrap();
        // A token in the wrong place: somebody pastes it into another field.
        refusals.extend(api.revoke(Kind::Jti((*text).to_string())).await.err());
        refusals.extend(api.revoke(Kind::SessionId((*text).to_string())).await.err());
    }
    let strange = |change: fn(&mut pb::IssueRequest, String), text: &str| {
        let mut request = issue_request("user:7", &["api"]);
        change(&mut request, text.to_owned());
        request
    };
    let changes: [fn(&mut pb::IssueRequest, String); 3] = [
        |request, text| request.subject = text,
        |request, text| request.audiences = vec![text],
        |request, text| request.scopes = vec![text],
    ];
    let mut narrow = world.api("narrow").await;
    for change in changes {
        refusals.extend(api.issue(strange(change, HOSTILE)).await.err());
        for text in [HOSTILE, &first, &good[..200]] {
            refusals.extend(narrow.issue(strange(change, text)).await.err());
        }
    }
    for text in [&first, &api_key("service")] {
        refusals.push(narrow.validate(&good, &[text]).await.unwrap_err());
        let request = pb::DeletePolicyRequest { audience: text.clone(), ..Default::default() };
        refusals.push(admin.admin.delete_policy(request).await.unwrap_err());
        refusals.push(api.set_policy(crate::world::policy(text)).await.unwrap_err());
    }
    let unknown = ApiKey::generate();
    for key in ["jtk_short", unknown.expose(), &format!("{}x", api_key("service"))] {
        if key.len() > 12 {
            secrets.add("a bad API key", key);
        }
        refusals.push(world.api_with_key(key).await.validate(&good, &["api"]).await.unwrap_err());
    }
    let noted = pb::RevokeRequest {
        note: "INC-1 \u{e9}".to_owned(),
        reason: pb::RevocationReason::Leaked.into(),
        ..revoke_request(Kind::Subject("user:7".to_owned()))
    };
    admin.wide.revoke(noted.clone()).await.unwrap();
    let hostile = pb::RevokeRequest { note: HOSTILE.to_owned(), ..noted };
    refusals.extend(admin.wide.revoke(hostile).await.err());
    refusals.extend(admin.set_policy(crate::world::policy(HOSTILE)).await.err());
    refusals
}

#[tokio::test]
async fn e2_no_token_key_or_secret_is_in_any_log_line_metric_or_error() {
    let mut secrets = Secrets(Vec::new());
    let options = ServerOptions { log: Some("trace".to_owned()), ..ServerOptions::default() };
    let mut world = World::start_with(options).await;
    for (client_id, ..) in crate::world::CLIENTS {
        let key = api_key(client_id);
        secrets.add("an API key's secret", &key["jtk_".len() + 23..]);
        secrets.add("an API key", &key);
    }
    secrets.add("the master key", &master_key_text());
    secrets.add_key("the signing key", &world.forge().await.key);
    assert!(MasterKey::parse(&master_key_text()).is_ok());

    let refusals = be_busy(&world, &mut secrets).await;
    assert!(refusals.len() > 12, "{}", refusals.len());
    for refusal in &refusals {
        let said = format!("{refusal:?} {:?}", tonic_types::StatusExt::get_error_details(refusal));
        secrets.absent_from("an error", &said);
        assert!(!refusal.message().contains(char::is_control), "one line: {:?}", refusal.message());
    }
    secrets.absent_from("the metrics", &world.server.ops("/metrics").await.1);
    world.server.terminate();
    world.server.ended().await;
    let log = world.server.logged();
    assert!(log.lines().count() > 100, "it was told to say everything");
    secrets.absent_from("the log", &log);
    for line in log.lines() {
        let event: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON object ({error}): {line}"));
        assert!(event.is_object() && event["level"].is_string(), "{line}");
        assert_ne!(event["message"], "forged", "{line}");
        assert!(!line.contains('\u{1b}'), "no escape reaches a terminal: {line:?}");
    }
}

/// Run by the test below, in a process of its own: the hook is for the whole process.
#[test]
#[ignore = "run by another test"]
fn a_child_that_panics() {
    jeton::observe::log_to_stderr("info", "a").unwrap();
    let panicked = std::thread::spawn(|| panic!("{} and jtk_secret", "eyJhbGciOi")).join();
    assert!(panicked.is_err());
}

#[test]
fn e2_a_panic_says_where_and_not_what() {
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["operate::logs::a_child_that_panics", "--exact", "--ignored", "--nocapture"])
        .env("RUST_BACKTRACE", "1")
        .output()
        .unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&child.stderr), String::from_utf8_lossy(&child.stdout));
    // Escaped: the child's test output must not look like this run's.
    assert!(child.status.success(), "{said:?}");
    let line =
        said.lines().find(|line| line.contains("a panic")).unwrap_or_else(|| panic!("not logged: {said:?}"));
    let event: serde_json::Value = serde_json::from_str(line).unwrap();
    assert!(event["panic.place"].as_str().unwrap().contains("logs.rs"), "{line}");
    assert!(!said.contains("eyJhbGciOi") && !said.contains("jtk_secret"), "{said:?}");
}

#[tokio::test]
async fn e19_each_line_says_whose_it_is_and_each_act_has_one() {
    let mut world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let token = api.token("user:7", "api").await;
    let leaked = pb::RevokeRequest {
        note: "INC-1\nforged".to_owned(),
        ..revoke_request(Kind::Token(token.access_token))
    };
    api.tokens.revoke(leaked).await.unwrap();
    let subject = || Kind::Subject("user:7".to_owned());
    admin.revoke_wide(subject()).await.unwrap();
    admin.set_policy(crate::world::policy("orders")).await.unwrap();
    let client = pb::Client { client_id: "billing".to_owned(), ..Default::default() };
    admin.admin.create_client(pb::CreateClientRequest { client: Some(client) }).await.unwrap();
    admin.admin.rotate_key(pb::RotateKeyRequest { emergency: true, ..Default::default() }).await.unwrap();
    let unknown = ApiKey::generate();
    for _ in 0..3 {
        world.api_with_key(unknown.expose()).await.validate("x", &["api"]).await.unwrap_err();
    }
    // Somebody pastes a token in place of a name.
    let pasted = pb::RevokeRequest {
        reason: pb::RevocationReason::Leaked.into(),
        ..revoke_request(Kind::Subject("eyJhbGciOiJFUzI1NiJ9".to_owned()))
    };
    admin.wide.revoke(pasted).await.unwrap();
    world.server.terminate();
    world.server.ended().await;
    let name = world.server.ready.replica.clone();
    let lines: Vec<serde_json::Value> =
        world.server.logged().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().all(|line| line["replica"] == name), "{lines:?}");
    let acts: Vec<_> = lines.iter().filter(|line| line["message"] == "an act").collect();
    for (action, actor) in [
        ("Revoke", "service"),
        ("Revoke", "admin"),
        ("UpdatePolicy", "admin"),
        ("CreateClient", "admin"),
        ("RotateKey", "admin"),
    ] {
        let is_it =
            |line: &&&serde_json::Value| line["jeton.action"] == action && line["jeton.actor"] == actor;
        assert!(acts.iter().any(|line| is_it(&line)), "{action} by {actor}: {acts:?}");
    }
    let first = acts.iter().find(|line| line["jeton.actor"] == "service").unwrap();
    assert_eq!((&first["jeton.jti"], &first["jeton.outcome"]), (&token.jti.into(), &"REVOKED".into()));
    assert_eq!(first["jeton.note"], "INC-1\nforged");
    let refused: Vec<_> = lines.iter().filter(|line| line["message"] == "a credential was refused").collect();
    assert_eq!(refused.len(), 1, "a sample: {refused:?}");
    assert_eq!(
        (&refused[0]["jeton.api_key_id"], &refused[0]["client.address"]),
        (&unknown.id().into(), &"127.0.0.1".into())
    );
    assert!(acts.iter().all(|line| !line.to_string().contains("eyJ")), "no credential: {acts:?}");
}

#[tokio::test]
async fn e19_on_a_terminal_lines_are_text() {
    let database = crate::world::Database::create().await;
    let mut shell = Shell::new();
    shell.write("master.key", &master_key_text());
    shell.arguments = [
        "--master-key-file",
        "master.key",
        "--plaintext",
        "--issuer",
        "http://a",
        "--replica-name",
        "r-1",
        "--allow-fsync-off",
    ]
    .map(str::to_owned)
    .to_vec();
    let ports = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"];
    let serve = [&["serve", "--database-url", &database.url][..], &ports].concat();
    let said = shell.interrupting(&serve, "serving").await;
    let lines: Vec<_> = said.err.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    assert!(lines.iter().all(|line| line.starts_with("[r-1] ")), "{said:?}");
    assert!(lines.iter().any(|line| line.contains(" INFO ") && line.contains("serving")), "{said:?}");
    assert!(!said.err.contains('{'), "no JSON: {said:?}");
}

#[tokio::test]
async fn a_log_filter_that_is_nonsense_is_refused_before_anything_else() {
    let mut shell = Shell::new();
    shell.write("master.key", &master_key_text());
    shell.arguments = ["--master-key-file", "master.key", "--plaintext", "--issuer", "http://a"]
        .map(str::to_owned)
        .to_vec();
    let said =
        shell.run(&["serve", "--database-url", "postgres://x@127.0.0.1:1/x", "--log", "jeton=loud"]).await;
    let error = said.with_code(1);
    assert!(error.starts_with("error: --log is not valid") && error.lines().count() == 1, "{said:?}");
    // A word that is no level would be taken for the name of what alone is to be logged.
    for filter in ["warning", "verbose,sqlx=warn"] {
        let said =
            shell.run(&["serve", "--database-url", "postgres://x@127.0.0.1:1/x", "--log", filter]).await;
        let error = said.with_code(1);
        assert!(error.contains("is no level") && error.contains("warn, info"), "{said:?}");
    }
}

#[tokio::test]
async fn e19_what_jeton_itself_and_verbs_on_the_database_do_has_lines_too() {
    let database = crate::world::Database::create_empty().await;
    let mut shell = Shell::new();
    shell.environment.push(("JETON_DATABASE_URL".to_owned(), database.url.clone()));
    shell.run(&["migrate", "up"]).await.with_code(0);
    let acts = |text: &str| -> Vec<serde_json::Value> {
        let lines = text.lines().filter(|line| line.contains("\"an act\""));
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let said = shell.run(&["client", "bootstrap", "--client-id", "root"]).await;
    assert!(said.data().starts_with("jtk_") && !said.err.contains("jtk_"), "{said:?}");
    let told = acts(&said.err);
    assert_eq!(told.len(), 1, "{said:?}");
    assert_eq!(
        (&told[0]["jeton.action"], &told[0]["jeton.client_id"], &told[0]["replica"]),
        (&"BootstrapClient".into(), &"root".into(), &"jeton client bootstrap".into())
    );
    let mut server =
        crate::world::Server::start(&database.url, shell.directory.path(), &ServerOptions::default()).await;
    let made: Vec<_> = acts(&server.logged()).into_iter().map(|act| act["jeton.action"].clone()).collect();
    for action in ["PublishKey", "ActivateKey", "PublishMacKey", "ActivateMacKey"] {
        assert!(made.contains(&action.into()), "{action}: {made:?}");
    }
    server.terminate();
    server.ended().await;
    let other = shell.write("other.key", &MasterKey::generate().unwrap().to_text());
    let other = other.display().to_string();
    let resealed = shell.run(&["key", "reseal", "--new-master-key-file", &other]).await;
    assert_eq!(acts(&resealed.err)[0]["jeton.action"], "ResealKeys", "{resealed:?}");
    let bumped = shell.run(&["epoch", "bump", "--keep-keys", "--master-key-file", &other]).await;
    let told = acts(&bumped.err);
    assert_eq!((told.len(), &told[0]["jeton.action"]), (1, &"BumpEpoch".into()), "{bumped:?}");
    assert!(told[0]["jeton.revision"].as_str().unwrap().starts_with("2."), "{told:?}");
    // Messages for people are separate: a failing verb says once what is wrong.
    let failed =
        shell.run(&["client", "bootstrap", "--client-id", "again", "--master-key-file", &other]).await;
    assert_eq!(failed.with_code(1).lines().count(), 1, "{failed:?}");
}
