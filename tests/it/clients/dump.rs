//! A thief of the database gets nothing that could sign or authenticate.

use std::sync::Arc;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jeton::{
    mint::MasterKey,
    proto::v1::{self as pb, revocation_target::Kind},
    replica::Keys,
};
use jeton_state::clock::Clock;
use jeton_token::{Algorithm, ApiKey, SigningKey};
use sqlx::AssertSqlSafe;

use super::{client, create_with_key, get};
use crate::world::{Api, World, api_key, master_key_text};

/// Every row of every table, as text; bytes as hex.
async fn dump(world: &World) -> String {
    let mut connection = world.database.connect().await;
    let tables: Vec<String> = sqlx::query_scalar(
        "select format('%I.%I', schemaname, tablename) from pg_tables \
          where schemaname not in ('pg_catalog', 'information_schema')",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert!(tables.len() > 10, "{tables:?}");
    let mut text = String::new();
    for table in tables {
        let sql = format!("select coalesce(string_agg(t::text, ' '), '') from {table} t");
        let rows: String = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap();
        text.push_str(&rows);
    }
    text
}

/// The forms of bytes in a dump: unchanged, if they are text; hex; and base64 from any offset.
fn forms(bytes: &[u8]) -> Vec<String> {
    let lower = bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let mut forms = vec![lower.to_uppercase(), lower];
    forms.extend(std::str::from_utf8(bytes).ok().map(str::to_owned));
    for shift in 0..3 {
        let shifted = [&[0; 3][..shift], bytes].concat();
        for engine in [&STANDARD, &URL_SAFE_NO_PAD] {
            let text = engine.encode(&shifted);
            // Without the characters that also hold bits of the neighbours.
            forms.push(text.trim_end_matches('=')[4..text.trim_end_matches('=').len() - 2].to_owned());
        }
    }
    forms
}

/// The private scalar, or the seed, in PKCS#8.
fn private_half(key: &SigningKey) -> &[u8] {
    match key.algorithm() {
        Algorithm::Es256 => &key.pkcs8()[36..68],
        Algorithm::EdDsa => &key.pkcs8()[16..48],
    }
}

async fn rotate(admin: &mut Api, algorithm: &str) -> pb::RotateKeyResponse {
    let request =
        pb::RotateKeyRequest { algorithm: algorithm.to_owned(), emergency: true, ..Default::default() };
    admin.admin.rotate_key(request).await.unwrap().into_inner()
}

fn found<'a>(dump: &str, secrets: &'a [(String, Vec<u8>)]) -> Vec<&'a str> {
    let is_there = |bytes: &[u8]| forms(bytes).iter().any(|form| dump.contains(form));
    secrets.iter().filter(|(_, bytes)| is_there(bytes)).map(|(what, _)| what.as_str()).collect()
}

#[tokio::test]
async fn a_dump_of_the_database_holds_nothing_that_could_sign_or_authenticate() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let mut secrets: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |what: &str, bytes: &[u8]| secrets.push((what.to_owned(), bytes.to_vec()));

    let made = create_with_key(&mut admin, client("billing")).await;
    for (what, text) in [("a key that was made", made.clone()), ("the key of admin", api_key("admin"))] {
        add(what, text.as_bytes());
        let secret = &text[text.len() - 43..];
        add(&format!("the secret part of {what}"), secret.as_bytes());
        add(&format!("the secret bits of {what}"), &URL_SAFE_NO_PAD.decode(secret).unwrap());
    }
    // Sessions: one new, one that was refreshed, one that is revoked; and tokens, which are not stored.
    let mut api = world.api_with_key(&made).await;
    for count in 0..3 {
        let mut issued = api.session("user:7", "api").await;
        for _ in 0..count {
            let refresh = issued.refresh.clone().unwrap().refresh_token;
            issued = api.refresh(&refresh).await.unwrap();
        }
        let refresh = issued.refresh.unwrap().refresh_token;
        let bytes = URL_SAFE_NO_PAD.decode(refresh.strip_prefix("jtr_").unwrap()).unwrap();
        add("a refresh token", refresh.as_bytes());
        add("a session's secret", &bytes[25..41]);
        add("a refresh token's MAC", &bytes[41..]);
        add("an access token", issued.access_token.as_bytes());
        add("a signature", issued.access_token.rsplit('.').next().unwrap().as_bytes());
    }
    let master_text = master_key_text();
    let master = MasterKey::parse(&master_text).unwrap();
    add("the master key's text", master_text.trim().as_bytes());
    let bytes = URL_SAFE_NO_PAD.decode(master_text.trim()).unwrap();
    assert_eq!(bytes.len(), 32);
    add("the master key", &bytes);
    let keys = Keys::new(master, Arc::new(Clock::system()));
    // Keys that sign; then the same ones when they are retired, and their successors; then one that is revoked, and one
    // that came from elsewhere.
    for round in ["first", "second", "third"] {
        let signers = keys.all(&world.store()).await.unwrap().signers;
        for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
            let key = signers.signer(algorithm).unwrap();
            add(&format!("the {round} signing key"), key.pkcs8());
            add(&format!("the private half of the {round} signing key"), private_half(key));
            match round {
                "first" => drop(rotate(&mut admin, algorithm.as_str()).await),
                "second" => {
                    admin.revoke_wide(Kind::KeyId(key.key_id().to_owned())).await.unwrap();
                }
                _ => {}
            }
        }
        for mac in signers.macs() {
            add("a MAC key", mac.key.as_ref().unwrap().secret());
        }
    }
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
        let imported = SigningKey::generate(algorithm).unwrap();
        keys.import(&world.store(), &imported, algorithm == Algorithm::Es256).await.unwrap();
        add("a key that was imported", imported.pkcs8());
        add("the private half of a key that was imported", private_half(&imported));
    }

    let dump = dump(&world).await;
    assert_eq!(found(&dump, &secrets), [""; 0]);
    for prefix in ["jtk_", "jtr_"] {
        assert!(!dump.contains(prefix), "{prefix}");
    }
    // A word that begins as the header of a JWS does, or ends at a dot after such a beginning. Others are random, public and
    // many: some have those three letters in them.
    let is_of_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    assert_eq!(dump.split(|letter| !is_of_word(letter)).find(|word| word.starts_with("eyJ")), None);
    let mut before_dots = dump.split('.').filter_map(|text| text.rsplit(|letter| !is_of_word(letter)).next());
    assert_eq!(before_dots.find(|word| word.contains("eyJ")), None);
    // The search finds stored secrets in every form.
    let key = ApiKey::parse(&made).unwrap();
    let there =
        [("its hash".to_owned(), key.hash().to_vec()), ("its id".to_owned(), key.id().as_bytes().to_vec())];
    assert_eq!(found(&dump, &there), ["its hash", "its id"]);
    for form in forms(&key.hash()) {
        assert_eq!(found(&format!("x{form}x"), &there[..1]), ["its hash"]);
    }
    assert_eq!(get(&mut admin, "billing").await.unwrap().api_keys[0].api_key_id, key.id());
    // Nor does a log.
    assert_eq!(found(&world.server.logged(), &secrets), [""; 0]);
}
