//! The means of attacks, and of the clients that suffer from them.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use jeton::proto::v1::{self as pb, TokenStatus};
use prost::Message;
use prost_types::{Struct, Value, value::Kind};
use tokio::task::JoinSet;

use super::Attack;
use crate::world::{
    Api, Dialer, Secure, World, framed,
    frames::{DATA, END_STREAM, Frames, INITIAL_WINDOW_SIZE, frame, headers},
    issue_request, open, validate_request,
};

/// The calls that a server answers before it counts as idle, so that it has the memory that calls need.
const CALLS_AT_REST: usize = 500;

/// A server, reached with TLS or without.
pub struct Site {
    pub world: World,
    dialer: Option<Dialer>,
    _files: Option<tempfile::TempDir>,
    /// A client with few calls.
    modest: Api,
    /// A token that was judged before.
    pub token: String,
    /// A token of the greatest length.
    pub long_token: String,
}

impl Site {
    pub async fn plaintext() -> Self {
        let world = World::start().await;
        let modest = world.api("other").await;
        Self::with(world, modest, None, None).await
    }

    pub async fn with_tls() -> Self {
        let secure = Secure::start().await;
        let dialer = Dialer::new(&secure.servers, None, &["h2"]);
        let modest = secure.api("other");
        let Secure { world, files, .. } = secure;
        Self::with(world, modest, Some(dialer), Some(files)).await
    }

    async fn with(
        world: World,
        mut modest: Api,
        dialer: Option<Dialer>,
        files: Option<tempfile::TempDir>,
    ) -> Self {
        let token = modest.token("user:7", "api").await.access_token;
        let said = Value { kind: Some(Kind::StringValue("x".repeat(1_900))) };
        let claims = Some(Struct { fields: [("said".to_owned(), said)].into() });
        let request = pb::IssueRequest { claims, ..issue_request("user:8", &["api"]) };
        let long_token = modest.issued(request).await.access_token;
        for token in [&token, &long_token] {
            assert_eq!(modest.status(token, "api").await, TokenStatus::Active);
        }
        // An idle server has worked before.
        let requests = vec![validate_request(&long_token, &["api"]); 1_000];
        let batches = (0..3).map(|_| {
            let (mut tokens, requests) = (modest.tokens.clone(), requests.clone());
            async move { tokens.batch_validate(pb::BatchValidateRequest { requests }).await.unwrap() }
        });
        join_all(batches).await;
        Self { world, dialer, _files: files, modest, token, long_token }
    }

    async fn frames(&self, address: &str, settings: &[(u16, u32)]) -> Frames {
        match &self.dialer {
            None => Frames::with_settings(open(address).await, settings).await,
            Some(dialer) => loop {
                // If many come at once, some handshakes take longer than a server waits.
                if let Ok(wire) = dialer.dial(address).await {
                    return Frames::with_settings(wire, settings).await;
                }
            },
        }
    }

    /// A connection to the public listener.
    pub async fn public(&self) -> Frames {
        self.frames(&self.world.server.ready.public, &[]).await
    }

    /// A connection that takes so many bytes of each answer.
    pub async fn public_with(&self, window: u32) -> Frames {
        self.frames(&self.world.server.ready.public, &[(INITIAL_WINDOW_SIZE, window)]).await
    }

    pub async fn admin_with(&self, window: u32) -> Frames {
        self.frames(&self.world.server.ready.admin, &[(INITIAL_WINDOW_SIZE, window)]).await
    }

    /// A client with few calls, on connections of its own.
    pub fn modest(&self) -> Api {
        self.modest.clone()
    }

    async fn resident_while_others_are_answered(&self, modest: &mut Api) -> u64 {
        assert_eq!(modest.status(&self.token, "api").await, TokenStatus::Active);
        assert_eq!(self.world.server.ops("/livez").await.0, 200);
        self.world.server.resident()
    }

    /// The greatest memory of the server over its idle state during an attack, in bytes; other clients are answered all
    /// the while. Returns the attack's connections, too, to be kept open.
    pub async fn attacked(self: &Arc<Self>, attack: Attack) -> (u64, Vec<Frames>) {
        let mut modest = self.modest();
        let mut rest = 0;
        for _ in 0..CALLS_AT_REST {
            rest = rest.max(self.resident_while_others_are_answered(&mut modest).await);
        }
        let mut under_way = attack(self);
        let (mut most, mut held) = (rest, Vec::new());
        while !under_way.is_empty() {
            most = most.max(self.resident_while_others_are_answered(&mut modest).await);
            while let Some(done) = under_way.try_join_next() {
                held.push(done.unwrap());
            }
        }
        most = most.max(self.world.server.resident());
        (most.saturating_sub(rest), held)
    }
}

/// The times of calls that were made one after another until the end, in milliseconds.
pub async fn latencies(site: &Site, until: tokio::time::Instant) -> (Vec<f64>, f64) {
    let mut callers = JoinSet::new();
    for _ in 0..2 {
        let (mut modest, token) = (site.modest(), site.token.clone());
        callers.spawn(async move {
            let mut took = Vec::new();
            while tokio::time::Instant::now() < until {
                let begun = std::time::Instant::now();
                let request = validate_request(&token, &["api"]);
                // Refused or not: only the time matters.
                let _answer = modest.tokens.validate(request).await;
                took.push(begun.elapsed().as_secs_f64() * 1_000.0);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            took
        });
    }
    let mut longest_probe = 0.0_f64;
    while tokio::time::Instant::now() < until {
        let begun = std::time::Instant::now();
        assert_eq!(site.world.server.ops("/livez").await.0, 200);
        longest_probe = longest_probe.max(begun.elapsed().as_secs_f64() * 1_000.0);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (callers.join_all().await.into_iter().flatten().collect(), longest_probe)
}

/// The head of a call with this credential; without one for an empty key.
pub fn head_of(stream: u32, path: &str, key: &str) -> Vec<u8> {
    let bearer = format!("Bearer {key}");
    let shown = [("authorization", bearer.as_str())];
    headers(stream, path, if key.is_empty() { &[] } else { &shown }, 0)
}

/// A whole call.
pub fn call(stream: u32, path: &str, key: &str, message: &[u8]) -> Vec<u8> {
    let body = framed(0, message.len().try_into().unwrap(), message);
    let data: Vec<u8> = parts(&body).flat_map(|part| frame(DATA, 0, stream, part)).collect();
    [head_of(stream, path, key), data, frame(DATA, END_STREAM, stream, &[])].concat()
}

/// A Validate of this token.
pub fn message(token: &str) -> Vec<u8> {
    validate_request(token, &["api"]).encode_to_vec()
}

/// Parts of the length of frames.
pub fn parts(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.chunks(16_000)
}
