//! The command line, end to end: revoking, looking, ruling.

use std::{fs, os::unix::fs::PermissionsExt};

use jeton::proto::v1 as pb;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    time::timeout,
};

use crate::world::{Api, PATIENCE, Shell, World};

async fn held(api: &mut Api, subject: &str) -> pb::IssuedToken {
    api.session(subject, "api").await
}

async fn is_active(api: &mut Api, token: &str) -> bool {
    api.status(token, "api").await == pb::TokenStatus::Active
}

#[tokio::test]
async fn revoke_takes_every_kind_of_target() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let mut api = world.api("service").await;
    let kid = jsonwebtoken::decode_header(&held(&mut api, "k").await.access_token).unwrap().kid.unwrap();
    for (index, name) in
        ["-", "file", "jti", "session", "refresh", "subject", "client", "key"].iter().enumerate()
    {
        let subject = format!("user:{index}");
        let token = held(&mut api, &subject).await;
        let refresh = token.refresh.unwrap().refresh_token;
        shell.write("token", &token.access_token);
        let (arguments, input): (&[&str], &str) = match *name {
            "-" => (&["revoke", "-", "--reason", "leaked", "--note", "INC-1"], &token.access_token),
            "file" => (&["revoke", "--token-file", "token"], ""),
            "jti" => (&["revoke", &token.jti], ""),
            "session" => (&["revoke", "--session", &token.session_id], ""),
            "refresh" => (&["revoke"], &refresh),
            "subject" => (&["revoke", "--subject", &subject, "--reason", "compromised", "--yes"], ""),
            "client" => (&["revoke", "--client", "service", "--reason", "deprovisioned", "--yes"], ""),
            _ => (&["revoke", "--key", &kid, "--reason", "administrative", "--yes"], ""),
        };
        // First only looked at.
        let looked = shell.pipe(&[arguments, &["--dry-run"]].concat(), input).await;
        assert!(looked.data().contains("would "), "{name}: {looked:?}");
        assert!(looked.err.contains("Nothing was changed"), "{name}: {looked:?}");
        assert!(is_active(&mut api, &token.access_token).await, "{name}: a dry run changes nothing");
        let said = shell.pipe(arguments, input).await;
        assert!(said.data().starts_with("revoked "), "{name}: {said:?}");
        assert!(
            said.out.contains(", revision 1.") && said.out.contains("/1 replicas in "),
            "{name}: {said:?}"
        );
        assert_eq!(said.out.lines().count(), 1, "{name}: fit for a channel: {said:?}");
        assert!(!is_active(&mut api, &token.access_token).await, "{name}");
        // The end of a session ends its refresh token; a key's sessions live on.
        let refreshed = api.refresh(&refresh).await;
        let lives_on = ["-", "file", "jti", "key"].contains(name);
        assert_eq!(refreshed.is_ok(), lives_on, "{name}: {:?}", refreshed.err());
    }
}

#[tokio::test]
async fn a_wide_revocation_needs_a_reason_and_somebody_who_says_yes() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let mut api = world.api("service").await;
    let token = held(&mut api, "user:7").await.access_token;
    let kid = jsonwebtoken::decode_header(&token).unwrap().kid.unwrap();
    for (target, name) in [("--subject", "user:7"), ("--client", "user:7"), ("--key", &kid)] {
        let without_yes = shell.run(&["revoke", target, name, "--reason", "leaked"]).await;
        assert!(without_yes.with_code(2).contains("--yes"), "{without_yes:?}");
        let no_input = shell.run(&["revoke", target, name, "--reason", "leaked", "--no-input"]).await;
        no_input.with_code(2);
        let without_reason = shell.run(&["revoke", target, name, "--yes"]).await;
        assert!(without_reason.with_code(2).contains("--reason"), "{without_reason:?}");
    }
    // An answer in a pipe does not count as a person's answer.
    shell.pipe(&["revoke", "--subject", "user:7", "--reason", "leaked"], "user:7\n").await.with_code(2);
    shell.run(&["revoke", "--session", "x", "--subject", "user:7"]).await.with_code(2);
    let narrowed = shell.pipe(&["revoke", "-", "--audience", "api"], &token).await;
    assert!(narrowed.with_code(2).contains("narrow"), "{narrowed:?}");
    assert!(is_active(&mut api, &token).await, "nothing was revoked");

    held(&mut api, "user:7").await;
    let wide = ["revoke", "--subject", "user:7", "--reason", "leaked", "--yes"];
    let refused = shell.run(&[&wide[..], &["--max-affected", "1"]].concat()).await;
    assert!(refused.with_code(3).contains("AFFECTED_SESSIONS_EXCEEDED"), "{refused:?}");
    assert!(is_active(&mut api, &token).await);
    let other_audience = shell.run(&[&wide[..], &["--audience", "other"]].concat()).await;
    assert!(other_audience.data().starts_with("revoked subject user:7"), "{other_audience:?}");
    assert!(is_active(&mut api, &token).await, "another audience's tokens alone");
    let before = shell.run(&[&wide[..], &["--before", "2h ago"]].concat()).await;
    before.data();
    assert!(is_active(&mut api, &token).await, "it is younger");
    shell.run(&[&wide[..], &["--max-affected", "2", "--output", "json"]].concat()).await.json();
    assert!(!is_active(&mut api, &token).await);
    // Not everybody may.
    let service = Shell::of(&world, "service").run(&wide).await;
    assert!(service.with_code(4).contains("PERMISSION_REVOKE_WIDE"), "{service:?}");
}

#[tokio::test]
async fn the_audit_trail_is_searched_written_as_lines_and_followed() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let mut service = world.api("service").await;
    let tokens = [service.token("user:7", "api").await, service.token("user:8", "api").await];
    for (token, note) in tokens.iter().zip(["INC-1", "INC-2"]) {
        shell.run(&["revoke", &token.jti, "--note", note]).await.data();
    }
    let found = shell.run(&["audit", "list", "--note", "INC-2", "--action", "Revoke", "--json-lines"]).await;
    let lines: Vec<serde_json::Value> =
        found.data().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1, "{found:?}");
    assert_eq!((&lines[0]["jti"], &lines[0]["note"]), (&tokens[1].jti.clone().into(), &"INC-2".into()));
    let none = shell.run(&["audit", "list", "--note", "INC-2", "--until", "2h", "--json-lines"]).await;
    assert_eq!(none.data(), "");
    shell.run(&["audit", "list", "--note", ""]).await.with_code(2);
    // What comes is shown, once.
    let mut following =
        shell.command(&["audit", "tail", "--action", "Revoke", "--json-lines"]).spawn().unwrap();
    let mut shown = BufReader::new(following.stdout.take().unwrap()).lines();
    let mut notes = Vec::new();
    for expected in ["INC-1", "INC-2", "INC-3"] {
        if expected == "INC-3" {
            let third = service.token("user:9", "api").await;
            shell.run(&["revoke", &third.jti, "--note", expected]).await.data();
        }
        let line = timeout(PATIENCE, shown.next_line()).await.expect("in time").unwrap().unwrap();
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        notes.push(event["note"].as_str().unwrap().to_owned());
    }
    assert_eq!(notes, ["INC-1", "INC-2", "INC-3"]);
    following.kill().await.unwrap();
}

#[tokio::test]
async fn sessions_and_the_audit_trail_are_listed() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let mut api = world.api("service").await;
    let first = held(&mut api, "user:7").await;
    let second = held(&mut api, "user:7").await;
    held(&mut api, "user:8").await;
    let table = shell.run(&["session", "list", "--subject", "user:7"]).await;
    let lines: Vec<_> = table.data().lines().collect();
    assert!(lines[0].starts_with("SESSION") && lines.len() == 3, "{table:?}");
    assert!(lines[1].contains(&second.session_id) && lines[2].contains(&first.session_id), "newest first");
    let json = shell.run(&["session", "list", "--client", "service", "--output", "json"]).await.json();
    assert_eq!(json["sessions"].as_array().unwrap().len(), 3);
    let limited = shell.run(&["session", "list", "--client", "service", "--limit", "1"]).await;
    assert!(limited.data().lines().count() == 2 && limited.err.contains("--limit"), "{limited:?}");
    shell.run(&["session", "list"]).await.with_code(2);

    let note = "INC-1 seen in a log";
    shell.run(&["revoke", "--session", &first.session_id, "--reason", "leaked", "--note", note]).await.data();
    let ended = shell.run(&["session", "list", "--subject", "user:7"]).await;
    assert_eq!(ended.data().lines().count(), 2, "live ones alone: {ended:?}");
    let all = shell.run(&["session", "list", "--subject", "user:7", "--show-ended"]).await;
    assert_eq!(all.data().lines().count(), 3, "{all:?}");
    let audit =
        shell.run(&["audit", "list", "--session", &first.session_id, "--output", "json"]).await.json();
    let events = audit["auditEvents"].as_array().unwrap();
    let revoke = events.iter().find(|event| event["note"] == note).unwrap();
    assert_eq!((&revoke["actor"], &revoke["action"]), (&"admin".into(), &"Revoke".into()), "{revoke}");
    assert_eq!(
        (&revoke["outcome"], &revoke["reason"]),
        (&"REVOKED".into(), &"REVOCATION_REASON_LEAKED".into())
    );
    let by_actor = shell.run(&["audit", "list", "--actor", "admin", "--since", "2h", "--limit", "5"]).await;
    assert!(by_actor.data().contains(note), "{by_actor:?}");
    let of_nobody = shell.run(&["audit", "list", "--actor", "nobody-at-all", "--output", "json"]).await;
    assert_eq!(of_nobody.json().get("auditEvents"), None);
    // Looking needs a permission.
    Shell::of(&world, "service").run(&["audit", "list"]).await.with_code(4);
    Shell::of(&world, "reader").run(&["audit", "list"]).await.data();
}

#[tokio::test]
async fn policies_are_set_read_listed_and_deleted() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let mut api = world.api("service").await;
    let lifetime = async |api: &mut Api| {
        let token = api.token("user:7", "orders").await;
        token.expire_time.unwrap().seconds - token.issue_time.unwrap().seconds
    };
    let dry =
        shell.run(&["policy", "set", "orders", "--default-ttl", "2h", "--max-ttl", "6h", "--dry-run"]).await;
    assert!(dry.data().contains("2h") && dry.err.contains("Nothing was changed"), "{dry:?}");
    assert_eq!(lifetime(&mut api).await, 900);
    let set = shell
        .run(&[
            "policy",
            "set",
            "orders",
            "--default-ttl",
            "2h",
            "--max-ttl",
            "6h",
            "--daily-boundary",
            "04:30 Europe/Berlin",
        ])
        .await;
    assert!(set.data().contains("04:30 Europe/Berlin") && set.err.contains("In effect"), "{set:?}");
    assert!(lifetime(&mut api).await <= 7_200);
    shell.run(&["policy", "set", "orders", "--daily-boundary", "none"]).await.data();
    assert_eq!(lifetime(&mut api).await, 7_200, "the other rules stayed");
    shell.run(&["policy", "set", "orders", "--sessions-per-subject", "5"]).await.data();
    let limited = shell.run(&["policy", "get", "orders", "--output", "json"]).await.json();
    assert_eq!(limited["effectivePolicy"]["maxSessionsPerSubject"], 5);
    shell.run(&["policy", "set", "orders", "--sessions-per-subject", "many"]).await.with_code(2);
    shell.run(&["policy", "set", "orders", "--sessions-per-subject", "none"]).await.data();
    let got = shell.run(&["policy", "get", "orders", "--output", "json"]).await.json();
    assert_eq!(got["policy"].get("maxSessionsPerSubject"), None);
    assert_eq!((&got["policy"]["maxTtl"], &got["policy"]["clientId"]), (&"21600s".into(), &"*".into()));
    assert_eq!(got["effectivePolicy"]["algorithm"], "ES256");
    assert_eq!(got["policy"].get("dailyBoundary"), None);
    let table = shell.run(&["policy", "get", "orders"]).await;
    assert!(table.data().lines().any(|line| line.starts_with("max ttl") && line.contains("6h")), "{table:?}");
    let list = shell.run(&["policy", "list"]).await;
    assert!(list.data().lines().any(|line| line.starts_with("orders")), "{list:?}");

    let too_long = shell.run(&["policy", "set", "orders", "--max-ttl", "25h"]).await;
    assert!(too_long.with_code(2).contains("--max-ttl is not valid. It must be: "), "{too_long:?}");
    shell.run(&["policy", "set", "orders"]).await.with_code(2);
    shell.run(&["policy", "set", "orders", "--max-ttl", "900"]).await.with_code(2);
    let stale = shell.run(&["policy", "delete", "orders", "--etag", "1.0"]).await;
    assert!(stale.with_code(1).contains("ETAG_MISMATCH"), "{stale:?}");
    let etag = got["policy"]["etag"].as_str().unwrap();
    shell.run(&["policy", "delete", "orders", "--etag", etag]).await.data();
    assert_eq!(lifetime(&mut api).await, 900);
    let gone = shell.run(&["policy", "delete", "orders"]).await;
    assert!(gone.with_code(3).contains("NOT_FOUND"), "{gone:?}");
    Shell::of(&world, "reader").run(&["policy", "set", "orders", "--max-ttl", "1h"]).await.with_code(4);
}

#[tokio::test]
async fn doctor_finds_a_server_well_and_says_when_it_is_gone() {
    let mut world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let well = shell.run(&["doctor"]).await;
    let line =
        |check: &str| well.data().lines().find(|line| line[6..].starts_with(check)).unwrap().to_owned();
    for check in ["server", "local clock", "server clock", "keys", "epoch", "prober", "database", "leases"] {
        assert!(line(check).starts_with("ok "), "{check}: {well:?}");
    }
    assert!(line("leases").contains("1 replica holds one"), "{well:?}");
    assert!(line("prober").ends_with("off on this server"), "{well:?}");
    let json = shell.run(&["doctor", "--output", "json"]).await.json();
    assert!(json["checks"].as_array().unwrap().iter().all(|check| check["status"] == "ok"), "{json}");
    let ops = format!("http://{}", world.server.ready.ops);
    let ready = shell.run(&["doctor", "--ops-endpoint", &ops]).await;
    assert!(ready.data().starts_with("ok    ready "), "{ready:?}");
    // A caller that may not look is told so, and it is no failure.
    let service = Shell::of(&world, "service").run(&["doctor"]).await;
    assert!(service.data().contains("warn"), "{service:?}");
    world.server.kill();
    let gone = shell.run(&["doctor"]).await;
    gone.with_code(3);
    assert!(gone.out.lines().any(|line| line.starts_with("fail") && line.contains("server")), "{gone:?}");
    assert!(gone.out.contains("Start the server"), "what to do: {gone:?}");
    Shell::new().run(&["doctor"]).await.with_code(2);
}

#[tokio::test]
async fn contexts_are_kept_privately_and_name_the_file_of_a_key_never_the_key() {
    let world = World::start().await;
    let mut shell = Shell::of(&world, "admin");
    let flags = std::mem::take(&mut shell.arguments);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let issue = ["issue", "--subject", "user:7", "--audience", "api"];
    shell.run(&issue).await.with_code(2);
    shell.run(&["context", "use", "prod"]).await.with_code(2);
    shell.run(&["context", "add", "empty"]).await.with_code(2);
    for name in ["", "a b", "a\nb"] {
        shell.run(&["context", "add", name, "--endpoint", "127.0.0.1:1"]).await.with_code(2);
    }
    let added = shell.run(&[&["context", "add", "prod"], &flags[..]].concat()).await;
    assert!(added.with_code(0).contains("jeton context use prod"), "{added:?}");
    let file = shell.path("config/jeton/contexts.toml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("api.key") && !text.contains("jtk_"), "{text}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    shell.run(&issue).await.with_code(2);
    shell.run(&[&issue[..], &["--context", "prod"]].concat()).await.data();
    shell.run(&["context", "use", "prod"]).await.with_code(0);
    shell.run(&issue).await.data();
    let dev = ["context", "add", "dev", "--endpoint", "127.0.0.1:1", "--api-key-file", "api.key"];
    assert!(shell.run(&dev).await.with_code(0).starts_with("added dev"));
    assert!(shell.run(&dev).await.with_code(0).starts_with("replaced dev"));
    let away = shell.run(&[&issue[..], &["--context", "dev"]].concat()).await;
    assert!(away.with_code(5).contains("127.0.0.1:1"), "{away:?}");
    let list = shell.run(&["context", "list", "--output", "json"]).await.json();
    let names: Vec<_> =
        list["contexts"].as_array().unwrap().iter().map(|it| (&it["name"], &it["current"])).collect();
    assert_eq!(names, [(&"dev".into(), &false.into()), (&"prod".into(), &true.into())]);
    let table = shell.run(&["context", "list"]).await;
    assert!(table.data().lines().any(|line| line.starts_with('*') && line.contains("prod")), "{table:?}");
    // A credential goes where its context says and nowhere else.
    let elsewhere = shell.run(&[&issue[..], &["--endpoint", "127.0.0.1:1"]].concat()).await;
    assert!(elsewhere.with_code(2).contains("no credential"), "{elsewhere:?}");

    shell.run(&["context", "remove", "prod"]).await.with_code(0);
    assert!(shell.path("api.key").exists(), "the key is the user's");
    shell.run(&issue).await.with_code(2);
    shell.run(&["context", "remove", "prod"]).await.with_code(2);
    fs::write(&file, "current = ").unwrap();
    let malformed = shell.run(&["context", "list"]).await;
    assert!(malformed.with_code(2).contains("contexts.toml"), "{malformed:?}");
}

#[tokio::test]
async fn version_is_said_in_both_forms() {
    let shell = Shell::new();
    assert_eq!(shell.run(&["version"]).await.data(), concat!("jeton ", env!("CARGO_PKG_VERSION")));
    let json = shell.run(&["version", "--output", "json"]).await.json();
    assert_eq!(json, serde_json::json!({ "version": env!("CARGO_PKG_VERSION") }));
}

#[tokio::test]
async fn k17_what_does_not_exist_is_exit_3_and_not_said_to_be_revoked() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let unknown = jeton_token::new_uuid_v7(crate::world::now_s() * 1_000).to_string();
    for target in [["--session", unknown.as_str()], ["--client", "nobody-knows"]] {
        for more in [&["--yes"][..], &["--dry-run"]] {
            let said = shell.run(&[&["revoke", "--reason", "leaked"], &target[..], more].concat()).await;
            let told = said.with_code(3);
            assert!(told.contains("does not exist") && told.contains(target[1]), "{said:?}");
            assert_eq!(said.out, "", "nothing is said to be revoked");
        }
    }
    assert_eq!(world.audited("action = 'Revoke'").await, 0);
}

#[tokio::test]
async fn k1_watchers_cannot_be_waited_for_by_the_command_line() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let token = held(&mut api, "user:7").await;
    let shell = Shell::of(&world, "admin");
    let said = shell.run(&["revoke", &token.jti, "--wait-for", "watchers"]).await;
    assert!(said.with_code(1).contains("NOT_SERVED_HERE"), "{said:?}");
    assert_eq!(said.out, "");
    assert!(is_active(&mut api, &token.access_token).await, "nothing was revoked");
}
