//! The command line, end to end: tokens.

use std::{fs, os::unix::fs::PermissionsExt};

use jeton::proto::v1 as pb;
use serde_json::Value;

use crate::world::{Shell, World, api_key, steady};

/// The files that `jeton dev` leaves in its directory, for this world.
fn as_dev(world: &World) -> Shell {
    let shell = Shell::new();
    let ready = &world.server.ready;
    let dev = serde_json::json!({
        "public": ready.public, "admin": ready.admin, "ops": ready.ops, "servers": [],
        "clients": { "dev-admin": api_key("admin"), "dev-service": api_key("service") },
    });
    shell.write(".jeton/dev.json", &dev.to_string());
    shell
}

const ISSUE: [&str; 5] = ["issue", "--subject", "user:7", "--audience", "api"];

async fn issued(shell: &Shell) -> String {
    shell.run(&ISSUE).await.data().to_owned()
}

fn jti_of(token: &str) -> String {
    let (_, claims) = jeton_token::inspect_unverified(token).unwrap();
    claims["jti"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_token_is_piped_from_issue_to_validate_out_of_the_box() {
    let world = World::start().await;
    let shell = as_dev(&world);
    let said = shell
        .script("jeton issue --subject user:7 --audience orders --audience mail | jeton validate -")
        .await;
    assert!(said.data().starts_with("ACTIVE: "), "{said:?}");
    let talk: Vec<_> = said.err.lines().filter(|line| line.contains("--audience")).collect();
    assert_eq!(talk.len(), 1, "one line: {said:?}");
    assert!(talk[0].contains("orders mail"), "{said:?}");

    // A caller that names audiences gets no advice.
    let token = issued(&shell).await;
    let other = shell.pipe(&["validate", "-", "--audience", "other"], &token).await;
    assert!(other.with_code(3).is_empty() && other.out.starts_with("WRONG_AUDIENCE"), "{other:?}");
    let own = shell.pipe(&["validate", "--audience", "api"], &token).await;
    assert!(own.data().starts_with("ACTIVE") && own.err.is_empty(), "{own:?}");
    // A caller with audiences of its own needs no help.
    let narrow = Shell::of(&world, "narrow").pipe(&["validate"], &token).await;
    assert!(narrow.data().starts_with("ACTIVE") && narrow.err.is_empty(), "{narrow:?}");
}

#[tokio::test]
async fn issue_prints_the_token_alone_into_a_pipe_and_other_forms_when_asked() {
    let world = World::start().await;
    let shell = as_dev(&world);
    let plain = shell.run(&ISSUE).await;
    let token = plain.data();
    assert_eq!(plain.out, format!("{token}\n"));
    assert_eq!((token.split('.').count(), plain.err.as_str()), (3, ""));
    let form = async |form| shell.run(&[&ISSUE[..], &["--output", form]].concat()).await;
    assert_eq!(form("token").await.data().split('.').count(), 3);
    assert!(form("header").await.data().starts_with("authorization: Bearer eyJ"));
    assert!(form("env").await.data().starts_with("JETON_TOKEN=eyJ"));
    let json = form("json").await.json();
    assert_eq!(json["token"]["expirationBasis"], "EXPIRATION_BASIS_POLICY_DEFAULT");
    assert!(json["token"]["accessToken"].as_str().unwrap().starts_with("eyJ"));
    let table = form("table").await;
    assert!(table.data().contains("user:7") && !table.out.contains("eyJ"), "{table:?}");

    let whole = shell
        .run(
            &[&ISSUE[..], &["--ttl", "20m", "--scope", "read", "--claim", "team=a=b", "--claim-json", "n=7"]]
                .concat(),
        )
        .await;
    let (_, claims) = jeton_token::inspect_unverified(whole.data()).unwrap();
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 1_200);
    assert_eq!((&claims["scope"], &claims["team"], &claims["n"]), (&"read".into(), &"a=b".into(), &7.into()));
}

#[tokio::test]
async fn json_is_the_protojson_of_the_response() {
    let world = World::start().await;
    let shell = as_dev(&world);
    let token = issued(&shell).await;
    let json = shell.pipe(&["validate", "--output", "json"], &token).await.json();
    let verdict = &json["verdict"];
    assert_eq!(verdict["status"], "TOKEN_STATUS_ACTIVE");
    assert_eq!(verdict["audiences"], serde_json::json!(["api"]));
    assert_eq!(verdict["jti"], jti_of(&token).as_str());
    assert!(verdict["expireTime"].as_str().unwrap().ends_with('Z'), "{json}");
    let revoked = shell.pipe(&["revoke", "-", "--output", "json"], &token).await.json();
    assert_eq!(revoked["outcome"], "REVOCATION_OUTCOME_REVOKED");
    assert_eq!(revoked["propagation"]["complete"], true);
}

#[tokio::test]
async fn exit_codes_are_those_of_the_contract() {
    let world = World::start().await;
    let shell = as_dev(&world);
    let token = issued(&shell).await;
    // 3: negative verdicts.
    let garbage = shell.pipe(&["validate", "--audience", "api"], "garbage").await;
    garbage.with_code(3);
    assert!(garbage.out.starts_with("MALFORMED"), "{garbage:?}");
    let foreign = shell.pipe(&["revoke", "-"], "garbage").await;
    foreign.with_code(3);
    assert!(foreign.out.contains("not revoked"), "{foreign:?}");
    shell.pipe(&["revoke"], &token).await.with_code(0);
    let revoked = shell.pipe(&["validate"], &token).await;
    revoked.with_code(3);
    assert!(revoked.out.starts_with("REVOKED"), "{revoked:?}");
    // 0: already revoked.
    assert!(shell.pipe(&["revoke"], &token).await.data().starts_with("already revoked"));
    // 2: policies do not allow the value.
    let refused = shell.run(&[&ISSUE[..], &["--ttl", "2h"]].concat()).await;
    let error = refused.with_code(2);
    assert!(error.starts_with("error: ") && error.contains("reason: TTL_EXCEEDS_MAXIMUM"), "{refused:?}");
    assert_eq!(refused.out, "", "no data");
    // 2: usage.
    for wrong in
        [&["issue", "--subject", "x"][..], &["validate", "nonsense"], &["validate", "--output", "env"]]
    {
        shell.pipe(wrong, &token).await.with_code(2);
    }
    shell.pipe(&["validate"], "").await.with_code(2);
    Shell::new().run(&ISSUE).await.with_code(2);
    // 4: not authenticated, or not allowed.
    let mut other = Shell::of(&world, "nobody");
    other.run(&ISSUE).await.with_code(4);
    other.write("api.key", jeton_token::ApiKey::generate().expose());
    let bad = other.run(&ISSUE).await;
    assert!(bad.with_code(4).contains("CALLER_UNAUTHENTICATED"), "{bad:?}");
    // 5: unavailable.
    other.arguments[1] = "127.0.0.1:1".to_owned();
    let away = other.run(&ISSUE).await;
    assert!(away.with_code(5).contains("cannot reach http://127.0.0.1:1"), "{away:?}");
}

#[tokio::test]
async fn token_text_on_the_command_line_is_refused_and_not_repeated_but_revoke_obeys() {
    let world = World::start().await;
    let shell = as_dev(&world);
    let token = issued(&shell).await;
    for verb in ["validate", "inspect", "refresh"] {
        let said = shell.run(&[verb, &token, "--output", "json"]).await;
        assert!(said.with_code(2).contains("command line"), "{said:?}");
        assert!(!said.err.contains("eyJ") && said.out.is_empty(), "{said:?}");
    }
    let revoked = shell.run(&["revoke", &token]).await;
    assert!(revoked.data().starts_with("revoked token "), "{revoked:?}");
    assert!(revoked.err.contains("warning: token text on the command line"), "{revoked:?}");
    assert!(!revoked.err.contains("eyJ") && !revoked.out.contains("eyJ"), "{revoked:?}");
    shell.pipe(&["validate"], &token).await.with_code(3);
    // There is no flag for it, and a key is a file.
    for flag in ["--token", "--api-key"] {
        shell.run(&["validate", flag, &token]).await.with_code(2);
    }
}

#[tokio::test]
async fn inspect_says_what_a_token_says_and_contacts_nobody() {
    let world = World::start().await;
    let token = issued(&as_dev(&world)).await;
    let jwks = world.api_with_key("").await.discovery.get_jwks(pb::GetJwksRequest::default()).await.unwrap();
    drop(world);
    let shell = Shell::new();
    shell.write("jwks.json", &jwks.into_inner().jwks_json);
    let unverified = shell.pipe(&["inspect"], &token).await;
    assert!(unverified.data().contains("Nothing is verified"), "{unverified:?}");
    assert!(unverified.out.contains("It speaks for user:7 to api"), "{unverified:?}");
    let good = shell.pipe(&["inspect", "-", "--jwks", "jwks.json"], &token).await;
    assert!(good.data().contains("The signature is good"), "{good:?}");
    let json = shell.pipe(&["inspect", "--jwks", "jwks.json", "--output", "json"], &token).await.json();
    assert_eq!((&json["signature"], &json["claims"]["sub"]), (&"good".into(), &"user:7".into()));
    assert_eq!(json["malformed"], Value::Null);
    let (head, signature) = token.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    let forged =
        shell.pipe(&["inspect", "--jwks", "jwks.json"], &format!("{head}.{first}{}", &signature[1..])).await;
    forged.with_code(3);
    assert!(forged.out.contains("The signature is not good"), "{forged:?}");
    shell.pipe(&["inspect"], "garbage").await.with_code(3);
    shell.pipe(&["inspect", "--jwks", "http://127.0.0.1:1/jwks"], &token).await.with_code(2);
}

#[tokio::test]
async fn refresh_keeps_the_successor_or_does_not_spend_the_token() {
    steady(async || {
        let world = World::start().await;
        let shell = as_dev(&world);
        let json = shell.run(&[&ISSUE[..], &["--refreshable", "--output", "json"]].concat()).await.json();
        let refresh = json["token"]["refresh"]["refreshToken"].as_str().unwrap();
        // Its successor would be lost: refused before anything is spent.
        shell.pipe(&["refresh", "--output", "token"], refresh).await.with_code(2);
        let first = shell.pipe(&["refresh"], refresh).await.json();
        let successor = first["token"]["refresh"]["refreshToken"].as_str().unwrap();
        assert!(successor.starts_with("jtr_") && successor != refresh);
        let kept = shell
            .pipe(&["refresh", "-", "--output", "token", "--refresh-token-file", "kept"], successor)
            .await;
        assert_eq!(kept.data().split('.').count(), 3);
        let file = shell.path("kept");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fs::read_to_string(&file).unwrap().starts_with("jtr_"));
        let again = shell.run(&["refresh", "--token-file", "kept"]).await.json();
        assert!(again["token"]["accessToken"].as_str().unwrap().starts_with("eyJ"));
        let session = shell.run(&["inspect", "--token-file", "kept", "--output", "json"]).await.json();
        assert_eq!(session["refreshToken"]["sessionId"], json["token"]["sessionId"]);
        // Reuse ends the session: not allowed.
        let reused = shell.pipe(&["refresh"], refresh).await;
        assert!(reused.with_code(4).contains("REFRESH_TOKEN_REUSED"), "{reused:?}");
        assert!(!reused.err.contains("jtr_"), "{reused:?}");
    })
    .await;
}

#[tokio::test]
async fn e20_no_session_is_opened_whose_refresh_token_nobody_would_get() {
    let world = World::start().await;
    let shell = as_dev(&world);
    let refreshable = |more: &[&str]| [&ISSUE[..], &["--refreshable"], more].concat().join(" ");
    for form in ["", "--output token", "--output header", "--output env", "--output table"] {
        let said = shell.script(&format!("jeton {} > out", refreshable(&[form]))).await;
        let told = said.with_code(2);
        assert!(told.contains("--refresh-token-file") && told.contains("--output json"), "{form}: {said:?}");
        assert_eq!(fs::read_to_string(shell.path("out")).unwrap(), "", "{form}: nothing was issued");
    }
    // To a file whose directory does not exist either.
    fs::write(shell.path("taken"), "").unwrap();
    let nowhere =
        shell.script(&format!("jeton {} > out", refreshable(&["--refresh-token-file taken/x"]))).await;
    assert_eq!(nowhere.code, 1, "{nowhere:?}");
    assert_eq!(world.number("select count(*) from session").await, 0);

    let kept = shell.script(&format!("jeton {} > out", refreshable(&["--refresh-token-file kept"]))).await;
    kept.with_code(0);
    assert!(fs::read_to_string(shell.path("kept")).unwrap().starts_with("jtr_"));
    shell.script(&format!("jeton {} > whole", refreshable(&["--output json"]))).await.with_code(0);
    assert_eq!(world.number("select count(*) from session").await, 2);
}

#[tokio::test]
async fn e20_a_file_that_holds_a_secret_is_for_its_owner_alone() {
    let world = World::start().await;
    let shell = as_dev(&world);
    let issue = ISSUE.join(" ");
    for (index, verb) in [
        issue.clone(),
        format!("{issue} --output header"),
        format!("{issue} --output env"),
        format!("{issue} --refreshable --output json"),
        "client add-key other".to_owned(),
        "client add-key other --output json".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        let said = shell.script(&format!("umask 022; jeton {verb} > {index}")).await;
        said.with_code(0);
        let file = shell.path(&index.to_string());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{verb}");
        assert!(fs::read_to_string(&file).unwrap().len() > 20, "{verb}");
    }
    // Files without secrets keep the mode that the shell gave them.
    shell.script("umask 022; jeton version > version").await.with_code(0);
    assert_eq!(fs::metadata(shell.path("version")).unwrap().permissions().mode() & 0o777, 0o644);
}

#[tokio::test]
async fn e15_the_files_that_a_client_names_are_read_up_to_a_length() {
    let world = World::start().await;
    let mut shell = Shell::of(&world, "admin");
    let token = Shell::of(&world, "service").run(&ISSUE).await.data().to_owned();
    let zero = "/dev/zero";
    let inspected = shell.pipe(&["inspect", "--jwks", zero], &token).await;
    assert!(inspected.with_code(2).contains("longer than 4 MiB"), "{inspected:?}");
    for arguments in [
        ["validate", "--token-file", zero].as_slice(),
        &["refresh", "--token-file", zero, "--output", "json"],
    ] {
        let said = shell.run(arguments).await;
        assert!(said.with_code(2).contains("more than 16384 bytes"), "{said:?}");
    }
    for flags in [["--tls-ca", zero].as_slice(), &["--tls-cert", zero, "--tls-key", zero]] {
        let own = Shell::of(&world, "service");
        let endpoint = format!("https://{}", world.server.ready.public);
        let key = own.path("api.key").display().to_string();
        let mut other = Shell::new();
        other.arguments = vec!["--endpoint".into(), endpoint, "--api-key-file".into(), key];
        let said = other.run(&[&ISSUE[..], flags].concat()).await;
        assert!(said.with_code(2).contains("longer than 4 MiB"), "{said:?}");
    }
    shell.arguments.clear();
    let keyed = ["--endpoint", &world.server.ready.public, "--api-key-file", zero];
    let keyed = shell.run(&[&ISSUE[..], &keyed].concat()).await;
    assert!(keyed.with_code(2).contains("more than 16384 bytes"), "{keyed:?}");
    // A path that is found by its place.
    std::os::unix::fs::symlink(zero, {
        fs::create_dir_all(shell.path(".jeton")).unwrap();
        shell.path(".jeton/dev.json")
    })
    .unwrap();
    assert!(shell.run(&ISSUE).await.with_code(2).contains("longer than 4 MiB"));
    std::os::unix::fs::symlink(zero, {
        fs::create_dir_all(shell.path("config/jeton")).unwrap();
        shell.path("config/jeton/contexts.toml")
    })
    .unwrap();
    let listed = shell.run(&["context", "list"]).await;
    assert!(listed.with_code(1).contains("longer than 4 MiB"), "{listed:?}");
}

#[tokio::test]
async fn e20_a_key_that_everybody_can_read_is_warned_of() {
    let world = World::start().await;
    let shell = Shell::of(&world, "service");
    let quiet = shell.run(&ISSUE).await;
    assert!(!quiet.err.contains("warning"), "{quiet:?}");
    let open = |name: &str| {
        fs::set_permissions(shell.path(name), fs::Permissions::from_mode(0o644)).unwrap();
    };
    open("api.key");
    let said = shell.run(&ISSUE).await;
    assert!(said.err.contains("every user of this machine can read the API key"), "{said:?}");
    said.data();
    // A verb on the database.
    open("master.key");
    let verb = Shell { arguments: Vec::new(), ..shell };
    let said = verb.run(&["audit", "verify", "--database-url", &world.database.url]).await;
    assert!(said.err.contains("every user of this machine can read the master key"), "{said:?}");
}

#[tokio::test]
async fn v8_garbage_is_malformed_whatever_audiences_the_caller_accepts() {
    let world = World::start().await;
    for client in ["service", "narrow"] {
        let shell = Shell::of(&world, client);
        for audience in [&[][..], &["--audience", "api"]] {
            let said = shell.pipe(&[&["validate", "-"], audience].concat(), "garbage\n").await;
            said.with_code(3);
            assert!(said.out.starts_with("MALFORMED"), "{said:?}");
        }
    }
}
