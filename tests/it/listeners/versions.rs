//! TLS 1.2 and 1.3, and nothing older.

use rustls::{
    ProtocolVersion,
    version::{TLS12, TLS13},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::JWKS;
use crate::world::{Dialer, Secure, http_request, open};

/// Record types, and what an alert says (RFC 8446 section 6).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const FATAL: u8 = 2;
const PROTOCOL_VERSION: u8 = 70;

/// A `ClientHello` of this version at most, of which nothing else could be refused: cipher suites of then and one of
/// TLS 1.2, the server's name, groups, point formats and signature algorithms.
fn hello(version: u16) -> Vec<u8> {
    let suites: [u16; 7] = [0xc02b, 0xc013, 0xc014, 0xc009, 0xc00a, 0x002f, 0x0035];
    let name = b"jeton.test";
    let server_name = {
        let entry = [&[0][..], &(name.len() as u16).to_be_bytes(), name].concat();
        let list = [&(entry.len() as u16).to_be_bytes()[..], &entry].concat();
        [&0_u16.to_be_bytes()[..], &(list.len() as u16).to_be_bytes(), &list].concat()
    };
    let groups = [0x000a_u16, 4, 2, 0x0017].map(u16::to_be_bytes).concat();
    let points = [&0x000b_u16.to_be_bytes()[..], &2_u16.to_be_bytes(), &[1, 0]].concat();
    let signatures = [0x000d_u16, 6, 4, 0x0403, 0x0203].map(u16::to_be_bytes).concat();
    let extensions = [server_name, groups, points, signatures].concat();
    let body = [
        &version.to_be_bytes()[..],
        &[7; 32],
        &[0],
        &((suites.len() * 2) as u16).to_be_bytes(),
        &suites.map(u16::to_be_bytes).concat(),
        &[1, 0],
        &(extensions.len() as u16).to_be_bytes(),
        &extensions,
    ]
    .concat();
    let handshake = [&[1, 0][..], &(body.len() as u16).to_be_bytes(), &body].concat();
    // Records of a first hello say TLS 1.0 (RFC 8446 section 5.1), SSL 3.0 its own.
    let record = version.min(0x0301);
    [&[HANDSHAKE][..], &record.to_be_bytes(), &(handshake.len() as u16).to_be_bytes(), &handshake].concat()
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken() {
    let secure = Secure::start().await;
    for (offered, agreed) in [
        (&[&TLS12][..], ProtocolVersion::TLSv1_2),
        (&[&TLS13], ProtocolVersion::TLSv1_3),
        (&[&TLS12, &TLS13], ProtocolVersion::TLSv1_3),
    ] {
        let shows = secure.clients.client(super::BILLING);
        let dialer = Dialer::with_versions(&secure.servers, Some(&shows), &["http/1.1"], offered);
        for address in [secure.public(), &secure.world.server.ready.admin] {
            let stream = dialer.dial(address).await.unwrap();
            assert_eq!(stream.get_ref().1.protocol_version(), Some(agreed));
        }
        assert_eq!(dialer.get(secure.public(), JWKS).await.status, 200);
    }
}

#[tokio::test]
async fn what_is_older_than_tls_1_2_is_refused_with_an_alert() {
    let secure = Secure::start().await;
    for (name, version) in [("SSL 3.0", 0x0300), ("TLS 1.0", 0x0301), ("TLS 1.1", 0x0302)] {
        for address in [secure.public(), &secure.world.server.ready.admin] {
            let mut stream = open(address).await;
            stream.write_all(&hello(version)).await.unwrap();
            let mut answer = Vec::new();
            // The end may be a reset.
            let _end = stream.read_to_end(&mut answer).await;
            assert_eq!(answer.first(), Some(&ALERT), "{name}: {answer:?}");
            assert_eq!(answer[5..], [FATAL, PROTOCOL_VERSION], "{name}: {answer:?}");
        }
    }
    // The same hello with only a newer version in it is answered: so the version was refused.
    let mut stream = open(secure.public()).await;
    stream.write_all(&hello(0x0303)).await.unwrap();
    let mut begin = [0; 7];
    stream.read_exact(&mut begin).await.unwrap();
    assert_eq!(begin[0], HANDSHAKE, "{begin:?}");
    // A client that does not use TLS does not disturb those that do.
    let mut stream = open(secure.public()).await;
    stream.write_all(http_request("GET", JWKS, &[], "").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _end = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    assert_eq!(secure.dialer(None).get(secure.public(), JWKS).await.status, 200);
}
