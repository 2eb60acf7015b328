//! E19, E20: refusals and warnings of settings name the source of the value.

use super::start::{configured, one_sentence, with_variables};
use crate::world::{Secure, ServerOptions, World, api_key};

#[tokio::test]
async fn e20_private_keys_and_a_probe_key_that_everybody_can_read_are_warned_of() {
    use std::os::unix::fs::PermissionsExt as _;

    let secure = Secure::start_with(|files, _| {
        let open = |name: &str| {
            let mode = std::fs::Permissions::from_mode(0o644);
            std::fs::set_permissions(files.join(name), mode).unwrap();
        };
        std::fs::write(files.join("probe.key"), api_key("service")).unwrap();
        open("server.key");
        open("probe.key");
        let key = files.join("probe.key").display().to_string();
        ["--probe-every", "3600", "--probe-key-file", &key].map(str::to_owned).to_vec()
    })
    .await;
    let logged = secure.world.server.logged();
    for what in ["private key", "API key"] {
        let said = format!("every user of this machine can read the {what} ");
        assert_eq!(logged.matches(&said).count(), 1, "{what}: {logged}");
    }
}

#[tokio::test]
async fn e19_what_is_refused_after_it_was_read_is_named_by_where_it_came_from() {
    let base = ["serve", "--plaintext", "--master-key-file", "master.key"];
    let gone = ("JETON_DATABASE_URL", "postgres://x@127.0.0.1:1/x?sslmode=disable");
    let wrong = [
        ("issuer", "https://a/"),
        ("log", "loud"),
        ("replica_name", "a\u{202e}b"),
        ("drain_timeout", "2h"),
        ("rotate_keys_every", "1s"),
    ];
    for (key, value) in wrong {
        let (flag, variable) =
            (format!("--{}", key.replace('_', "-")), format!("JETON_{}", key.to_uppercase()));
        let issuer = ("JETON_ISSUER", "http://a");
        let with = |name, value| {
            if key == "issuer" { vec![gone, (name, value)] } else { vec![gone, issuer, (name, value)] }
        };
        let by_variable = with_variables(&base, &with(&variable, value)).await;
        let told = one_sentence(&by_variable);
        assert!(told.contains(&variable) && !told.contains(&flag), "{told}");

        let given = format!("{flag}={value}");
        let by_flag = with_variables(&[&base[..], &[&given]].concat(), &[gone, issuer]).await;
        let told = one_sentence(&by_flag);
        assert!(told.contains(&flag) && !told.contains("JETON_"), "{told}");

        let issuer = if key == "issuer" { "" } else { "issuer = 'http://a'\n" };
        let text = format!("plaintext = true\nmaster_key_file = 'master.key'\n{issuer}{key} = \"{value}\"\n");
        let shell = configured(&text);
        let url = format!("--database-url={}", gone.1);
        let told = one_sentence(&shell.run(&["serve", "--config", "jeton.toml", &url]).await);
        let line = text.lines().count();
        assert!(told.contains(&format!("{key} at line {line} of jeton.toml")), "{told}");
    }
    // Two that exclude each other, from two places.
    let said =
        with_variables(&base, &[gone, ("JETON_ISSUER", "http://a"), ("JETON_TLS_CERT", "x.pem")]).await;
    let told = one_sentence(&said);
    assert!(told.contains("--plaintext and JETON_TLS_CERT exclude each other"), "{told}");
}

#[tokio::test]
async fn e19_a_variable_that_nothing_reads_is_named() {
    let said =
        with_variables(&["version"], &[("JETON_ISUER", "http://a"), ("JETON_SERVICE_HOST", "10.0.0.1")])
            .await;
    assert_eq!(said.with_code(0), "warning: JETON_ISUER is not read: jeton has no variable of this name\n");
}

#[tokio::test]
async fn e19_a_filter_for_others_leaves_jetons_own_lines() {
    let options = ServerOptions { log: Some("sqlx=warn,hyper=debug".to_owned()), ..ServerOptions::default() };
    let world = World::start_with(options).await;
    assert!(world.server.logged().contains("\"message\":\"serving\""), "{}", world.server.logged());
}
