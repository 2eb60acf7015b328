//! Published vectors.

use serde_json::{Value, json};

use super::super::{HttpUri, Proof, ProofExpectation, PublicKey, Refused};
use super::{ED25519, P256, RSA, object};

/// RFC 7638 section 3.1.
const RFC7638_N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

/// RFC 9449 section 4.1, figure 2.
const RFC9449_TOKEN_REQUEST: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
/// RFC 9449 section 7.1, figure 13.
const RFC9449_RESOURCE_REQUEST: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
const RFC9449_ACCESS_TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
/// RFC 9449 section 6.1.
const RFC9449_JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

fn thumbprint(jwk: &Value) -> String {
    PublicKey::from_jwk(&object(jwk)).unwrap().thumbprint().to_owned()
}

#[test]
fn rfc_7638_section_3_1_has_this_thumbprint() {
    let published = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
    let bare = json!({"kty": "RSA", "n": RFC7638_N, "e": "AQAB"});
    assert_eq!(thumbprint(&bare), published);
    let named = json!({"kty": "RSA", "n": RFC7638_N, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"});
    assert_eq!(thumbprint(&named), published);
}

#[test]
fn rfc_8037_appendix_a_3_has_this_thumbprint() {
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    assert_eq!(thumbprint(&jwk), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

#[test]
fn jsonwebtoken_agrees_on_thumbprints() {
    for signer in [&RSA, &P256, &ED25519] {
        let jwk = signer.jwk(&json!({}));
        let theirs: jsonwebtoken::jwk::Jwk = serde_json::from_value(jwk.clone()).unwrap();
        let theirs = theirs.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).unwrap();
        assert_eq!(thumbprint(&jwk), theirs);
    }
}

#[test]
fn rfc_9449_section_4_1_verifies_for_its_request_alone() {
    let uri = HttpUri::parse("https://server.example.com/token").unwrap();
    let expectation = ProofExpectation {
        method: "POST",
        uri: &uri,
        now_ms: 1_562_262_616_000,
        access_token: None,
        nonces: None,
        age_max_ms: 60_000,
    };
    let proof = Proof::verify(RFC9449_TOKEN_REQUEST, &expectation).unwrap();
    assert_eq!(proof.key_thumbprint, RFC9449_JKT);
    assert_eq!(proof.token_id, "-BwC3ESc6acc2lTc");
    assert_eq!(proof.issue_time_ms, 1_562_262_616_000);
    assert_eq!(proof.nonce, None);
    let refused = Proof::verify(RFC9449_RESOURCE_REQUEST, &expectation);
    assert_eq!(refused, Err(Refused::WrongMethod));
}

#[test]
fn rfc_9449_section_7_1_verifies_with_its_access_token_alone() {
    let uri = HttpUri::parse("https://resource.example.org/protectedresource").unwrap();
    let expectation = ProofExpectation {
        method: "GET",
        uri: &uri,
        now_ms: 1_562_262_618_000,
        access_token: Some(RFC9449_ACCESS_TOKEN),
        nonces: None,
        age_max_ms: 60_000,
    };
    let proof = Proof::verify(RFC9449_RESOURCE_REQUEST, &expectation).unwrap();
    assert_eq!((proof.key_thumbprint.as_str(), proof.token_id.as_str()), (RFC9449_JKT, "e1j3V_bKic8-LAEB"));
    let other = ProofExpectation { access_token: Some("another"), ..expectation };
    assert_eq!(Proof::verify(RFC9449_RESOURCE_REQUEST, &other), Err(Refused::WrongAccessToken));
}
