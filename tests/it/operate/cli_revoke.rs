//! `jeton revoke` of whatever leaked: texts that were badly pasted, several things at once, files, a prompt.

use std::{fmt::Write as _, fs};

use jeton::proto::v1 as pb;
use jeton_token::new_uuid_v7;
use rustix::termios::{LocalModes, tcgetattr};
use serde_json::Value;

use crate::world::{Api, Forge, Shell, Terminal, World, api_key, until};

async fn is_active(api: &mut Api, token: &str) -> bool {
    api.status(token, "api").await == pb::TokenStatus::Active
}

/// An id of the age of most tokens.
fn fresh() -> String {
    new_uuid_v7(jiff::Timestamp::now().as_millisecond()).to_string()
}

/// Puts a token into a text.
type Paste = fn(&str) -> String;

/// A token of another issuer.
fn foreign_token(forge: &Forge, subject: &str) -> String {
    let mut claims = forge.claims();
    claims["iss"] = "https://other.example".into();
    claims["sub"] = subject.into();
    forge.sign(&claims)
}

/// Lines of 40 characters.
fn folded(text: &str, fold: &str) -> String {
    let lines: Vec<_> = text.as_bytes().chunks(40).map(|line| std::str::from_utf8(line).unwrap()).collect();
    lines.join(fold)
}

#[tokio::test]
async fn k21_a_badly_pasted_token_dies() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let mut api = world.api("service").await;
    let pastes: [(&str, Paste); 12] = [
        ("quotes", |token| format!("\"{token}\",\n")),
        ("a header", |token| format!("> authorization: Bearer {token}\r\n")),
        ("a variable", |token| format!("export JETON_TOKEN='{token}'")),
        ("prose", |token| format!("Hi all,\nI found {token} in a log. Please revoke it!\nThanks\n")),
        ("wrapped", |token| folded(token, "\n")),
        ("wrapped and indented", |token| format!("  {}", folded(token, "\r\n  "))),
        ("quoted mail", |token| format!("> {}", folded(token, "\n> "))),
        ("a shell's continuation", |token| folded(token, "\\\n")),
        ("quoted-printable", |token| folded(token, "=\r\n")),
        ("JSON in JSON", |token| format!("{{\"msg\":\"{{\\\"token\\\":\\\"{token}\\\"}}\"}}")),
        ("colours", |token| format!("\u{1b}[33mtoken\u{1b}[0m=\u{1b}[1m{token}\u{1b}[0m")),
        ("an address", |token| format!("https://x.example/cb#access_token={token}&token_type=bearer")),
    ];
    for (name, paste) in pastes {
        let token = api.token("user:7", "api").await;
        let said = shell.pipe(&["revoke", "-", "--reason", "leaked"], &paste(&token.access_token)).await;
        assert!(said.data().starts_with(&format!("revoked token {} at ", token.jti)), "{name}: {said:?}");
        assert_eq!(said.out.lines().count(), 1, "{name}: {said:?}");
        assert!(said.err.starts_with("found: 1 token\n") || said.err.is_empty(), "{name}: {said:?}");
        assert!(!said.err.contains("eyJ") && !said.out.contains("eyJ"), "{name}: {said:?}");
        assert!(!is_active(&mut api, &token.access_token).await, "{name}");
    }
    // As an argument that a shell has split, and as a refresh token in a sentence.
    let session = api.session("user:7", "api").await;
    let refresh = session.refresh.unwrap().refresh_token;
    let said = shell.run(&["revoke", "refresh", "token:", &refresh, "leaked"]).await;
    let line = format!("revoked session {} of a refresh token at ", session.session_id);
    assert!(said.data().starts_with(&line), "{said:?}");
    assert!(said.err.contains("warning: token text on the command line"), "{said:?}");
    assert!(!is_active(&mut api, &session.access_token).await);
    // Without its signature a token is its id.
    let token = api.token("user:7", "api").await;
    let (unsigned, _) = token.access_token.rsplit_once('.').unwrap();
    let said = shell.pipe(&["revoke"], &format!("token={unsigned}.[REDACTED] user=7")).await;
    assert!(said.data().starts_with("revoked "), "{said:?}");
    assert!(said.out.contains(&token.jti) && said.err.starts_with("found: 1 id\n"), "{said:?}");
    assert!(!is_active(&mut api, &token.access_token).await);
}

#[tokio::test]
async fn k21_everything_in_a_text_is_accounted_for_before_anything_is_revoked() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let mut api = world.api("service").await;
    let (one, two) = (api.token("user:1", "api").await, api.token("user:2", "api").await);
    let session = api.session("user:3", "api").await;
    let refresh = session.refresh.as_ref().unwrap().refresh_token.clone();
    let (jti, key) = (api.token("user:4", "api").await.jti, api_key("narrow"));
    let forge = world.forge().await;
    let foreign = foreign_token(&forge, "user:7");
    let log = format!(
        "2026-01-31 GET / request=9c5b94b1-35ad-49bb-b118-8e8fc24abf80 token={}\n{{\"token\":\"{}\",\"jti\":\"{jti}\"}}\n\
         {refresh}\nkey {key}\n{foreign}\nold 01890a5d-ac96-774b-bcce-b302099a8057 eyJhbGciOiJFUzI1NiJ9.cut\n",
        one.access_token, two.access_token,
    );
    let found = "found: 2 tokens, 1 id, 1 refresh token, 1 API key of client narrow, 1 foreign, 1 broken token, \
                 2 other UUIDs ignored\n";
    // Without a terminal it is not done unless it is said so.
    let refused = shell.pipe(&["revoke"], &log).await;
    assert!(refused.with_code(2).contains("--yes"), "{refused:?}");
    assert!(refused.err.contains("found: 3 tokens"), "{refused:?}");
    // Only looked at.
    let looked = shell.pipe(&["revoke", "--dry-run"], &log).await;
    assert!(looked.data().starts_with("would revoke 4 of 4"), "{looked:?}");
    assert!(looked.err.starts_with(found) && looked.err.contains("Nothing was changed"), "{looked:?}");
    assert!(is_active(&mut api, &one.access_token).await, "a dry run changes nothing");
    let listed = shell.pipe(&["revoke", "--dry-run", "--output", "json"], &log).await.json();
    let mut kinds: Vec<_> =
        listed["candidates"].as_array().unwrap().iter().map(|it| it["kind"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["API_KEY", "FOREIGN", "ID", "REFRESH_TOKEN", "TOKEN", "TOKEN"], "{listed}");
    assert_eq!((&listed["found"]["tokens"], &listed["found"]["otherUuids"]), (&2.into(), &2.into()));
    assert!(!listed.to_string().contains("eyJ") && !listed.to_string().contains("jtr_"), "{listed}");

    // An API key is not ended by the way: partly done.
    let said = shell.pipe(&["revoke", "--yes", "--reason", "leaked", "--note", "INC-1"], &log).await;
    let talk = said.with_code(6);
    assert!(said.out.starts_with("revoked 4 of 4"), "{said:?}");
    assert!(talk.starts_with(found) && talk.contains("jeton client delete-key narrow "), "{said:?}");
    assert!(!talk.contains("jtk_") && !talk.contains("eyJ") && !talk.contains("jtr_"), "{said:?}");
    for token in [&one.access_token, &two.access_token, &session.access_token] {
        assert!(!is_active(&mut api, token).await);
    }
    assert!(api.refresh(&refresh).await.is_err(), "its session is ended");
    let listed = shell.pipe(&["revoke", "--yes", "--output", "json"], &log).await;
    listed.with_code(6);
    let listed: Value = serde_json::from_str(&listed.out).unwrap();
    assert_eq!(listed["failures"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed["failures"][0]["reason"], "API_KEY_LIVES_ON", "{listed}");
    let again = shell.pipe(&["revoke", "--yes"], &format!("{}\n{}", one.access_token, jti)).await;
    assert!(
        again.data().starts_with("revoked 0 of 2") && again.out.contains("2 already revoked"),
        "{again:?}"
    );
}

#[tokio::test]
async fn k21_an_api_key_is_named_with_its_client_and_ended_only_when_a_person_says_so() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let keys = "select count(*) from api_key where client_id = 'narrow'";
    let key = api_key("narrow");
    let said = shell.pipe(&["revoke", "--yes"], &format!("key: {key}\n")).await;
    let talk = said.with_code(6);
    assert!(talk.starts_with("found: 1 API key of client narrow\n"), "{said:?}");
    let id = jeton_token::named_id(&key).unwrap();
    assert!(talk.contains(&format!("End it: jeton client delete-key narrow {id}")), "{said:?}");
    assert!(!said.err.contains("jtk_"), "{said:?}");
    assert_eq!(world.number(keys).await, 1, "it was not ended");
    // Who may not know whose it is, is told what it is.
    let said = Shell::of(&world, "service").pipe(&["revoke"], &key).await;
    assert!(said.with_code(6).contains("delete-key CLIENT"), "{said:?}");

    shell.write("leak", &format!("key={key}"));
    let no = shell.dialogue(&["revoke", "--from", "leak"], &[("or Enter to leave it: ", "")]).await;
    assert!(no.with_code(6).contains("lives on"), "{no:?}");
    assert_eq!(world.number(keys).await, 1, "nobody said yes");
    let yes = shell.dialogue(&["revoke", "--from", "leak"], &[("or Enter to leave it: ", "narrow")]).await;
    assert!(yes.with_code(0).contains(&format!("ended API key {id} of client narrow")), "{yes:?}");
    assert_eq!(world.number(keys).await, 0);
}

#[tokio::test]
async fn k21_files_of_any_kind_are_searched() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let mut api = world.api("service").await;
    let tokens = [
        api.token("user:1", "api").await.access_token,
        api.token("user:2", "api").await.access_token,
        api.token("user:3", "api").await.access_token,
        api.token("user:4", "api").await.access_token,
    ];
    shell.write("plain.log", &format!("a {}\n", tokens[0]));
    shell.write("packed.log", &format!("b {}\n{}\n", tokens[1], fresh()));
    shell.script("gzip packed.log").await.with_code(0);
    let utf_16: Vec<u8> =
        format!("\u{feff}c {}\r\n", tokens[2]).encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(shell.path("windows.log"), utf_16).unwrap();
    let binary = [&[0, 0xff, 0x1b, 0x80, b'\n'][..], tokens[3].as_bytes(), &[0, 0xc3, 0x28]].concat();
    fs::write(shell.path("core"), binary).unwrap();
    let files = ["plain.log", "packed.log.gz", "windows.log", "core"];
    let said = shell.run(&[&["revoke", "--yes", "--from"], &files[..]].concat()).await;
    assert!(said.data().starts_with("revoked 5 of 5"), "{said:?}");
    assert!(said.err.starts_with("found: 4 tokens, 1 id\n"), "{said:?}");
    for token in &tokens {
        assert!(!is_active(&mut api, token).await);
    }
    // Another name, and standard input.
    let said = shell.run(&[&["revoke", "bulk"], &files[..], &["--yes"]].concat()).await;
    assert!(said.data().starts_with("revoked 0 of 5") && said.out.contains("5 already revoked"), "{said:?}");
    let said = shell.script("cat packed.log.gz | jeton revoke bulk - --yes").await;
    assert!(said.data().contains("2 already revoked"), "{said:?}");
    // A packed file that is still being written: what is there is revoked, and that it is not all is said.
    let packed = fs::read(shell.path("packed.log.gz")).unwrap();
    fs::write(shell.path("cut.gz"), &packed[..packed.len() - 4]).unwrap();
    let said = shell.run(&["revoke", "--yes", "--from", "cut.gz"]).await;
    assert!(said.with_code(6).contains("warning: cut.gz cannot be read to its end"), "{said:?}");
    assert!(said.out.contains("2 already revoked"), "{said:?}");
    let json = shell.run(&["revoke", "--yes", "--from", "cut.gz", "--output", "json"]).await;
    json.with_code(6);
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["failures"][0]["reason"], "NOT_READ", "{json}");
    assert!(json["failures"][0]["message"].as_str().unwrap().starts_with("cut.gz cannot"), "{json}");
    // Nothing in what could be read: that is no answer about the rest.
    shell.write("nothing", &"nothing of use\n".repeat(1_000));
    shell.script("gzip nothing").await.with_code(0);
    let packed = fs::read(shell.path("nothing.gz")).unwrap();
    fs::write(shell.path("cut.gz"), &packed[..packed.len() - 4]).unwrap();
    shell.run(&["revoke", "--yes", "--from", "cut.gz"]).await.with_code(6);

    shell.write("empty", "\n");
    shell.write("prose", "nothing of use in here\n");
    for (file, code, words) in [
        ("empty", 2, "the input is empty"),
        ("absent", 2, "cannot read absent"),
        (".", 2, "is a directory"),
        ("/dev/zero", 2, "never ends"),
        ("prose", 3, ""),
    ] {
        let said = shell.run(&["revoke", "--yes", "--from", file]).await;
        assert!(said.with_code(code).contains(words), "{file}: {said:?}");
    }
    assert!(shell.run(&["revoke", "bulk"]).await.with_code(2).contains("jeton revoke bulk app.log"));
    // More than is kept in memory, of nothing.
    let said = shell.script("head -c 40000000 /dev/urandom | jeton revoke --yes").await;
    assert!(said.with_code(3).starts_with("found: "), "{said:?}");
    let narrowed =
        shell.run(&["revoke", "--from", "plain.log", "packed.log.gz", "--yes", "--wait", "1s"]).await;
    assert!(narrowed.with_code(2).contains("for one target"), "{narrowed:?}");
}

#[tokio::test]
async fn k21_a_paste_of_many_lines_at_the_prompt_is_read_unseen_and_none_of_it_reaches_the_shell() {
    const PROMPT: &str = "empty line: ";
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let mut api = world.api("service").await;
    let tokens = [
        api.token("user:1", "api").await.access_token,
        api.token("user:2", "api").await.access_token,
        api.token("user:3", "api").await.access_token,
    ];
    let mut text = String::from("from the chat:\n\n");
    for token in &tokens {
        writeln!(text, "- {}\n", folded(token, "\n  ")).unwrap();
    }
    // Longer than a line of a terminal may be.
    text += &"touch reached-the-shell ; ".repeat(400);
    let pasted = format!("\u{1b}[200~{text}\u{1b}[201~");
    let asked = [(PROMPT, pasted.as_str()), ("Type 3 to revoke them: ", "3")];
    let said = shell.dialogue(&["revoke", "--reason", "leaked"], &asked).await;
    assert!(said.with_code(0).contains("revoked 3 of 3"), "{said:?}");
    assert!(said.err.contains("\u{1b}[?2004h") && said.err.contains("\u{1b}[?2004l"), "{said:?}");
    assert!(!said.err.contains("eyJ"), "it is not shown: {said:?}");
    for token in &tokens {
        assert!(!is_active(&mut api, token).await);
    }
    // Another number is no.
    let token = api.token("user:4", "api").await.access_token;
    let pasted = format!("\u{1b}[200~{token} {}\u{1b}[201~", fresh());
    let asked = [(PROMPT, pasted.as_str()), ("Type 2 to revoke them: ", "3")];
    let said = shell.dialogue(&["revoke"], &asked).await;
    assert!(said.with_code(2).contains("nothing was revoked"), "{said:?}");
    assert!(is_active(&mut api, &token).await);
    // What is typed, or pasted into a terminal that marks nothing, ends with an empty line.
    let said = shell.dialogue(&["revoke"], &[(PROMPT, &format!("{}\n", folded(&token, "\n")))]).await;
    assert!(said.with_code(0).contains("revoked token "), "{said:?}");
    assert!(!is_active(&mut api, &token).await);
    let said = shell.dialogue(&["revoke"], &[(PROMPT, "")]).await;
    assert!(said.with_code(2).contains("the input is empty"), "{said:?}");
}

#[tokio::test]
async fn k21_the_terminal_is_as_it_was_after_the_prompt_however_it_ends() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let said = shell.interrupting(&["revoke"], "empty line: ").await;
    assert!(said.with_code(130).contains("interrupted. Nothing was sent."), "{said:?}");
    assert!(said.err.contains("\u{1b}[?2004l"), "{said:?}");
    for (typed, code) in [("\u{3}", 130), ("\u{4}", 2), ("\u{1c}", 130)] {
        let (terminal, end) = Terminal::open();
        let kept = terminal.end();
        let before = tcgetattr(&kept).unwrap();
        let mut command = shell.command(&["revoke"]);
        command.stdin(terminal.another_end()).stdout(terminal.another_end()).stderr(end);
        let mut child = command.spawn().unwrap();
        drop(command);
        let (mut terminal, _) = terminal.until("empty line: ").await;
        let during = tcgetattr(&kept).unwrap();
        assert!(!during.local_modes.intersects(LocalModes::ECHO | LocalModes::ICANON), "{during:?}");
        terminal.type_line(typed);
        assert_eq!(child.wait().await.unwrap().code(), Some(code), "{typed:?}");
        let after = tcgetattr(&kept).unwrap();
        assert_eq!(
            (after.local_modes, after.input_modes),
            (before.local_modes, before.input_modes),
            "{typed:?}"
        );
    }
}

#[tokio::test]
async fn k21_a_caller_revokes_its_own_tokens_one_by_one_and_is_told_what_it_may_not() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let shell = Shell::of(&world, "service");
    let own = [api.token("user:1", "api").await.access_token, api.token("user:2", "api").await.access_token];
    let other = world.api("other").await.token("user:3", "api").await;
    let id = fresh();
    let text = format!("{}\n{}\n{}\n{id}\n", own[0], own[1], other.access_token);
    let said = shell.pipe(&["revoke", "--yes"], &text).await;
    said.with_code(6);
    assert!(said.out.contains("revoked 2 of 4") && said.out.contains("2 not revoked"), "{said:?}");
    for refused in [format!("not revoked: token {}: ", other.jti), format!("not revoked: id {id}: ")] {
        assert!(said.out.contains(&refused), "{said:?}");
    }
    assert!(said.out.contains("PERMISSION"), "{said:?}");
    for token in &own {
        assert!(!is_active(&mut api, token).await);
    }
    assert!(is_active(&mut api, &other.access_token).await);
    // Nothing of it is allowed: as one refusal is.
    let said = shell.pipe(&["revoke", "--yes"], &format!("{}\n{id}\n", other.access_token)).await;
    assert!(said.with_code(4).contains("PERMISSION_REVOKE_ANY"), "{said:?}");
    // As JSON the list of what was not.
    let said = shell.pipe(&["revoke", "--yes", "--output", "json"], &text).await;
    said.with_code(6);
    let json: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(json["failures"].as_array().unwrap().len(), 2, "{json}");
    assert_eq!(json["outcomes"]["ALREADY_REVOKED"], 2, "{json}");

    // What others made stands beside what was revoked: that is no part of it, and is counted.
    let forge = world.forge().await;
    let mine = api.token("user:4", "api").await.access_token;
    let both = [foreign_token(&forge, "user:1"), mine.clone(), foreign_token(&forge, "user:2")].join("\n");
    let said = shell.pipe(&["revoke", "--yes"], &both).await;
    assert!(said.data().starts_with("revoked 1 of 1"), "{said:?}");
    assert!(said.err.starts_with("found: 1 token, 2 foreign\n"), "{said:?}");
    assert!(!is_active(&mut api, &mine).await);
    // Only what others made: the answer is no.
    let text = format!("{}\n{}", foreign_token(&forge, "user:1"), foreign_token(&forge, "user:2"));
    let said = shell.pipe(&["revoke", "--yes"], &text).await;
    assert!(said.with_code(3).contains("found: 2 foreign"), "{said:?}");
    // No server.
    let mut away = Shell::of(&world, "service");
    (away.arguments[1], away.arguments[3]) = ("127.0.0.1:1".to_owned(), "127.0.0.1:1".to_owned());
    let said = away.pipe(&["revoke", "--yes"], &text).await;
    assert!(said.with_code(5).contains("cannot reach http://127.0.0.1:1"), "{said:?}");
}

#[tokio::test]
async fn k17_a_bare_id_is_named_for_what_it_is() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let mut api = world.api("service").await;
    let session = api.session("user:7", "api").await;
    let token = api.token("user:7", "api").await;
    let said = shell.run(&["revoke", &session.session_id]).await;
    assert!(said.data().starts_with(&format!("revoked session {} at ", session.session_id)), "{said:?}");
    assert!(!is_active(&mut api, &session.access_token).await);
    for text in [token.jti.to_uppercase(), format!("{{{}}}", token.jti), token.jti.clone()] {
        let said = shell.run(&["revoke", &text]).await;
        assert!(said.data().contains(&format!("revoked jti {} ", token.jti)), "{said:?}");
    }
    assert!(!is_active(&mut api, &token.access_token).await);
    let unknown = shell.run(&["revoke", &fresh()]).await;
    unknown.data();
    assert!(unknown.err.contains("whether there ever was this one cannot be told"), "{unknown:?}");
    until("the audit trail has it", async || {
        world.number("select count(*) from audit_event where action = 'Revoke'").await >= 3
    })
    .await;
}
