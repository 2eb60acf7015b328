//! `jeton key import` refuses keys that others may know, and keys that cannot be used, each in one sentence.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use jeton::proto::v1::{self as pb, key::State};
use jeton_token::{Algorithm, SigningKey};

use super::{in_state, kid_of, rotate};
use crate::world::{Said, Shell, World};

fn pem(der: &[u8]) -> String {
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der))
}

/// A PKCS#8 document of an Ed25519 seed, made by hand; `last` stands for what follows the identifier `1.3.101.`
fn edwards(last: u8, seed: [u8; 32]) -> Vec<u8> {
    [
        &[0x30, 0x2E, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, last, 0x04, 0x22, 0x04, 0x20],
        &seed[..],
    ]
    .concat()
}

/// A PKCS#8 document of a scalar on a curve, made by hand, without its public half.
fn elliptic(curve: &[u8], scalar: &[u8; 32]) -> Vec<u8> {
    let element = |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()], content].concat();
    let ec_public_key = element(0x06, &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01]);
    let algorithm = element(0x30, &[ec_public_key, element(0x06, curve)].concat());
    let private = element(0x30, &[element(0x02, &[1]), element(0x04, scalar)].concat());
    element(0x30, &[element(0x02, &[0]), algorithm, element(0x04, &private)].concat())
}

const P256: [u8; 8] = [0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];
const SECP256K1: [u8; 5] = [0x2B, 0x81, 0x04, 0x00, 0x0A];
/// RFC 7515 appendix A.3, `d`.
const RFC7515_A3: &str = "jpsQnnGQmL+YBIffH1136cspYG6+0iY7X1fCE9+E9LI=";
/// RFC 8037 appendix A.1, `d`.
const RFC8037_A1: &str = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";

fn published(text: &str) -> [u8; 32] {
    STANDARD.decode(text).unwrap().try_into().unwrap()
}

async fn import(world: &World, pem: &str, state: &str) -> Said {
    let shell = Shell::new();
    shell.write("key.pem", pem);
    let master_key = world.directory.path().join("master.key").display().to_string();
    let database = ["--database-url", &world.database.url, "--master-key-file", &master_key];
    shell.run(&[&["key", "import", "--file", "key.pem", "--state", state], &database[..]].concat()).await
}

fn number(low: u8) -> [u8; 32] {
    let mut scalar = [0; 32];
    scalar[31] = low;
    scalar
}

/// Refused keys, with the refusals.
fn refused() -> Vec<(String, &'static str)> {
    let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap().to_pkcs8v1().unwrap();
    let good = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap().to_pkcs8v1().unwrap();
    let mut public_changed = good.as_ref().to_vec();
    *public_changed.last_mut().unwrap() ^= 1;
    let mut foreign_public = Ed25519KeyPair::generate().unwrap().to_pkcs8().unwrap().as_ref().to_vec();
    *foreign_public.last_mut().unwrap() ^= 1;
    let random = STANDARD.encode(good.as_ref());
    vec![
        (pem(&elliptic(&P256, &number(1))), "no random number"),
        (pem(&elliptic(&P256, &number(200))), "no random number"),
        (pem(&elliptic(&P256, &[7; 32])), "no random number"),
        (pem(&elliptic(&P256, &number(0))), "damaged"),
        (pem(&edwards(0x70, number(0))), "no random number"),
        (pem(&edwards(0x70, number(1))), "no random number"),
        (pem(&edwards(0x70, std::array::from_fn(|index| index as u8))), "no random number"),
        (pem(&edwards(0x70, [0xAB; 32])), "no random number"),
        (pem(&elliptic(&P256, &published(RFC7515_A3))), "is published"),
        (pem(&edwards(0x70, published(RFC8037_A1))), "is published"),
        (pem(&edwards(0x6E, published(RFC8037_A1))), "a key for X25519"),
        (pem(&elliptic(&SECP256K1, &published(RFC7515_A3))), "a key for secp256k1"),
        (pem(p384.as_ref()), "a key for P-384"),
        (pem(&public_changed), "its public half is not"),
        (pem(&foreign_public), "its public half is not"),
        (pem(&good.as_ref()[..60]), "not an unencrypted PKCS#8"),
        (
            format!("-----BEGIN ENCRYPTED PRIVATE KEY-----\n{random}\n-----END ENCRYPTED PRIVATE KEY-----\n"),
            "encrypted",
        ),
    ]
}

#[tokio::test]
async fn c2_a_private_key_that_others_may_know_or_that_is_none_for_here_is_refused_in_one_sentence() {
    let world = World::start().await;
    for (text, what) in refused() {
        let said = import(&world, &text, "active").await;
        let error = said.with_code(1);
        assert!(error.contains(what) && error.lines().count() == 1, "{what}: {said:?}");
    }
    assert_eq!(world.number("select count(*) from signing_key").await, 2);
}

#[tokio::test]
async fn c1_an_import_waits_for_a_key_that_is_published_and_signs_on_every_replica_when_it_returns() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let pending = rotate(&mut admin, pb::RotateKeyRequest::default()).await.unwrap().key.unwrap();
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let said = import(&world, &pem(key.pkcs8()), "active").await;
    assert!(said.with_code(1).contains(&pending.key_id), "{said:?}");
    assert!(said.err.contains("jeton key rotate --emergency --algorithm ES256"), "what helps: {said:?}");
    assert_eq!(world.number("select count(*) from signing_key").await, 3, "nothing was written");
    super::emergency(&mut admin, "ES256").await;

    let imported = import(&world, &pem(key.pkcs8()), "active").await;
    assert!(imported.data().contains(key.key_id()), "{imported:?}");
    let token = admin.token("user:7", "api").await.access_token;
    assert_eq!(kid_of(&token), key.key_id(), "at once");
    assert_eq!(in_state(&mut admin, "ES256", State::Retired).await.len(), 2);
    let again = import(&world, &pem(key.pkcs8()), "retired").await;
    assert!(again.with_code(1).contains("already"), "a duplicate: {again:?}");
}
