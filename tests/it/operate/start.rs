//! Refusals of a starting server: exit 1, one sentence, nothing written.

use sqlx::{AssertSqlSafe, Connection, Row};

use crate::world::{
    AS_JETON, Api, Database, Said, Server, ServerOptions, Shell, World, api_key, master_key_text, until,
};
use jeton::proto::v1::TokenStatus;

/// The contents of a database: each table, and the head of the log.
async fn everything(database: &Database) -> String {
    let mut connection = database.connect().await;
    let tables = "select relname::text from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace order by 1";
    let mut all = String::new();
    for row in sqlx::query(tables).fetch_all(&mut connection).await.unwrap() {
        let name: String = row.get(0);
        let digest = format!(
            "select count(*)::text || ' ' || coalesce(md5(string_agg(t::text, '|' order by t::text)), '') from {name} t"
        );
        let digest: String =
            sqlx::query_scalar(AssertSqlSafe(digest)).fetch_one(&mut connection).await.unwrap();
        all = format!("{all}{name} {digest}\n");
    }
    connection.close().await.unwrap();
    all
}

/// The one sentence of a start that failed.
pub fn sentence(code: Option<i32>, said: &str) -> String {
    assert_eq!(code, Some(1), "{said}");
    // The log is JSON lines; messages for people are not.
    let lines: Vec<_> = said.lines().filter(|line| !line.starts_with('{')).collect();
    assert_eq!(lines.len(), 1, "one sentence: {said}");
    assert!(lines[0].starts_with("error: "), "{said}");
    for noise in ["panicked", "backtrace", "RUST_BACKTRACE", "Error {", "Some("] {
        assert!(!said.contains(noise), "{noise}: {said}");
    }
    lines[0].to_owned()
}

/// Starts a server that must not come up on this database; nothing may be written.
async fn refused(database: &Database, options: &ServerOptions) -> String {
    // What a killed server sent last may still be written.
    let others = "select count(*) from pg_stat_activity
                   where datname = current_database() and application_name like 'jeton %'";
    until("no server writes any more", async || database.number(others).await == 0).await;
    let before = everything(database).await;
    let directory = tempfile::tempdir().unwrap();
    let started = Server::try_start(&database.url, directory.path(), options).await;
    let (status, said) = started.err().expect("it serves");
    assert!(!directory.path().join("ready.json").exists(), "no ready file");
    assert_eq!(everything(database).await, before, "nothing is written");
    sentence(status.code(), &said)
}

#[tokio::test]
async fn another_master_key_than_the_one_that_sealed_the_keys_is_refused() {
    let mut world = World::start().await;
    world.server.kill();
    let other = jeton::mint::MasterKey::generate().unwrap().to_text().to_string();
    let options = ServerOptions { master_key: Some(other.clone()), ..ServerOptions::default() };
    let said = refused(&world.database, &options).await;
    assert!(said.contains("the master key does not open key"), "{said}");
    assert!(!said.contains(&other), "the key is not said");
}

#[tokio::test]
async fn a_schema_from_a_newer_version_is_refused() {
    let database = Database::create().await;
    database
        .execute("insert into _sqlx_migrations select 9999, 'later', installed_on, true, checksum, execution_time from _sqlx_migrations limit 1")
        .await;
    let said = refused(&database, &ServerOptions::default()).await;
    assert!(said.contains("9999") && said.contains("use a newer jeton"), "{said}");
}

#[tokio::test]
async fn another_text_of_a_migration_is_refused() {
    let database = Database::create().await;
    database.execute("update _sqlx_migrations set checksum = '\\x00' where version = 2").await;
    let said = refused(&database, &ServerOptions::default()).await;
    assert!(said.contains("migration 2"), "{said}");
}

#[tokio::test]
async fn missing_migrations_are_refused_with_the_verb_that_applies_them() {
    let said = refused(&Database::create_empty().await, &ServerOptions::default()).await;
    assert!(said.contains("jeton migrate up"), "{said}");
}

#[tokio::test]
async fn k9_in_another_database_than_the_log_was_written_in_it_waits_and_writes_nothing() {
    let database = Database::create().await;
    database
        .execute(&format!("update log_head set system_identifier = system_identifier + 1, {AS_JETON}"))
        .await;
    // Also what a backup of last month lacks: partitions must not be made in a log of others.
    database
        .execute("do $$ declare p text; begin for p in select inhrelid::regclass::text from pg_inherits where inhparent = 'revocation'::regclass and inhrelid::regclass::text <> 'revocation_default' loop execute 'drop table ' || p; end loop; end $$")
        .await;
    let before = everything(&database).await;
    let directory = tempfile::tempdir().unwrap();
    let options = ServerOptions::default();
    let starting = Server::start(&database.url, directory.path(), &options);
    let bumped = async {
        until("it says what it waits for", async || {
            let log = std::fs::read_to_string(directory.path().join("log")).unwrap_or_default();
            log.contains("not the one that the log was written in") && log.contains("jeton epoch bump")
        })
        .await;
        assert!(!directory.path().join("ready.json").exists(), "no ready file");
        assert_eq!(everything(&database).await, before, "nothing is written");
        let bump = ["epoch", "bump", "--keep-keys", "--database-url", &database.url];
        Shell::new().run(&bump).await
    };
    let (server, said) = tokio::join!(starting, bumped);
    assert_eq!((said.code, said.out.trim()), (0, "epoch 2 has begun"), "{}", said.err);
    let mut api = Api::connect(&server.ready, &api_key("service"));
    let token = api.token("user:7", "api").await;
    assert_eq!(api.status(&token.access_token, "api").await, TokenStatus::Active);
}

#[tokio::test]
async fn a_malformed_master_key_and_a_bad_issuer_are_refused() {
    let database = Database::create().await;
    for bad in ["", "abc", &"z".repeat(64), &"ab".repeat(31)] {
        let options = ServerOptions { master_key: Some(bad.to_owned()), ..ServerOptions::default() };
        let said = refused(&database, &options).await;
        assert!(said.contains("64 hex"), "{said}");
        assert!(bad.is_empty() || !said.contains(bad), "the text of a key is not said: {said}");
    }
    for bad in ["", "jeton.test", "https://jeton.test?a=b", "https://jeton.test#a", "ftp://jeton.test"] {
        let options = ServerOptions { issuer: Some(bad.to_owned()), ..ServerOptions::default() };
        let said = refused(&database, &options).await;
        assert!(said.contains("--issuer is not valid"), "{bad}: {said}");
    }
}

#[tokio::test]
async fn a_port_in_use_is_refused_by_its_address() {
    let database = Database::create().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let any = || "127.0.0.1:0".to_owned();
    for ports in
        [[address.clone(), any(), any()], [any(), address.clone(), any()], [any(), any(), address.clone()]]
    {
        let options = ServerOptions { ports: Some(ports), ..ServerOptions::default() };
        let said = refused(&database, &options).await;
        assert!(said.contains(&address), "{said}");
    }
}

#[tokio::test]
async fn a_database_out_of_reach_is_refused_without_its_password() {
    for url in [
        "postgres://jeton:hunter2@127.0.0.1:1/jeton",
        "postgres://jeton:hunter2@[",
        "mysql://jeton:hunter2@localhost/x",
    ] {
        let directory = tempfile::tempdir().unwrap();
        let started = Server::try_start(url, directory.path(), &ServerOptions::default()).await;
        let (status, said) = started.err().expect("a refusal");
        assert!(sentence(status.code(), &said).contains("database"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

/// A shell with a master key and a configuration file, for `jeton serve`.
pub fn configured(config: &str) -> Shell {
    let mut shell = Shell::new();
    shell.environment.clear();
    shell.write("master.key", &master_key_text());
    shell.write("jeton.toml", config);
    shell
}

pub fn one_sentence(said: &Said) -> String {
    sentence(Some(said.code), &said.err)
}

#[tokio::test]
async fn plaintext_and_what_has_no_default_must_be_said() {
    let whole = [
        ("database_url", "database_url = 'postgres://x@127.0.0.1:1/x'\n"),
        ("master_key_file", "master_key_file = 'master.key'\n"),
        ("issuer", "issuer = 'http://jeton.test'\n"),
        ("plaintext", "plaintext = true\n"),
    ];
    for (name, _) in whole {
        let rest: String = whole.iter().filter(|(other, _)| *other != name).map(|(_, line)| *line).collect();
        let said = configured(&rest).run(&["serve", "--config", "jeton.toml"]).await;
        let flag = format!("--{}", name.replace('_', "-"));
        assert!(one_sentence(&said).contains(&flag), "{said:?}");
    }
}

#[tokio::test]
async fn a_bad_configuration_file_is_refused_by_name() {
    let run = async |config: &str| {
        one_sentence(&configured(config).run(&["serve", "--config", "jeton.toml"]).await)
    };
    let unknown = run("isuer = 'https://a'").await;
    assert!(unknown.contains("isuer") && unknown.contains("jeton.toml"), "{unknown}");
    assert!(run("issuer = ").await.contains("jeton.toml"));
    assert!(run("listen = 'nonsense'").await.contains("jeton.toml"));
    assert!(run("plaintext = 'yes'").await.contains("jeton.toml"));
    let absent = one_sentence(&Shell::new().run(&["serve", "--config", "absent.toml"]).await);
    assert!(absent.contains("absent.toml"), "{absent}");
}

#[tokio::test]
async fn a_wrong_command_line_is_exit_2() {
    let shell = Shell::new();
    for wrong in [
        &["nonsense"][..],
        &[],
        &["serve", "--listen", "nonsense"],
        &["serve", "--isuer", "x"],
        &["migrate"],
        &["migrate", "up"],
        &["key", "import"],
        &["issue"],
    ] {
        let said = shell.run(wrong).await;
        assert_eq!(said.code, 2, "{wrong:?}: {said:?}");
        assert!(!said.err.contains("panicked"), "{said:?}");
    }
}

#[tokio::test]
async fn a_flag_goes_before_the_environment_before_the_file_before_the_default() {
    let database = Database::create().await;
    let mut shell = configured(
        "allow_fsync_off = true\nreplica_name = 'file'\nissuer = 'http://file'\nready_file = 'ready.json'\nplaintext = true\n\
         master_key_file = 'master.key'\nlisten = '127.0.0.1:0'\nadmin_listen = '127.0.0.1:0'\nops_listen = '127.0.0.1:0'\n",
    );
    let env = [
        ("JETON_DATABASE_URL", database.url.as_str()),
        ("JETON_REPLICA_NAME", "env"),
        ("JETON_ISSUER", "http://env"),
        ("JETON_CONFIG", "jeton.toml"),
    ];
    shell.environment = env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let ready = async |shell: &Shell, arguments: &[&str]| -> serde_json::Value {
        let mut child = shell.command(arguments).spawn().unwrap();
        let file = shell.path("ready.json");
        crate::world::until("it serves", async || file.exists()).await;
        let ready = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        child.kill().await.unwrap();
        std::fs::remove_file(&file).unwrap();
        ready
    };
    let first = ready(&shell, &["serve", "--replica-name", "flag"]).await;
    assert_eq!((first["replica"].as_str(), first["issuer"].as_str()), (Some("flag"), Some("http://env")));
    assert_ne!(first["public"], "127.0.0.1:7070", "the file goes before the default");
    shell.environment.retain(|(name, _)| name != "JETON_ISSUER" && name != "JETON_REPLICA_NAME");
    std::fs::write(
        shell.path("jeton.toml"),
        std::fs::read_to_string(shell.path("jeton.toml")).unwrap().replace("replica_name = 'file'\n", ""),
    )
    .unwrap();
    // One that was killed a moment ago still counts for one that runs.
    database.execute("delete from replica").await;
    let second = ready(&shell, &["serve"]).await;
    assert_eq!(second["issuer"], "http://file");
    let by_default = format!("-{}", second["pid"]);
    assert!(second["replica"].as_str().unwrap().ends_with(&by_default), "host and process: {second}");
}

/// A verb with these variables.
pub async fn with_variables(arguments: &[&str], variables: &[(&str, &str)]) -> Said {
    let mut shell = Shell::new();
    shell.write("master.key", &master_key_text());
    shell.environment =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    shell.run(arguments).await
}

#[tokio::test]
async fn e19_what_configuration_cannot_mean_is_refused_with_its_place_and_an_example() {
    let serve = ["serve", "--plaintext", "--master-key-file", "master.key", "--issuer", "http://a"];
    let gone = ("JETON_DATABASE_URL", "postgres://x@127.0.0.1:1/x?sslmode=disable");
    for wrong in [":7070", "7070", "localhost:7070"] {
        let said = with_variables(&serve, &[gone, ("JETON_LISTEN", wrong)]).await;
        let told = said.with_code(2);
        assert!(told.contains("127.0.0.1:7070") && told.contains("JETON_LISTEN"), "{said:?}");
        let said = with_variables(&[&serve[..], &["--listen", wrong]].concat(), &[gone]).await;
        let told = said.with_code(2);
        assert!(told.contains("127.0.0.1:7070") && !told.contains("environment"), "{said:?}");
    }
    // Empty is unset.
    let empty =
        [gone, ("JETON_LISTEN", ""), ("JETON_LOG", ""), ("JETON_CLIENT_RATE", ""), ("JETON_TLS_CERT", "")];
    let said = with_variables(&serve, &empty).await;
    assert!(said.with_code(1).contains("error: "), "the database alone is wrong: {said:?}");
    assert!(!said.err.contains("JETON_") && !said.err.contains("--listen"), "{said:?}");
    let said = with_variables(&["doctor"], &[("JETON_ENDPOINT", ""), ("JETON_ADMIN_ENDPOINT", "")]).await;
    assert!(said.with_code(2).contains("no server is known"), "{said:?}");

    // The file: line and key.
    let shell = Shell::new();
    shell.write("master.key", &master_key_text());
    for (text, place) in [
        ("plaintext = true\nlisten = 7070\n", "at line 2, listen"),
        ("listen = \":7070\"\n", "127.0.0.1:7070"),
        ("\n\nisuer = 'http://a'\n", "at line 3, isuer"),
        ("plaintext = true\nclient_rate = 'many'\n", "at line 2, client_rate"),
    ] {
        shell.write("jeton.toml", text);
        let said = shell.run(&["serve", "--config", "jeton.toml"]).await;
        let told = said.with_code(1);
        assert!(told.contains("jeton.toml") && told.contains(place), "{text:?}: {said:?}");
    }
}

#[tokio::test]
async fn e19_a_secret_in_the_environment_is_refused_by_name() {
    for (name, instead) in
        [("JETON_API_KEY", "JETON_API_KEY_FILE"), ("JETON_MASTER_KEY", "JETON_MASTER_KEY_FILE")]
    {
        for verb in [&["doctor"][..], &["issue", "--subject", "a", "--audience", "b"], &["version"]] {
            let said = with_variables(verb, &[(name, "jtk_secret")]).await;
            let told = said.with_code(2);
            assert!(told.contains(name) && told.contains(instead) && !told.contains("secret\""), "{said:?}");
            assert!(!told.contains("jtk_secret"), "{said:?}");
        }
        with_variables(&["version"], &[(name, "")]).await.with_code(0);
    }
}

#[tokio::test]
async fn e19_a_key_file_may_have_a_byte_order_mark_and_blanks() {
    let database = Database::create().await;
    let master_key = format!("\u{feff}  {}\r\n\r\n", master_key_text());
    let options = ServerOptions { master_key: Some(master_key), ..ServerOptions::default() };
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&database.url, directory.path(), &options).await;
    let shell = Shell::new();
    let key = shell.write("api.key", &format!("\u{feff}\n{} \n\n", api_key("service")));
    let key = key.display().to_string();
    let issue = [
        "issue",
        "--subject",
        "user:7",
        "--audience",
        "api",
        "--endpoint",
        &server.ready.public,
        "--api-key-file",
        &key,
    ];
    shell.run(&issue).await.data();
    drop(server);
    // Texts are sentences.
    let short = ServerOptions { master_key: Some("abc".to_owned()), ..ServerOptions::default() };
    let said = refused(&database, &short).await;
    assert!(said.contains("is not valid: a master key is 32 bytes"), "{said}");
}

#[tokio::test]
async fn e15_what_the_configuration_names_is_read_up_to_a_length() {
    let shell = Shell::new();
    for arguments in [["--config", "/dev/zero"], ["--master-key-file", "/dev/zero"]] {
        let given = ["--database-url", "postgres://x", "--issuer", "http://x", "--plaintext"];
        let said = shell.run(&[&["serve"], &arguments[..], &given].concat()).await;
        let error = said.with_code(1);
        assert!(error.contains("/dev/zero cannot be read") && error.contains("longer than 4 MiB"), "{error}");
    }
}

#[tokio::test]
async fn e15_a_server_keeps_its_memory_and_its_files_to_itself() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    let world = World::start().await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", world.server.ready.pid)).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().filter(|word| *word == "0").count(), 2, "{core}");
    assert!(!world.server.logged().contains("every user of this machine"), "the key is its own");

    // A link beside the ready file is not followed, and the ready file is still written.
    let directory = tempfile::tempdir().unwrap();
    let (precious, key) = (directory.path().join("precious"), directory.path().join("master.key"));
    std::fs::write(&precious, "precious").unwrap();
    symlink(&precious, directory.path().join("ready.json.new")).unwrap();
    // Others may read the key: it says so.
    std::fs::write(&key, master_key_text()).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let server = Server::start(&world.database.url, directory.path(), &ServerOptions::default()).await;
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "precious");
    assert!(server.logged().contains("every user of this machine can read the master key"));
}
