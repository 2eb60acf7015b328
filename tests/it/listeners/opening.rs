//! E5: a connection begins within five seconds, or is let go. Each takes as long as it takes: they wait side
//! by side. What sleeps here is a peer that is slow, not a test that waits.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{sleep, timeout},
};

use super::JWKS;
use crate::world::{
    Dialer, Http, Secure, Stopwatch, Wire, World,
    frames::{Frames, GOAWAY, PING, PREFACE, SETTINGS, frame},
    http_request, open,
};

/// The least time that a connection gets, of the five seconds.
const AT_LEAST: Duration = Duration::from_secs(4);
/// And at most.
const AT_MOST: Duration = Duration::from_secs(8);
/// If bytes of an unfinished request come one by one, nothing is in flight that could be lost.
const CUT_OFF_AT_MOST: Duration = Duration::from_secs(14);
/// One that is open after so long is not let go by this limit at all.
const STILL_OPEN: Duration = Duration::from_mins(1);
/// Between two bytes of a peer that is slow.
const SLOWLY: Duration = Duration::from_millis(100);

/// The time for which the server kept a connection.
#[derive(Debug)]
struct Kept {
    /// At least, by the clock.
    clock: Duration,
    /// At most: while the machine ran.
    ran: Duration,
}

impl Kept {
    /// Since the connection began to be opened.
    fn since(begin: &Stopwatch) -> Self {
        Self { clock: begin.begun().elapsed(), ran: begin.ran() }
    }

    fn hold_to(&self, name: &str, at_most: Duration) {
        assert!(self.clock >= AT_LEAST && self.ran < at_most, "{name}: {self:?}");
    }
}

/// Waits until the server has closed a connection.
async fn kept(begin: Stopwatch, wire: &mut (impl Wire + ?Sized)) -> Kept {
    let mut rest = Vec::new();
    let read = timeout(STILL_OPEN, wire.read_to_end(&mut rest)).await;
    assert!(read.is_ok(), "it is still open");
    Kept::since(&begin)
}

#[tokio::test]
async fn e5_a_connection_that_does_not_begin_is_closed_within_5_seconds() {
    let (world, secure) = tokio::join!(World::start(), Secure::start());
    let plain = &world.server.ready;
    let begun = async |address: &str, bytes: &[u8]| {
        let begin = Stopwatch::start();
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
    for (name, kept) in [
        ("nothing", nothing),
        ("nothing to the admin listener", of_admin),
        ("nothing to the ops listener", of_ops),
        ("half of what tells HTTP/2", half),
        ("no hello", no_hello),
        ("half a hello", half_a_hello),
    ] {
        kept.hold_to(name, AT_MOST);
    }
}

#[tokio::test]
async fn e5_a_connection_without_a_first_request_is_told_to_go_within_5_seconds_and_ends() {
    let (world, secure) = tokio::join!(World::start(), Secure::start());
    let public = &world.server.ready.public;
    let h2 = async || Dialer::new(&secure.servers, None, &["h2"]).dial(secure.public()).await.unwrap();

    let told = async |begin: Stopwatch, mut frames: Frames| {
        let mut told = None;
        while let Some(frame) = frames.next().await {
            if frame.kind == GOAWAY {
                assert_eq!(frame.error(), Some(0), "no fault of its own");
                told.get_or_insert(Kept::since(&begin));
            }
        }
        (told.expect("it is told"), Kept::since(&begin))
    };
    let half_a_preface = async |begin: Stopwatch, mut wire: Box<dyn Wire>| {
        wire.write_all(&PREFACE[..10]).await.unwrap();
        wire.flush().await.unwrap();
        kept(begin, &mut wire).await
    };
    let pinging = async {
        // Pings are no request.
        let begin = Stopwatch::start();
        let mut stream = open(public).await;
        stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
        while stream.write_all(&frame(PING, 0, 0, b"01234567")).await.is_ok()
            && begin.begun().elapsed() < STILL_OPEN
        {
            sleep(SLOWLY).await;
        }
        Kept::since(&begin)
    };
    let (plain, over_tls, half, half_over_tls, silent_over_tls, pinged) = tokio::join!(
        async { told(Stopwatch::start(), Frames::open(public).await).await },
        async { told(Stopwatch::start(), Frames::over(h2().await).await).await },
        async { half_a_preface(Stopwatch::start(), Box::new(open(public).await)).await },
        async { half_a_preface(Stopwatch::start(), Box::new(h2().await)).await },
        async { kept(Stopwatch::start(), &mut h2().await).await },
        pinging,
    );
    for (name, (told, ended)) in [("in plaintext", plain), ("over TLS", over_tls)] {
        told.hold_to(name, AT_MOST);
        ended.hold_to(name, AT_MOST);
    }
    for (name, kept) in [
        ("half a preface", half),
        ("half a preface over TLS", half_over_tls),
        ("nothing over TLS", silent_over_tls),
        ("pings alone", pinged),
    ] {
        kept.hold_to(name, CUT_OFF_AT_MOST);
    }
}

#[tokio::test]
async fn e5_a_head_that_comes_byte_by_byte_is_cut_off() {
    let (world, secure) = tokio::join!(World::start(), Secure::start());
    let slowly = async |begin: Stopwatch, mut connection: Http| {
        let endless = format!("GET {JWKS} HTTP/1.1\r\nhost: jeton.test\r\nx-filler: {}", "x".repeat(600));
        for byte in endless.chars() {
            if connection.try_write(&byte.to_string()).await.is_err() {
                break;
            }
            sleep(SLOWLY).await;
        }
        let answer = connection.rest().await;
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
        Kept::since(&begin)
    };
    let dialer = secure.dialer(None);
    let (plain, over_tls) = tokio::join!(
        async { slowly(Stopwatch::start(), Http::open(&world.server.ready.public).await).await },
        async { slowly(Stopwatch::start(), dialer.http(secure.public()).await).await },
    );
    for (name, kept) in [("in plaintext", plain), ("over TLS", over_tls)] {
        kept.hold_to(name, CUT_OFF_AT_MOST);
    }
    // A head that takes its time, within what there is, is answered. Where the machine makes it later than that, another
    // one is sent.
    let request = http_request("GET", JWKS, &[], "");
    let (first, rest) = request.split_at(20);
    loop {
        let begin = Stopwatch::start();
        let mut connection = Http::open(&world.server.ready.public).await;
        connection.write(first).await;
        sleep(Duration::from_secs(2)).await;
        let _closed = connection.try_write(rest).await;
        let answer = connection.try_read(false).await.map(|answer| answer.status);
        if begin.begun().elapsed() < AT_LEAST || answer.is_ok() {
            assert_eq!(answer.unwrap(), 200);
            return;
        }
    }
}
