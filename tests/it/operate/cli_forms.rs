//! The forms of what the command line takes: ids, names, times, and what is told of those that are wrong.

use jeton::proto::v1 as pb;

use crate::world::{Shell, World};

const JTI: &str = "0192f0c8-0000-7000-8000-000000000001";
const VERSION_4: &str = "9c5b94b1-35ad-49bb-b118-8e8fc24abf80";

#[tokio::test]
async fn e25_what_is_nothing_to_revoke_is_told_what_can_be() {
    // No server is needed for that.
    let shell = Shell::new();
    shell.write("app.log", "nothing");
    for (words, told) in [
        (
            ["nonsense"].as_slice(),
            "`nonsense` is nothing that can be revoked: nothing was revoked. Give a token,",
        ),
        (&["subject", "user:7"], "Did you mean `jeton revoke --subject user:7 --reason leaked`?"),
        (&["client", "checkout"], "Did you mean `jeton revoke --client checkout --reason leaked`?"),
        (&["app.log"], "jeton revoke --from app.log"),
        (&["bulck", "app.log"], "jeton revoke --from app.log"),
        (&[VERSION_4], "this one is of version 4"),
        (&["0192f0c8-0000-7000-8000-00000000001"], "31 hexadecimal digits of 32"),
        (&["some", "words", "of", "prose"], "--from FILE"),
    ] {
        let said = shell.run(&[&["revoke"], words].concat()).await;
        let error = said.with_code(2);
        assert!(error.contains(told) && !error.contains("target."), "{words:?}: {said:?}");
        assert_eq!(said.out, "", "{words:?}");
    }
    let cut = shell.run(&["revoke", "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOi"]).await;
    assert!(cut.with_code(2).contains("broken") && !cut.err.contains("eyJhb"), "{cut:?}");
    let hostile = shell.run(&["a\u{202e}b"]).await;
    assert!(hostile.with_code(2).contains("\\u{202e}") && !hostile.err.contains('\u{202e}'), "{hostile:?}");
    let json = shell.run(&["revoke", "nonsense", "--output", "json"]).await;
    assert!(json.with_code(2).contains(r#""reason":"USAGE""#), "{json:?}");
}

#[tokio::test]
async fn a_text_on_standard_input_that_is_no_token_is_told_apart_from_one_that_was_cut_short() {
    let world = World::start().await;
    let shell = Shell::of(&world, "service");
    let piped = shell.pipe(&["revoke"], "user:7\n").await;
    assert!(piped.code == 3 && piped.out.contains("no token, id or API key is in this text"), "{piped:?}");
    let cut = shell.pipe(&["revoke"], "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwOi8v\n").await;
    assert!(cut.code == 3 && cut.err.contains("give all of it"), "{cut:?}");
}

#[tokio::test]
async fn e25_a_bad_form_is_exit_2_and_names_what_was_typed() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let long = "x".repeat(256);
    let cases: [(&[&str], &str); 22] = [
        (&["revoke", "--session", "nonsense"], "--session <ID>"),
        (&["revoke", "--session", VERSION_4], "version 4"),
        (&["revoke", "--key", "nonsense", "--reason", "leaked", "--yes"], "jeton key list"),
        (&["revoke", "--subject", "user:*", "--reason", "leaked", "--yes"], "--subject is not valid"),
        (&["revoke", "--client", "a b", "--reason", "leaked", "--yes"], "--client is not valid"),
        (&["revoke", "--audience", "a*", "--reason", "leaked", "--yes"], "--audience is not valid"),
        (&["revoke", JTI, "--note", &long.repeat(2)], "--note is not valid"),
        (
            &["revoke", "--subject", "u", "--before", "2126-01-01T00:00:00Z", "--reason", "leaked", "--yes"],
            "--before is not valid. It must be: not in the future.",
        ),
        (&["session", "show", "nonsense"], "<ID>"),
        (&["session", "revoke", "nonsense"], "<ID>"),
        (&["session", "list", "--subject", "user:*"], "--subject is not valid"),
        (&["session", "list", "--client", "a b"], "--client is not valid"),
        (&["explain", "nonsense"], "ID is the UUID of a token or a session"),
        (&["explain", "--jti", "nonsense"], "--jti <JTI>"),
        (&["audit", "list", "--session", "nonsense"], "--session <ID>"),
        (&["audit", "list", "--key", "nonsense"], "--key <KID>"),
        (&["audit", "list", "--actor", &long], "--actor is not valid"),
        (&["client", "get", "a b"], "CLIENT_ID is not valid"),
        (&["policy", "get", &long], "AUDIENCE is not valid"),
        (&["policy", "set", "orders", "--max-ttl", "2h", "--default-ttl", "3h"], "at most --max-ttl, 7200 s"),
        (&["issue", "--subject", "u", "--audience", "a", "--audience", "b*"], "--audience (number 2)"),
        (&["key", "rotate", "--algorithm", "RS256"], "--algorithm is not valid"),
    ];
    for (words, told) in cases {
        let said = shell.run(words).await;
        let error = said.with_code(2);
        assert!(error.contains(told), "{words:?}: {said:?}");
        for field in ["target.", "session_id", "client_id", "policy.", "issue_cutoff", "field="] {
            assert!(!error.contains(field), "{words:?} names {field}: {said:?}");
        }
    }
    let json = shell.run(&["session", "list", "--subject", "user:*", "--output", "json"]).await;
    let error: serde_json::Value = serde_json::from_str(json.with_code(2).trim_end()).unwrap();
    assert_eq!(error["error"]["reason"], "FIELD_INVALID", "{error}");
    assert_eq!(error["error"]["metadata"]["field"], "subject", "machines get the API's name, too: {error}");
    assert!(error["error"]["message"].as_str().unwrap().starts_with("--subject"), "{error}");
    assert_eq!(world.audited("action in ('Revoke', 'RotateKey', 'UpdatePolicy')").await, 0);
}

#[tokio::test]
async fn e25_a_session_is_revoked_by_its_id_in_any_spelling() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let mut api = world.api("service").await;
    let token = api.session("user:7", "api").await;
    let id = format!("{{{}}}", token.session_id.to_uppercase());
    let looked = shell.run(&["session", "revoke", &id, "--dry-run"]).await;
    assert!(looked.data().ends_with(&format!("would revoke session {}", token.session_id)), "{looked:?}");
    let said = shell.run(&["session", "revoke", &id, "--reason", "leaked", "--note", "INC-1"]).await;
    assert!(said.data().starts_with(&format!("revoked session {} at ", token.session_id)), "{said:?}");
    assert_eq!(api.status(&token.access_token, "api").await, pb::TokenStatus::Revoked);
    let again = shell.run(&["revoke", "--session", &id]).await;
    assert!(again.data().starts_with("already revoked session"), "{again:?}");
    let shown = shell.run(&["session", "show", &id]).await;
    assert!(shown.data().contains("REVOKED") && shown.out.contains("INC-1"), "{shown:?}");
}

#[tokio::test]
async fn e25_after_filters_what_is_shown_and_never_what_is_revoked() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let mut api = world.api("service").await;
    for hours in [3, 1, 0] {
        let id = api.session("user:7", "api").await.session_id;
        let older =
            format!("update session set create_time = now() - interval '{hours} hours' where id = '{id}'");
        world.sql(&older).await;
    }
    let rows = async |words: &[&str], list: &str| {
        let said = shell.run(&[words, &["--output", "json"]].concat()).await.json();
        said.get(list).map_or(0, |list| list.as_array().unwrap().len())
    };
    let listed = ["session", "list", "--subject", "user:7", "--after"];
    assert_eq!(rows(&[&listed[..], &["30m"]].concat(), "sessions").await, 1, "the newest");
    assert_eq!(rows(&[&listed[..], &["2h ago"]].concat(), "sessions").await, 2);
    assert_eq!(rows(&[&listed[..], &["4h"]].concat(), "sessions").await, 3);
    assert_eq!(rows(&[&listed[..], &["2126-01-01T00:00:00Z"]].concat(), "sessions").await, 0);

    // The preview shows fewer, and counts all of them.
    let wide = ["revoke", "--subject", "user:7", "--reason", "leaked", "--after", "30m"];
    let looked = shell.run(&[&wide[..], &["--dry-run"]].concat()).await;
    assert!(looked.data().contains("would end 3 live sessions"), "{looked:?}");
    assert_eq!(
        looked.out.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).count(),
        1,
        "{looked:?}"
    );
    assert!(
        looked.err.contains("--after filters the sample sessions that are shown, and nothing else"),
        "{looked:?}"
    );
    let refused = shell.run(&[&wide[..], &["--yes"]].concat()).await;
    assert!(
        refused.with_code(2).contains("never limits what is revoked: nothing was revoked"),
        "{refused:?}"
    );
    let narrow = shell.run(&["revoke", JTI, "--after", "2h"]).await;
    assert!(narrow.with_code(2).contains("--after filters the preview"), "{narrow:?}");
    assert_eq!(world.audited("action = 'Revoke'").await, 0);
    // At a terminal the person who is asked is told.
    let done = shell.dialogue(&wide, &[("Type user:7 to revoke it: ", "user:7")]).await;
    assert!(done.with_code(0).contains("older ones are counted, and revoked, too"), "{done:?}");
    assert!(done.err.contains("would end 3 live sessions"), "{done:?}");
    assert_eq!(rows(&["session", "list", "--subject", "user:7"], "sessions").await, 0, "all are revoked");

    // One grammar: what is in force, the audit trail, and the cutoff of a revocation.
    assert_eq!(rows(&["revocation", "list", "--after", "2h"], "revocations").await, 1);
    assert_eq!(rows(&["revocation", "list", "--after", "2126-01-01T00:00:00Z"], "revocations").await, 0);
    for since in ["--since", "--after"] {
        let acts = ["audit", "list", "--action", "Revoke", since, "2h"];
        assert_eq!(rows(&acts, "auditEvents").await, 1, "{since}");
    }
    for until in ["--until", "--before"] {
        let acts = ["audit", "list", "--action", "Revoke", until, "2h ago"];
        assert_eq!(rows(&acts, "auditEvents").await, 0, "{until}");
    }
    let spared = ["revoke", "--subject", "user:7", "--reason", "leaked", "--yes", "--before", "2h"];
    assert!(shell.run(&spared).await.data().contains(", issued before "));
    for words in
        [["session", "list", "--subject", "u", "--after"], ["audit", "list", "--actor", "a", "--since"]]
    {
        let wrong = shell.run(&[&words[..], &["900"]].concat()).await;
        assert!(wrong.with_code(2).contains("is no time in the past"), "{wrong:?}");
    }
}
