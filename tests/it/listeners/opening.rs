//! E5: a connection begins within five seconds, or is let go. Each takes as long as it takes: they wait side
//! by side. What sleeps here is a peer that is slow, not a test that waits.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{sleep, timeout},
};

use super::JWKS;
use crate::world::{
    Dialer, Http, Secure, Wire, World,
    frames::{Frames, GOAWAY, PING, PREFACE, SETTINGS, frame},
    http_request, open,
};

/// What the promise is, and what of it a connection gets at least.
const SECONDS: std::ops::Range<u64> = 4..8;
/// Where bytes come, one by one, that are no request yet: nothing is in flight that could be lost.
const CUT_OFF: std::ops::Range<u64> = 4..14;

/// How long the other end kept it, which began to be opened then.
async fn kept(begin: Instant, wire: &mut (impl Wire + ?Sized)) -> u64 {
    let mut rest = Vec::new();
    let read = timeout(Duration::from_secs(30), wire.read_to_end(&mut rest)).await;
    assert!(read.is_ok(), "it is still open");
    begin.elapsed().as_secs()
}

#[tokio::test]
async fn e5_a_connection_that_does_not_begin_is_closed_within_5_seconds() {
    let (world, secure) = tokio::join!(World::start(), Secure::start());
    let plain = &world.server.ready;
    let begun = async |address: &str, bytes: &[u8]| {
        let begin = Instant::now();
        let mut stream = open(address).await;
        stream.write_all(bytes).await.unwrap();
        kept(begin, &mut stream).await
    };
    // The head of a TLS record that does not come.
    let hello = [22, 3, 1, 2, 0, 1];
    let (nothing, of_admin, of_ops, half, no_hello, half_a_hello) = tokio::join!(
        begun(&plain.public, b""),
        begun(&plain.admin, b""),
        begun(&plain.ops, b""),
        begun(&plain.public, b"PR"),
        begun(secure.public(), b""),
        begun(secure.public(), &hello),
    );
    for (name, seconds) in [
        ("nothing", nothing),
        ("nothing to the admin listener", of_admin),
        ("nothing to the ops listener", of_ops),
        ("half of what tells HTTP/2", half),
        ("no hello", no_hello),
        ("half a hello", half_a_hello),
    ] {
        assert!(SECONDS.contains(&seconds), "{name}: {seconds} s");
    }
}

#[tokio::test]
async fn e5_a_connection_without_a_first_request_is_told_to_go_within_5_seconds_and_ends() {
    let (world, secure) = tokio::join!(World::start(), Secure::start());
    let public = &world.server.ready.public;
    let h2 = async || Dialer::new(&secure.servers, None, &["h2"]).dial(secure.public()).await.unwrap();

    let told = async |begin: Instant, mut frames: Frames| {
        let mut told = None;
        while let Some(frame) = frames.next().await {
            if frame.kind == GOAWAY {
                assert_eq!(frame.error(), Some(0), "no fault of its own");
                told.get_or_insert(begin.elapsed().as_secs());
            }
        }
        (told.expect("it is told"), begin.elapsed().as_secs())
    };
    let half_a_preface = async |begin: Instant, mut wire: Box<dyn Wire>| {
        wire.write_all(&PREFACE[..10]).await.unwrap();
        wire.flush().await.unwrap();
        kept(begin, &mut wire).await
    };
    let pinging = async {
        // What keeps a connection alive is no request.
        let begin = Instant::now();
        let mut stream = open(public).await;
        stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
        while stream.write_all(&frame(PING, 0, 0, b"01234567")).await.is_ok()
            && begin.elapsed().as_secs() < 30
        {
            sleep(Duration::from_millis(100)).await;
        }
        begin.elapsed().as_secs()
    };
    let (plain, over_tls, half, half_over_tls, silent_over_tls, pinged) = tokio::join!(
        async { told(Instant::now(), Frames::open(public).await).await },
        async { told(Instant::now(), Frames::over(h2().await).await).await },
        async { half_a_preface(Instant::now(), Box::new(open(public).await)).await },
        async { half_a_preface(Instant::now(), Box::new(h2().await)).await },
        async { kept(Instant::now(), &mut h2().await).await },
        pinging,
    );
    for (name, (told, ended)) in [("in plaintext", plain), ("over TLS", over_tls)] {
        assert!(
            SECONDS.contains(&told) && SECONDS.contains(&ended),
            "{name}: told {told} s, ended {ended} s"
        );
    }
    for (name, seconds) in [
        ("half a preface", half),
        ("half a preface over TLS", half_over_tls),
        ("nothing over TLS", silent_over_tls),
        ("pings alone", pinged),
    ] {
        assert!(CUT_OFF.contains(&seconds), "{name}: {seconds} s");
    }
}

#[tokio::test]
async fn e5_a_head_that_comes_byte_by_byte_is_cut_off() {
    let (world, secure) = tokio::join!(World::start(), Secure::start());
    let slowly = async |begin: Instant, mut connection: Http| {
        let endless = format!("GET {JWKS} HTTP/1.1\r\nhost: jeton.test\r\nx-filler: {}", "x".repeat(300));
        for byte in endless.chars() {
            if connection.try_write(&byte.to_string()).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        let answer = connection.rest().await;
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
        begin.elapsed().as_secs()
    };
    let dialer = secure.dialer(None);
    let (plain, over_tls) = tokio::join!(
        async { slowly(Instant::now(), Http::open(&world.server.ready.public).await).await },
        async { slowly(Instant::now(), dialer.http(secure.public()).await).await },
    );
    for seconds in [plain, over_tls] {
        assert!(CUT_OFF.contains(&seconds), "{seconds} s");
    }
    // A head that takes its time, within what there is, is answered.
    let mut connection = Http::open(&world.server.ready.public).await;
    let request = http_request("GET", JWKS, &[], "");
    let (first, rest) = request.split_at(20);
    connection.write(first).await;
    sleep(Duration::from_secs(2)).await;
    connection.write(rest).await;
    assert_eq!(connection.read(false).await.status, 200);
}
