//! E16: places for connections. Who has not authenticated has few of them, and probes are always answered.

use std::{net::Ipv4Addr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};

use crate::world::{
    Http, Secure, ServerOptions, World, api_key, basic,
    frames::{DATA, END_STREAM, Frames, HEADERS, frame, headers},
    http_request, own_address, until,
};

const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 66, 0, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 66, 0, 2);

async fn connect(from: Ipv4Addr, address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(address.parse().unwrap()).await.unwrap()
}

/// Returns whether the server has closed it by now: nothing else ever comes on it.
fn is_closed(connection: &TcpStream) -> bool {
    let mut byte = [0];
    match connection.try_read(&mut byte) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

fn open_of(connections: &[TcpStream]) -> usize {
    connections.iter().filter(|connection| !is_closed(connection)).count()
}

/// A connection with a Watch on it, which is a request in flight.
async fn watching(from: Ipv4Addr, address: &str) -> Option<Frames> {
    let mut frames = Frames::over(connect(from, address).await).await;
    let watch =
        [headers(1, "/grpc.health.v1.Health/Watch", &[], 0), frame(DATA, END_STREAM, 1, &[0, 0, 0, 0, 0])];
    frames.write(&watch.concat()).await;
    loop {
        let came = frames.next().await?;
        if (came.kind, came.stream) == (HEADERS, 1) {
            return Some(frames);
        }
    }
}

fn options(arguments: &[&str]) -> ServerOptions {
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    ServerOptions { arguments, ..ServerOptions::default() }
}

/// A connection on which a client at this address has authenticated; none where there is no place for it.
async fn authenticated(from: Ipv4Addr, address: &str) -> Option<Http> {
    let mut connection = Http::open_from(from, address).await;
    let key = basic("service", &api_key("service"));
    let headers = [("authorization", key.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    connection.try_write(&http_request("POST", "/oauth2/introspect", &headers, "token=x")).await.ok()?;
    let answer = connection.try_read(false).await.ok()?;
    assert_eq!(answer.status, 200);
    Some(connection)
}

#[tokio::test]
async fn e16_an_address_has_few_places_before_it_authenticates_and_the_idle_ones_go_first() {
    let world = World::start_with(options(&["--connections-per-address", "10"])).await;
    let public = &world.server.ready.public;
    let mut idle = Vec::new();
    for _ in 0..40 {
        idle.push(connect(ATTACKER, public).await);
    }
    until("those beyond are closed", async || open_of(&idle) <= 10).await;
    // A client at that address is still served, because the idle connections make room.
    let known = authenticated(ATTACKER, public).await.expect("the idle ones make room");
    let mut other = watching(OTHER, public).await.expect("a place");
    let mut busy = Vec::new();
    for _ in 0..10 {
        busy.push(watching(ATTACKER, public).await.expect("the idle ones make room"));
    }
    until("all idle ones are closed", async || open_of(&idle) == 0).await;
    // If all have requests, the one that began longest ago is closed: of this address, and no other.
    let next = watching(ATTACKER, public).await.expect("the oldest makes room");
    let mut oldest = busy.remove(0);
    while oldest.next().await.is_some() {}
    assert!(!other.until_pong().await.is_empty());
    // Authenticated connections count no more.
    drop((busy, next));
    let mut known = vec![known];
    until("many have authenticated", async || {
        known.extend(authenticated(ATTACKER, public).await);
        known.len() > 20
    })
    .await;
    for connection in &mut known {
        connection.write(&http_request("GET", "/.well-known/jwks.json", &[], "")).await;
        assert_eq!(connection.read(false).await.status, 200, "it was let in and stays");
    }
}

#[tokio::test]
async fn e16_the_limit_of_an_address_does_not_hold_for_a_trusted_proxy() {
    let arguments = ["--connections-per-address", "10", "--trusted-proxy", "192.0.2.0/24,127.66.0.0/31"];
    let world = World::start_with(options(&arguments)).await;
    let mut held = Vec::new();
    for _ in 0..30 {
        held.push(watching(ATTACKER, &world.server.ready.public).await.expect("a place"));
    }
}

/// Watches that last, from few addresses, and again as soon as one has to go.
async fn keep_watching(from: Ipv4Addr, address: String) {
    loop {
        let Some(mut frames) = watching(from, &address).await else { continue };
        while frames.next().await.is_some() {}
    }
}

#[tokio::test]
async fn e16_calls_that_last_keep_no_place_from_probes_or_from_who_authenticates() {
    let world = World::start().await;
    let ready = world.server.ready.clone();
    let mut attack = JoinSet::new();
    // As many as there are places for strangers, from two addresses, and more.
    for (address, count) in [(&ready.public, 300), (&ready.admin, 300), (&ready.ops, 40)] {
        for place in 0..count {
            attack.spawn(keep_watching([ATTACKER, OTHER][place % 2], address.clone()));
        }
    }
    until("the places are taken", async || {
        let (_, text) = world.server.ops("/livez").await;
        assert_eq!(text, "ok\n");
        watching(ATTACKER, &ready.public).await.is_some()
    })
    .await;
    for _ in 0..50 {
        assert_eq!(world.server.ops("/livez").await.0, 200);
        assert_eq!(world.server.ops("/readyz").await.0, 200);
        let from = own_address();
        assert!(authenticated(from, &ready.public).await.is_some(), "a new client comes in");
        // The same for one that only reads public documents.
        let mut connection = Http::open_from(from, &ready.public).await;
        connection.write(&http_request("GET", "/.well-known/jwks.json", &[], "")).await;
        assert_eq!(connection.read(false).await.status, 200);
    }
}

#[tokio::test]
async fn e16_probes_are_answered_while_every_listener_is_filled_and_over_tls_too() {
    let arguments = ["--connections-per-address", "10"].map(str::to_owned).to_vec();
    let secure = Secure::start_with(|_, _| arguments).await;
    let ready = secure.world.server.ready.clone();
    let mut held = Vec::new();
    let mut service = secure.api("service");
    let token = service.token("user:7", "api").await.access_token;
    for place in 0..120_u16 {
        // Half of a handshake, half of a head, or nothing; from few addresses and from many.
        let from = Ipv4Addr::from_bits(ATTACKER.to_bits() + u32::from(place % 7) * 256);
        for address in [&ready.public, &ready.admin, &ready.ops] {
            let mut connection = connect(from, address).await;
            let begin: &[u8] = [&b"\x16\x03\x01\x02"[..], b"GET /livez HT", b""][usize::from(place % 3)];
            let _closed = connection.write_all(begin).await;
            held.push(connection);
        }
        if place % 20 == 0 {
            assert_eq!(secure.world.server.ops("/livez").await.0, 200);
            assert_eq!(secure.world.server.ops("/readyz").await.0, 200);
            assert_eq!(service.status(&token, "api").await, jeton::proto::v1::TokenStatus::Active);
        }
    }
    // One that was let in before, and one that comes now.
    assert_eq!(secure.dialer(None).get(secure.public(), "/.well-known/jwks.json").await.status, 200);
    let said = secure.world.server.logged().matches("a connection above the limit").count();
    assert!(said <= 30, "the log is not filled: {said}");
    drop(held);
    // Nothing of it stays.
    let mut connection = connect(OTHER, &ready.ops).await;
    connection.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    let read = connection.read_to_string(&mut answer);
    tokio::time::timeout(Duration::from_secs(20), read).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
