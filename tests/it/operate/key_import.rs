//! `jeton key import`: a signing key from elsewhere.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair},
};
use jeton::{
    mint::MasterKey,
    proto::v1::{self as pb, revocation_target::Kind},
};
use jeton_token::{Algorithm, SigningKey};

use crate::world::{Said, Shell, World, foreign_key, pem, until};

fn shell(world: &World) -> Shell {
    let mut shell = Shell::new();
    let master_key = world.directory.path().join("master.key").display().to_string();
    shell.environment = vec![
        ("JETON_DATABASE_URL".to_owned(), world.database.url.clone()),
        ("JETON_MASTER_KEY_FILE".to_owned(), master_key),
    ];
    shell
}

async fn import(shell: &Shell, pem: &str, state: &str) -> Said {
    shell.write("key.pem", pem);
    shell.run(&["key", "import", "--file", "key.pem", "--state", state]).await
}

fn kid_of(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

/// The numbers of keys and audit rows.
async fn written(world: &World) -> (i64, i64) {
    let mut connection = world.database.connect().await;
    let mut count =
        async |sql: &'static str| sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
    (count("select count(*) from signing_key").await, count("select count(*) from audit_event").await)
}

#[tokio::test]
async fn an_active_import_signs_at_once_on_a_running_server_and_the_key_before_it_still_verifies() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let mut admin = world.api("admin").await;
    for (algorithm, audience) in [(Algorithm::Es256, "api"), (Algorithm::EdDsa, "edge")] {
        let name = algorithm.as_str().to_owned();
        admin.set_policy(pb::Policy { algorithm: name, ..crate::world::policy(audience) }).await.unwrap();
        let before = api.token("user:7", audience).await.access_token;
        let pem = foreign_key(algorithm);
        let kid = SigningKey::from_pem(&pem).unwrap().key_id().to_owned();
        assert_ne!(kid_of(&before), kid);

        let said = import(&shell(&world), &pem, "active").await;
        assert!(said.data().contains(&kid) && said.out.contains("signs"), "{said:?}");
        until("it signs", async || kid_of(&api.token("user:7", audience).await.access_token) == kid).await;
        let after = api.token("user:7", audience).await.access_token;
        assert_eq!(api.status(&after, audience).await, pb::TokenStatus::Active);
        assert_eq!(api.status(&before, audience).await, pb::TokenStatus::Active, "the key before it");
        let jwks =
            api.discovery.get_jwks(pb::GetJwksRequest::default()).await.unwrap().into_inner().jwks_json;
        assert!(jwks.contains(&kid) && jwks.contains(&kid_of(&before)), "both are published");

        let again = import(&shell(&world), &pem, "active").await;
        assert!(again.with_code(1).contains("already"), "{again:?}");
        // Revoking by the new key leaves tokens of the old one.
        admin.revoke_wide(Kind::KeyId(kid)).await.unwrap();
        assert_eq!(api.status(&after, audience).await, pb::TokenStatus::Revoked);
        assert_eq!(api.status(&before, audience).await, pb::TokenStatus::Active);
    }
    let request = pb::ListAuditEventsRequest { actor: "jeton key import".to_owned(), ..Default::default() };
    let events = admin.admin.list_audit_events(request).await.unwrap().into_inner().audit_events;
    let imported = events.iter().filter(|event| event.action == "ImportKey" && event.outcome == "OK");
    assert_eq!(imported.count(), 2, "audited: {events:?}");
}

#[tokio::test]
async fn a_retired_import_verifies_and_does_not_sign() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let pem = foreign_key(Algorithm::Es256);
    let mut forge = world.forge().await;
    let signing = kid_of(&api.token("user:7", "api").await.access_token);
    forge.key = SigningKey::from_pem(&pem).unwrap().into();
    let token = forge.sign(&forge.claims());
    assert_eq!(api.status(&token, "api").await, pb::TokenStatus::UnknownKey);

    let said = import(&shell(&world), &pem, "retired").await;
    assert!(said.data().contains("verifies"), "{said:?}");
    until("it verifies", async || api.status(&token, "api").await == pb::TokenStatus::Active).await;
    assert_eq!(kid_of(&api.token("user:7", "api").await.access_token), signing, "it does not sign");
}

#[tokio::test]
async fn a_key_that_cannot_sign_here_is_refused_and_nothing_is_written() {
    let world = World::start().await;
    let shell = shell(&world);
    let before = written(&world).await;
    let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap().to_pkcs8v1().unwrap();
    let rsa: Pkcs8V1Der<'static> = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap().as_der().unwrap();
    let good = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap().to_pkcs8v1().unwrap();
    let mut cut = good.as_ref().to_vec();
    cut.truncate(60);
    let sec1 = pem(good.as_ref()).replace("PRIVATE KEY", "EC PRIVATE KEY");
    for (what, text) in [
        ("P-384", pem(p384.as_ref())),
        ("RSA", pem(rsa.as_ref())),
        ("cut off", pem(&cut)),
        ("SEC1", sec1),
        ("no PEM", "nonsense".to_owned()),
        ("empty", String::new()),
    ] {
        for state in ["active", "retired"] {
            let said = import(&shell, &text, state).await;
            let error = said.with_code(1);
            assert!(error.starts_with("error: ") && error.lines().count() == 1, "{what}: {said:?}");
            assert!(error.contains("key.pem"), "{what}: {said:?}");
            let secret = text.lines().nth(1).unwrap_or("nothing at all");
            assert!(!error.contains(secret), "{what}: {said:?}");
        }
    }
    assert_eq!(written(&world).await, before);
}

#[tokio::test]
async fn another_master_key_is_refused_and_nothing_is_written() {
    let world = World::start().await;
    let mut shell = shell(&world);
    let other = shell.write("other.key", &MasterKey::generate().unwrap().to_text());
    shell.environment[1].1 = other.display().to_string();
    let before = written(&world).await;
    let said = import(&shell, &foreign_key(Algorithm::Es256), "active").await;
    assert!(said.with_code(1).contains("the master key does not open"), "{said:?}");
    assert_eq!(written(&world).await, before);
    let kid = kid_of(&world.api("service").await.token("user:7", "api").await.access_token);
    assert_eq!(world.forge().await.key.key_id(), kid, "the same key signs");
}

#[tokio::test]
async fn a_key_whose_id_begins_with_a_hyphen_is_revoked_by_the_command_line_like_any_other() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let shell = Shell::of(&world, "admin");
    // One in sixty-four.
    let (pem, kid) = std::iter::repeat_with(|| foreign_key(Algorithm::Es256))
        .map(|pem| (pem.clone(), SigningKey::from_pem(&pem).unwrap().key_id().to_owned()))
        .find(|(_, kid)| kid.starts_with('-'))
        .unwrap();
    import(&self::shell(&world), &pem, "active").await.data();
    until("it signs", async || kid_of(&api.token("user:7", "api").await.access_token) == kid).await;
    let token = api.token("user:7", "api").await.access_token;

    let without_value = shell.run(&["revoke", "--key", "--yes", "--reason", "leaked"]).await;
    assert!(without_value.with_code(2).contains("not a key id"), "{without_value:?}");
    assert_eq!(api.status(&token, "api").await, pb::TokenStatus::Active);
    let said = shell.run(&["revoke", "--key", &kid, "--reason", "leaked", "--yes"]).await;
    assert!(said.data().starts_with("revoked "), "{said:?}");
    assert_eq!(api.status(&token, "api").await, pb::TokenStatus::Revoked);
}
