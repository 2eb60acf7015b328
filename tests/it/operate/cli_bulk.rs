//! `jeton revoke` of long lists: `BulkRevoke` from the command line.

use std::{fs, process::Stdio};

use jeton::proto::v1 as pb;
use jeton_token::new_uuid_v7;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::Child;

use crate::world::{Api, Said, ServerOptions, Shell, World, steady, until};

/// A list of so many ids, each on a line of a log.
fn list(ids: usize) -> String {
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let lines = (0..ids).map(|n| format!("{n} INFO jti={} ok\n", new_uuid_v7(now_ms)));
    lines.collect::<Vec<_>>().concat()
}

async fn is_active(api: &mut Api, token: &str) -> bool {
    api.status(token, "api").await == pb::TokenStatus::Active
}

/// Three chunks, with a token in the first.
async fn three_chunks(world: &World) -> (String, String) {
    let token = world.api("service").await.token("user:7", "api").await.access_token;
    (format!("{token}\n{}", list(24_999)), token)
}

/// From now on the second chunk of a list waits within Postgres until this is let go.
async fn hold_the_second_chunk(world: &World) -> sqlx::PgConnection {
    let mut holder = world.database.connect().await;
    let trigger = "select pg_advisory_lock(42);
        create function hold() returns trigger language plpgsql as
        $$ begin if new.number = 2 then perform pg_advisory_xact_lock(42); end if; return new; end $$;
        create trigger hold before insert on bulk_chunk for each row execute function hold();";
    sqlx::Executor::execute(&mut holder, sqlx::raw_sql(trigger)).await.unwrap();
    holder
}

async fn is_held(world: &World) -> bool {
    let waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted
                   and database = (select oid from pg_database where datname = current_database())";
    world.number(waiting).await > 0
}

async fn let_go(holder: &mut sqlx::PgConnection) {
    sqlx::Executor::execute(holder, "select pg_advisory_unlock(42)").await.unwrap();
}

async fn ended(child: Child) -> Said {
    let output = child.wait_with_output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// The rows of committed chunks: their number, and their targets.
async fn committed(world: &World) -> (i64, i64) {
    (
        world.number("select count(*) from bulk_chunk").await,
        world.number("select coalesce(sum(size), 0)::bigint from bulk_chunk").await,
    )
}

#[tokio::test]
async fn k20_a_long_list_is_revoked_in_chunks_and_says_how_far_it_is() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let (text, token) = three_chunks(&world).await;
    shell.write("ids.log", &text);
    let bulk =
        ["revoke", "bulk", "ids.log", "--reason", "leaked", "--note", "INC-1", "--yes", "--retry", "10m"];
    let looked = shell.run(&[&bulk[..], &["--dry-run"]].concat()).await;
    assert!(looked.data().starts_with("would revoke 25000 of 25000"), "{looked:?}");
    assert_eq!(committed(&world).await, (0, 0), "a dry run changes nothing");

    let said = shell.run(&[&bulk[..], &["--progress", "json"]].concat()).await;
    assert!(said.data().starts_with("revoked 25000 of 25000 (25000 tokens), revision 1."), "{said:?}");
    assert!(said.out.contains(", 1/1 replicas in "), "{said:?}");
    assert_eq!(said.out.lines().count(), 1, "fit for a channel: {said:?}");
    let lines: Vec<Value> =
        said.err.lines().filter(|line| line.starts_with('{')).map(|line| line.parse().unwrap()).collect();
    // A machine that stalls makes it wait, and say so, and say again where it stands.
    let mut done: Vec<_> = lines.iter().filter_map(|line| line["done"].as_i64()).collect();
    done.dedup();
    assert_eq!(done, [0, 10_000, 20_000, 25_000], "{said:?}");
    assert!(lines.iter().all(|line| line["targets"] == 25_000 || line["waiting"].is_string()));
    assert!(lines.iter().all(|line| line["bulkId"] == lines[0]["bulkId"]));
    assert_eq!(committed(&world).await, (3, 25_000));
    assert!(!is_active(&mut world.api("service").await, &token).await);

    // Again: each is revoked already, and nothing is done.
    let again = shell.run(&[&bulk[..], &["--output", "json"]].concat()).await.json();
    assert_eq!(again["outcomes"], serde_json::json!({ "ALREADY_REVOKED": 25_000 }));
    assert_eq!((&again["found"]["ids"], &again["propagation"]["complete"]), (&24_999.into(), &true.into()));
    assert_eq!(again["candidates"].as_array().unwrap().len(), 25_000);

    // At a terminal: a bar, and the number is typed.
    shell.write("more.log", &list(10_001));
    let asked = [("Type 10001 to revoke them: ", "10001")];
    let said = shell.dialogue(&["revoke", "--from", "more.log"], &asked).await;
    assert!(said.with_code(0).contains("10000 of 10001 revoked"), "{said:?}");
    assert!(said.err.contains("[########################] 10001 of 10001 revoked"), "{said:?}");
    assert!(said.err.contains("\r\u{1b}[2Krevoked 10001 of 10001"), "the bar is erased: {said:?}");
}

#[tokio::test]
async fn k20_a_server_that_is_killed_in_the_middle_loses_nothing_and_does_nothing_twice() {
    steady(async || {
        let mut world = World::start().await;
        let shell = Shell::of(&world, "admin");
        let (text, token) = three_chunks(&world).await;
        shell.write("ids.log", &text);
        let mut holder = hold_the_second_chunk(&world).await;
        let child =
            shell.command(&["revoke", "--from", "ids.log", "--yes", "--progress", "json"]).spawn().unwrap();
        let child = tokio::spawn(ended(child));
        until("the second chunk is under way", async || is_held(&world).await).await;
        assert_eq!(committed(&world).await, (1, 10_000));
        world.server.kill();
        let_go(&mut holder).await;
        world.crash_and_restart().await;
        let said = child.await.unwrap();
        assert!(said.data().starts_with("revoked 25000 of 25000 (25000 tokens), "), "{said:?}");
        assert!(said.err.contains("\"waiting\":"), "it says that it waits: {said:?}");
        assert_eq!(committed(&world).await, (3, 25_000));
        assert_eq!(world.number("select count(*) from audit_event where action = 'BulkRevoke'").await, 3);
        assert!(!is_active(&mut world.api("service").await, &token).await);
    })
    .await;
}

#[tokio::test]
async fn k20_an_interruption_prints_the_command_that_goes_on_from_the_same_input() {
    let world = World::start().await;
    let mut shell = Shell::of(&world, "admin");
    let (text, token) = three_chunks(&world).await;
    shell.write("the ids.log", &text);
    let mut holder = hold_the_second_chunk(&world).await;
    let revoke = [
        "revoke",
        "--from",
        "the ids.log",
        "--reason",
        "leaked",
        "--note",
        "INC-1: it's bad",
        "--yes",
        "--retry",
        "10m",
    ];
    let mut command = shell.command(&revoke);
    command.stdin(Stdio::null());
    let child = command.spawn().unwrap();
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    let child = tokio::spawn(ended(child));
    until("the second chunk is under way", async || is_held(&world).await).await;
    kill_process(pid, Signal::INT).unwrap();
    let said = child.await.unwrap();
    let talk = said.with_code(130);
    assert!(talk.contains("interrupted. 10000 of 25000 targets are revoked."), "{said:?}");
    let (_, resume) = talk.trim_end().split_once("Go on with this command: ").unwrap();
    assert!(resume.starts_with("jeton revoke --from 'the ids.log' --resume "), "{resume}");
    let_go(&mut holder).await;
    until("the chunk under way is committed", async || committed(&world).await.0 == 2).await;

    // Another input is told from it.
    shell.write("other.log", &list(30));
    let other = resume.replace("'the ids.log'", "other.log");
    // The command has all that it needs.
    shell.arguments = Vec::new();
    let refused = shell.script(&other).await;
    assert!(refused.with_code(2).contains("this is not the input of "), "{refused:?}");
    let said = shell.script(resume).await;
    assert!(said.data().starts_with("revoked 25000 of 25000 (25000 tokens), "), "{said:?}");
    assert_eq!(committed(&world).await, (3, 25_000), "the same id, and nothing twice");
    let notes =
        "select count(*) from audit_event where action = 'BulkRevoke' and note like 'INC-1: it''s bad%'";
    assert_eq!(world.number(notes).await, 3);
    assert!(!is_active(&mut world.api("service").await, &token).await);
    // It is done: again is safe.
    let said = shell.script(resume).await;
    assert!(said.data().starts_with("revoked 25000 of 25000 "), "{said:?}");
    assert_eq!(committed(&world).await, (3, 25_000));
}

#[tokio::test]
async fn k20_what_was_not_done_is_listed_and_the_rest_is() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let mut api = world.api("service").await;
    let session = api.session("user:7", "api").await;
    let token = api.token("user:7", "api").await;
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let future = new_uuid_v7(now_ms + 3_600_000).to_string();
    let said = shell.run(&["revoke", "--yes", &future, &session.session_id, &token.jti]).await;
    said.with_code(6);
    assert!(said.out.contains(&format!("not revoked: id {future}: ")), "{said:?}");
    assert!(said.out.contains("FIELD_INVALID"), "{said:?}");
    assert!(said.out.contains("revoked 2 of 3 (1 session, 1 token), 1 not revoked, revision "), "{said:?}");
    assert!(
        !is_active(&mut api, &session.access_token).await && !is_active(&mut api, &token.access_token).await
    );
    let json = shell.run(&["revoke", "--yes", &future, &token.jti, "--output", "json"]).await;
    json.with_code(6);
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["failures"][0]["target"], format!("id {future}"), "{json}");
    assert_eq!(json["failures"][0]["reason"], "FIELD_INVALID", "{json}");

    // A token of ours that was damaged is not done, and more than a few need the right to revoke any.
    let damaged = api.token("user:7", "api").await.access_token;
    let (head, signature) = damaged.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    let text = format!("{head}.{first}{}\n{}\n", &signature[1..], token.jti);
    let said = shell.pipe(&["revoke", "--yes"], &text).await;
    said.with_code(6);
    assert!(said.out.contains("1 that cannot be verified"), "{said:?}");
    shell.write("ids.log", &list(1_001));
    let service = Shell::of(&world, "service");
    fs::copy(shell.path("ids.log"), service.path("ids.log")).unwrap();
    let said = service.run(&["revoke", "--from", "ids.log", "--yes"]).await;
    assert!(said.with_code(4).contains("PERMISSION_REVOKE_ANY"), "{said:?}");
    assert_eq!(world.number("select count(*) from revocation").await, 2, "nothing of it was done");
}

#[tokio::test]
async fn k20_a_list_above_the_high_water_mark_is_refused_before_anything_is_done_unless_forced() {
    let arguments = ["--revocations-high-water", "100"].map(str::to_owned).to_vec();
    let world = World::start_with(ServerOptions { arguments, ..ServerOptions::default() }).await;
    let shell = Shell::of(&world, "admin");
    shell.write("ids.log", &list(101));
    let revoke = ["revoke", "--from", "ids.log", "--yes"];
    let refused = shell.run(&revoke).await;
    assert!(refused.with_code(3).contains("100") && refused.err.contains("101"), "{refused:?}");
    assert_eq!(committed(&world).await, (0, 0));
    let forced = shell.run(&[&revoke[..], &["--force"]].concat()).await;
    assert!(forced.data().starts_with("revoked 101 of 101"), "{forced:?}");
}

/// The commands of `docs/incident.md`, each as it is printed.
#[tokio::test]
async fn k21_each_command_for_an_incident_works_as_it_is_printed() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/incident.md")).unwrap();
    let commands: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    assert_eq!((page.matches("\n## ").count(), commands.len()), (12, 30), "{commands:?}");
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let mut api = world.api("service").await;
    let in_chat = api.token("user:1", "api").await.access_token;
    let in_log = api.token("user:2", "api").await.access_token;
    shell.write("message.txt", &format!("Hi,\n> look what I found: \"Bearer {in_chat}\"!\n"));
    shell.write("app.log", &format!("token={in_log}\n{}", list(20)));
    shell.write("app.log.1", &list(20));
    shell.script("gzip app.log.1").await.with_code(0);
    shell.write("ids.txt", &list(20));
    let of_service = api.session("svc:billing", "api").await;
    let legacy = api.token("user:3", "legacy").await.access_token;
    shell.write("token.txt", &of_service.access_token);
    shell.write("key-in-a-log.txt", &format!("using {}\n", crate::world::api_key("narrow")));
    let checkout = pb::Client { client_id: "checkout".to_owned(), ..Default::default() };
    let request = pb::CreateClientRequest { client: Some(checkout) };
    world.api("admin").await.admin.create_client(request).await.unwrap();
    let mut all = Vec::new();
    for command in commands {
        all.push((command, shell.script(command).await));
    }
    // The one whose command contains this.
    let said = |part: &str| {
        let found: Vec<_> = all.iter().filter(|(command, _)| command.contains(part)).collect();
        assert_eq!(found.len(), 1, "{part}: {all:?}");
        &found[0].1
    };
    let begins = |part: &str, with: &str| assert!(said(part).data().starts_with(with), "{part}: {all:?}");
    begins("message.txt | jeton revoke -", "revoked token ");
    begins("app.log.1.gz --dry-run", "would revoke 41 of 41");
    begins("app.log.1.gz --reason leaked", "revoked 41 of 41");
    begins("bulk ids.txt", "revoked 20 of 20");
    assert!(
        said("key-in-a-log.txt").with_code(6).contains("End it: jeton client delete-key narrow "),
        "{all:?}"
    );
    assert!(
        said("svc:billing --reason compromised --note INC-1 --dry-run").data().contains("1 live session")
    );
    begins("svc:billing --reason compromised --note INC-1 --yes", "revoked subject svc:billing ");
    let open = &said("svc:billing --reason compromised --note INC-1 --yes").err;
    assert!(open.contains("Clients can issue for svc:billing again at once."), "{all:?}");
    assert!(open.contains("by the key set alone, offline"), "{all:?}");
    assert!(said("--lock 4h").err.contains("jeton unlock subject svc:billing"), "{all:?}");
    begins("--audience legacy", "revoked audience legacy ");
    begins("lock subject svc:billing --ttl 1h", "locked subject svc:billing until ");
    begins("lock client checkout --note INC-1", "locked client checkout until ");
    assert!(said("lock list").data().contains("client checkout"), "{all:?}");
    begins("unlock client checkout", "unlocked client checkout");
    assert!(said("session list").data().contains("SESSION"), "{all:?}");
    assert!(said("explain --subject").data().contains("0 live sessions"), "{all:?}");
    let killed = said("explain < token.txt").data();
    assert!(killed.contains("REVOKED") && killed.contains("note INC-1"), "{all:?}");
    assert!(said("revocation list --wide").data().contains("subject svc:billing"), "{all:?}");
    assert!(said("audit list --note INC-1").data().contains("INC-1"), "{all:?}");
    begins("rotate-key narrow", "client ");
    begins("revoke --client narrow", "revoked client narrow ");
    begins("audit list --actor narrow", "TIME ");
    begins("client update narrow", "client ");
    begins("jeton whoami", "client ");
    assert!(said("Revoke --subject svc:billing").data().contains("\"note\": \"INC-1\""), "{all:?}");
    assert!(said("revocation list --after 2h").data().contains("client narrow"), "{all:?}");
    begins("audit list --action Revoke --since 2h", "TIME ");
    said("key rotate --emergency").data();
    begins("jeton key list", "KEY ");
    assert!(said("doctor").data().contains("database"), "{all:?}");
    assert_eq!(api.status(&legacy, "legacy").await, pb::TokenStatus::Revoked);
    for token in [in_chat, in_log, of_service.access_token] {
        assert!(!is_active(&mut api, &token).await);
    }
    let asked = [("empty line: ", "\u{1b}[200~nothing of use\u{1b}[201~")];
    let prompt = page.lines().find_map(|line| line.strip_prefix("jeton revoke --reason")).unwrap();
    let words: Vec<_> = format!("revoke --reason{prompt}").split(' ').map(str::to_owned).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let said = shell.dialogue(&words, &asked).await;
    assert!(said.with_code(3).contains("not revoked"), "{said:?}");
}
