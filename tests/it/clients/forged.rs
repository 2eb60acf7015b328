//! Rows of clients and API keys that were written past jeton: they grant nothing, and are named.

use base64::{Engine, engine::general_purpose::STANDARD};
use jeton::{
    mint::MasterKey,
    proto::v1::{self as pb, Permission, revocation_target::Kind},
    state,
    store::Seal,
};
use jeton_token::ApiKey;
use tonic::Code;

use super::{add_key, client, create, delete, delete_key, get, set_disabled, update};
use crate::world::{Refused, Shell, World, api_key, until};

/// The note that makes servers read a changed row.
const CHANGED: &str = "select log_change(2::smallint, 'x')";

async fn by_sql(world: &World, statement: &str) {
    world.sql(&format!("begin; {statement}; {CHANGED}; commit")).await;
}

/// Returns whether a key authenticates.
async fn is_known(world: &World, key: &str) -> bool {
    let refused = world.api_with_key(key).await.validate("x", &["api"]).await.err();
    refused.map(|status| status.code()) != Some(Code::Unauthenticated)
}

async fn until_refused(world: &World, key: &str) {
    until("the row is refused", async || !is_known(world, key).await).await;
}

#[tokio::test]
async fn c7_what_a_client_may_do_cannot_be_changed_past_jeton() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    for (place, change) in [
        "permissions = '{1,2,3,4,5,6,7}'",
        "audiences = '{*}'",
        "subjects = '{*}'",
        "own_subject = 'root'",
        "certificate_uris = '{spiffe://example.org/thief}'",
        "version = version + 1",
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("victim-{place}");
        let key = world.register(&name, &[state::Permission::Validate], &["api"], &[]).await;
        by_sql(&world, &format!("update client set {change} where client_id = '{name}'")).await;
        until_refused(&world, &key).await;
        // It is shown as refused, and is no base for another.
        let shown = get(&mut admin, &name).await.unwrap();
        assert!(shown.refused.contains("was not written by jeton"), "{change}: {shown:?}");
        let display = pb::Client { display_name: "x".into(), ..client(&name) };
        let refused = update(&mut admin, display, &["display_name"]).await.refused();
        assert_eq!(refused.reason, "NOT_FOUND", "{change}");
        let logged = world.server.logged();
        let lines: Vec<_> =
            logged.lines().filter(|line| line.contains("is refused") && line.contains(&name)).collect();
        assert_eq!(lines.len(), 1, "said once: {lines:?}");
        delete(&mut admin, &name).await.unwrap();
    }
    // The rest goes on.
    world.api("service").await.token("user:7", "api").await;
}

#[tokio::test]
async fn c7_a_client_whose_row_was_changed_past_jeton_can_still_be_revoked() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let key = world.register("victim", &[state::Permission::Validate], &["api"], &[]).await;
    by_sql(&world, "update client set permissions = '{1,2,3,4,5,6,7}' where client_id = 'victim'").await;
    until_refused(&world, &key).await;
    let of = |name: &str| Kind::ClientId(name.to_owned());
    let revoked = admin.revoke_wide(of("victim")).await.unwrap();
    assert_eq!(revoked.outcome(), pb::RevocationOutcome::Revoked);
    assert_eq!(admin.revoke_wide(of("victom")).await.refused().reason, "NOT_FOUND");
}

#[tokio::test]
async fn c7_a_client_or_a_key_that_was_added_past_jeton_is_nobody() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let thief = ApiKey::generate();
    let client = "insert into client (client_id, revision, permissions, audiences, subjects, create_time)
                  values ('thief', 1, '{1,2,3,4,5,6,7}', '{*}', '{*}', now())";
    let key = |client_id: &str| {
        format!(
            "insert into api_key (api_key_id, client_id, secret_hash, create_time)
             values ('{}', '{client_id}', decode('{}', 'base64'), now())",
            thief.id(),
            STANDARD.encode(thief.hash())
        )
    };
    by_sql(&world, &format!("{client}; {}", key("thief"))).await;
    until("it is named", async || world.server.logged().contains("thief")).await;
    assert!(!is_known(&world, thief.expose()).await);
    // A key of its own for a client that may do everything; or another's key, moved to it.
    world.sql("delete from client where client_id = 'thief'").await;
    by_sql(&world, &key("admin")).await;
    until("it is named", async || world.server.logged().contains(thief.id())).await;
    assert!(!is_known(&world, thief.expose()).await);
    assert!(is_known(&world, &api_key("nobody")).await);
    by_sql(&world, "update api_key set client_id = 'admin' where client_id = 'nobody'").await;
    until_refused(&world, &api_key("nobody")).await;
    by_sql(&world, "update api_key set expire_time = now() + interval '1 year' where client_id = 'other'")
        .await;
    until_refused(&world, &api_key("other")).await;
    let keys = get(&mut admin, "admin").await.unwrap().api_keys;
    assert_eq!(keys.iter().filter(|key| !key.refused.is_empty()).count(), 2, "{keys:?}");

    let said = Shell::of(&world, "admin").run(&["doctor"]).await;
    let named = said.out.lines().find(|line| line.contains("rows")).unwrap();
    assert!(
        named.starts_with("fail") && named.contains(thief.id()) && named.contains("of other"),
        "{said:?}"
    );
    // An administrator may remove them.
    for key in keys.iter().filter(|key| !key.refused.is_empty()) {
        delete_key(&mut admin, "admin", &key.api_key_id).await.unwrap();
    }
}

#[tokio::test]
async fn c7_what_only_takes_away_needs_no_mac() {
    let world = World::start().await;
    by_sql(&world, "update client set disabled = true where client_id = 'narrow'").await;
    until_refused(&world, &api_key("narrow")).await;
    by_sql(&world, "delete from api_key where client_id = 'other'").await;
    until_refused(&world, &api_key("other")).await;
    assert!(!world.server.logged().contains("is refused"), "neither is a forgery");
}

#[tokio::test]
async fn c8_an_older_row_that_is_put_back_is_noticed_by_whoever_has_seen_a_later_one() {
    let mut world = World::start().await;
    let mut admin = world.api("admin").await;
    let copy = "create table kept as select * from client; create table kept_keys as select * from api_key";
    let put_back = |client_id: &str, what: &str| {
        format!(
            "update client c set {what} from kept k where k.client_id = c.client_id and c.client_id = '{client_id}'"
        )
    };
    let row =
        "permissions = k.permissions, audiences = k.audiences, version = k.version, row_mac = k.row_mac";
    world.sql(copy).await;

    // What was taken from it by an update.
    let less = pb::Client { permissions: vec![Permission::Validate.into()], ..client("service") };
    update(&mut admin, less, &["permissions"]).await.unwrap();
    by_sql(&world, &put_back("service", row)).await;
    until_refused(&world, &api_key("service")).await;
    assert!(get(&mut admin, "service").await.unwrap().refused.contains("put back"));
    // That it was disabled.
    set_disabled(&mut admin, "other", true).await.unwrap();
    by_sql(&world, &put_back("other", &format!("disabled = false, {row}"))).await;
    until("it is noticed", async || get(&mut admin, "other").await.unwrap().refused.contains("put back"))
        .await;
    assert!(!is_known(&world, &api_key("other")).await);
    // A key that was removed; a client that was.
    let added = add_key(&mut admin, "reader", None).await.unwrap();
    let added_id = added.api_key.clone().unwrap().api_key_id;
    world
        .sql("insert into kept_keys select * from api_key where client_id = 'reader' on conflict do nothing")
        .await;
    delete_key(&mut admin, "reader", &added_id).await.unwrap();
    by_sql(
        &world,
        "insert into api_key select * from kept_keys k where k.client_id = 'reader' on conflict do nothing",
    )
    .await;
    delete(&mut admin, "narrow").await.unwrap();
    by_sql(
        &world,
        "insert into client select * from kept where client_id = 'narrow';
         insert into api_key select * from kept_keys where client_id = 'narrow'",
    )
    .await;
    until("both are noticed", async || {
        let logged = world.server.logged();
        let named = |id: &str| logged.lines().any(|line| line.contains("put back") && line.contains(id));
        named("\"narrow\"") && named(&added_id)
    })
    .await;
    assert!(!is_known(&world, &api_key("narrow")).await && !is_known(&world, &added.secret).await);
    // One of that name can be made again.
    delete(&mut admin, "narrow").await.unwrap();
    create(&mut admin, client("narrow")).await.unwrap();
    assert_eq!(get(&mut admin, "narrow").await.unwrap().refused, "");
    // A process that has seen nothing later cannot tell.
    world.crash_and_restart().await;
    assert!(is_known(&world, &api_key("service")).await);
}

#[tokio::test]
async fn c7_a_server_and_a_verb_with_another_master_key_than_the_clients_are_refused() {
    let world = World::start().await;
    let other = MasterKey::generate().unwrap();
    let shell = Shell::new();
    let file = shell.write("other.key", &other.to_text()).display().to_string();
    let database = ["--database-url", &world.database.url, "--master-key-file", &file];
    for verb in [&["client", "bootstrap", "--client-id", "second"][..], &["epoch", "bump", "--keep-keys"]] {
        let said = shell.run(&[verb, &database].concat()).await;
        assert!(said.with_code(1).contains("master key does not open key"), "{said:?}");
    }
    // If there are clients and no keys yet, the clients show it.
    world.sql("delete from signing_key; delete from mac_key").await;
    let said = shell.run(&[&["client", "bootstrap", "--client-id", "second"][..], &database].concat()).await;
    assert!(said.with_code(1).contains("registered under another master key"), "{said:?}");
    let clients = world.store().clients().await.unwrap();
    assert!(clients.get("second").is_none() && clients.get("admin").is_some());
    let blind = world.store().sealed(Seal::new(&other, [])).clients().await.unwrap();
    assert!(blind.by_name().is_empty());
}

/// A shell whose own flags come from the environment, so that a command can end with `--` and operands.
fn shell_of(world: &World) -> Shell {
    let mut shell = Shell::of(world, "admin");
    let flags = std::mem::take(&mut shell.arguments);
    let names = [
        ("--endpoint", "JETON_ENDPOINT"),
        ("--admin-endpoint", "JETON_ADMIN_ENDPOINT"),
        ("--api-key-file", "JETON_API_KEY_FILE"),
    ];
    for (flag, name) in names {
        let value = flags.iter().skip_while(|word| *word != flag).nth(1).unwrap();
        shell.environment.push((name.to_owned(), value.clone()));
    }
    shell
}

/// Doctor's check of the rows: its detail, and the commands that it names.
async fn doctor(shell: &Shell) -> (String, Vec<String>) {
    let said = shell.run(&["doctor", "--output", "json"]).await;
    let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let rows = report["checks"].as_array().unwrap().iter().find(|check| check["name"] == "rows").unwrap();
    let commands = rows["commands"].as_array().into_iter().flatten();
    let commands = commands.map(|command| command.as_str().unwrap().to_owned()).collect();
    (rows["detail"].as_str().unwrap().to_owned(), commands)
}

/// Runs the commands that doctor names as a person would, who pastes them; SQL goes to the database.
async fn follow(world: &World, shell: &Shell, commands: &[String]) {
    for command in commands {
        // The statement that `psql` is to run.
        let script = format!("psql() {{ printf %s \"$3\"; }}\n{command}");
        let said = shell.script_in("bash", &script).await;
        let out = said.data();
        if command.starts_with("psql ") {
            world.sql(out).await;
        }
    }
}

#[tokio::test]
async fn c7_a_forged_row_of_any_name_is_named_and_goes_by_the_command_that_doctor_names() {
    let world = World::start().await;
    let shell = shell_of(&world);
    let client = |name: &str| {
        format!(
            "insert into client (client_id, revision, permissions, audiences, subjects, create_time)
             values ({name}, 1, '{{1,7}}', '{{*}}', '{{*}}', now())"
        )
    };
    let key = |id: &str, client_id: &str| {
        format!(
            "insert into api_key (api_key_id, client_id, secret_hash, create_time)
             values ({id}, {client_id}, sha256({id}::text::bytea), now())"
        )
    };
    // The last one of 22 characters is no number below 2^128.
    let names =
        ["''", "'ev*il'", "'it''s'", "'-x'", "E'a\\nb\\x1b[31m1'", "'jtk_x'", "'caf\u{e9} \u{202e}x'"];
    let ids = ["''", "'ev*il2'", "'zzzzzzzzzzzzzzzzzzzzzz'", "E'k\\t'"];
    let clients = names.iter().map(|name| client(name));
    let keys = ids.iter().map(|id| key(id, "'other'")).chain([key("'k of none'", "''")]);
    by_sql(&world, &clients.chain(keys).collect::<Vec<_>>().join("; ")).await;
    let (detail, commands) = doctor(&shell).await;
    for named in [
        "client ''",
        "client 'ev*il'",
        r"client 'it'\''s'",
        "client -x",
        r"client $'a\012b\033[31m1'",
        "client jtk_x",
    ] {
        assert!(detail.contains(named), "{named}: {detail}");
    }
    for named in
        ["API key '' of other", "API key 'ev*il2' of other", "API key zzzzzzzzzzzzzzzzzzzzzz of other"]
    {
        assert!(detail.contains(named), "{named}: {detail}");
    }
    assert!(!detail.contains(['\n', '\u{1b}', '\u{202e}']), "{detail:?}");
    assert_eq!(commands.len(), names.len() + ids.len() + 1, "{commands:?}");
    // Keys of a client that is removed go with it.
    let commands: Vec<_> = commands.into_iter().filter(|command| !command.contains("k of none")).collect();
    follow(&world, &shell, &commands).await;
    let (detail, commands) = doctor(&shell).await;
    assert!(detail.ends_with("are as jeton wrote them") && commands.is_empty(), "{detail}");
    assert!(is_known(&world, &api_key("other")).await, "the rest goes on");
    // What is not there is refused by its form, as ever.
    let mut admin = world.api("admin").await;
    assert_eq!(delete(&mut admin, "").await.refused().reason, "FIELD_REQUIRED");
    assert_eq!(delete(&mut admin, "ev*il").await.refused().reason, "FIELD_INVALID");
    assert_eq!(delete(&mut admin, "a\0b").await.refused().reason, "FIELD_INVALID");
    assert_eq!(delete_key(&mut admin, "other", "").await.refused().reason, "FIELD_REQUIRED");
    assert_eq!(delete_key(&mut admin, "other", "ev*il2").await.refused().reason, "FIELD_INVALID");
}

#[tokio::test]
async fn c7_a_certificate_that_was_written_past_jeton_is_named_and_in_nobodys_way() {
    let world = World::start().await;
    let (shell, mut admin) = (shell_of(&world), world.api("admin").await);
    let uri = |name: &str| format!("spiffe://example.org/{name}");
    let stray = |name: &str| {
        format!("insert into client_certificate (uri, client_id) values ('{}', 'nobody')", uri(name))
    };
    let forged = format!(
        "insert into client (client_id, revision, permissions, audiences, subjects, certificate_uris, create_time)
         values ('thief', 1, '{{7}}', '{{*}}', '{{*}}', '{{{}, {}}}', now())",
        uri("third"),
        uri("fourth")
    );
    by_sql(&world, &[stray("first"), stray("second"), stray("it''s"), forged].join("; ")).await;
    let shown = get(&mut admin, "nobody").await.unwrap();
    assert_eq!(shown.stray_certificate_uris, [uri("first"), uri("it's"), uri("second")]);
    let (detail, _) = doctor(&shell).await;
    assert!(detail.contains(&format!("certificate {} of nobody", uri("first"))), "{detail}");
    assert!(detail.contains("client thief"), "{detail}");

    let with = |name: &str| pb::Client { certificate_uris: vec![uri(name)], ..client("owner") };
    create(&mut admin, with("first")).await.unwrap();
    for name in ["second", "third", "fourth"] {
        update(&mut admin, with(name), &["certificate_uris"]).await.unwrap();
    }
    create(&mut admin, pb::Client { client_id: "another".to_owned(), ..with("third") }).await.unwrap();
    let refused = create(&mut admin, pb::Client { client_id: "third".to_owned(), ..with("third") }).await;
    assert_eq!(refused.refused().reason, "ALREADY_EXISTS", "one that a client does have");
    let (_, commands) = doctor(&shell).await;
    assert_eq!(commands.len(), 2, "{commands:?}");
    follow(&world, &shell, &commands).await;
    let (detail, _) = doctor(&shell).await;
    assert!(detail.ends_with("are as jeton wrote them"), "{detail}");
    assert_eq!(get(&mut admin, "owner").await.unwrap().certificate_uris, [uri("fourth")]);
}

#[tokio::test]
async fn c7_a_mac_that_was_changed_is_told_before_a_server_that_starts_refuses_the_row() {
    let mut world = World::start().await;
    let mut admin = world.api("admin").await;
    let shell = shell_of(&world);
    // Nothing tells the server: it has to look by itself.
    world.sql("update client set row_mac = '\\x00' where client_id in ('narrow', 'other')").await;
    world.sql("update api_key set row_mac = '\\x00' where client_id = 'nobody'").await;
    world.sql("update signing_key set row_mac = '\\x00' where algorithm = 'EdDSA'").await;
    let (detail, _) = doctor(&shell).await;
    for named in ["client narrow, ", "client other, ", " of nobody, ", ", key ", "one that starts refuses it"]
    {
        assert!(detail.contains(named), "{named}: {detail}");
    }
    assert!(is_known(&world, &api_key("narrow")).await, "it is what the server has seen");
    // Whatever writes it again, writes its MAC.
    let display = pb::Client { display_name: "x".into(), ..client("narrow") };
    update(&mut admin, display, &["display_name"]).await.unwrap();
    world.crash_and_restart().await;
    assert!(is_known(&world, &api_key("narrow")).await && !is_known(&world, &api_key("other")).await);
    assert!(!is_known(&world, &api_key("nobody")).await);
}

#[tokio::test]
async fn c7_keys_that_were_added_past_jeton_do_not_count_for_the_most_that_a_client_may_have() {
    let world = World::start().await;
    let many = "insert into api_key (api_key_id, client_id, secret_hash, create_time)
                select 'forged' || n, 'other', sha256(n::text::bytea), now() from generate_series(1, 30) n";
    by_sql(&world, many).await;
    let key = add_key(&mut world.api("admin").await, "other", None).await.unwrap();
    assert!(is_known(&world, &key.secret).await);
}

#[tokio::test]
async fn c7_a_value_that_no_server_could_read_cannot_be_written() {
    let world = World::start().await;
    for statement in [
        "update client set revision = -1 where client_id = 'other'",
        "update client set revision = 9007199254740992 where client_id = 'other'",
        "update client set create_time = '-infinity' where client_id = 'other'",
        "update client set audiences = '{api,NULL}' where client_id = 'other'",
        "update client set permissions = '{NULL}' where client_id = 'other'",
        "update api_key set expire_time = 'infinity' where client_id = 'other'",
        "update api_key set last_use_time = '20000-01-01' where client_id = 'other'",
        "update signing_key set expire_time = 'infinity'",
        "update signing_key set publish_revision = -1",
        "update signing_key set revoke_time = 'infinity'",
        "update mac_key set activate_time = 'infinity'",
    ] {
        let refused = "exception when check_violation then null; end $$";
        world.sql(&format!("do $$ begin {statement}; raise exception 'it was written'; {refused}")).await;
    }
    let (detail, _) = doctor(&shell_of(&world)).await;
    assert!(detail.ends_with("are as jeton wrote them"), "{detail}");
}
