//! Measures the guard beside an empty call of tonic to the same server in the same run, and the look-up of a token.
//! `clients/rust/bench/run` runs it beside a server of its own.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a bench prints, looks at the clock, and fails by panicking"
)]

use std::{
    convert::Infallible,
    fs,
    future::Future,
    hint::black_box,
    time::{Duration, Instant},
};

use http::{Request, Response, header, uri::PathAndQuery};
use http_body_util::Empty;
use jeton_client::{
    Client, Guard, GuardMode, TokenSource, WatchedBody,
    proto::{self as pb, token_service_client::TokenServiceClient},
};
use tonic::{
    client::Grpc,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;
use tower::{Layer as _, Service as _, service_fn};

const ROUNDS: usize = 31;
const ROUND_TIME: Duration = Duration::from_millis(150);
/// Under load.
const CALLERS: usize = 256;
const LOOKUPS: u32 = 5_000_000;
const AUDIENCE: &str = "orders";

type Body = Empty<bytes::Bytes>;

#[tokio::main]
async fn main() {
    let Some(path) = std::env::var_os("DEV_JSON") else {
        println!("It measures beside a server: make bench-clients ONLY=rust");
        return;
    };
    let text = fs::read_to_string(path).unwrap();
    let dev: serde_json::Value = serde_json::from_str(&text).unwrap();
    let url = format!("http://{}", dev["public"].as_str().unwrap());
    let key = dev["clients"]["dev-service"].as_str().unwrap();
    let client = Client::builder(&url).api_key(key).build().unwrap();
    let source = TokenSource::builder(&client).subject("svc:bench").audiences([AUDIENCE]).build().unwrap();
    let token = source.get().await.unwrap().reveal().to_owned();
    let channel = Endpoint::from_shared(url).unwrap().tcp_nodelay(true).connect().await.unwrap();
    let guard = |mode| Guard::builder(&client).audiences([AUDIENCE]).mode(mode).build();
    let (unary, stream) = (guard(GuardMode::Unary), guard(GuardMode::Stream));

    let stub = TokenServiceClient::new(channel.clone());
    let mut key: MetadataValue<Ascii> = format!("Bearer {key}").parse().unwrap();
    key.set_sensitive(true);
    let mut found = [const { Vec::new() }; 4];
    for round in 0..=ROUNDS {
        let order = if round % 2 == 0 { [0, 1, 2, 3] } else { [3, 2, 1, 0] };
        for which in order {
            let rate = match which {
                0 => rate(1, || empty(channel.clone())).await,
                1 => rate(1, || judged(&unary, &token)).await,
                2 => rate(1, || validate(stub.clone(), key.clone(), token.clone())).await,
                _ => rate(CALLERS, || judged(&stream, &token)).await,
            };
            // The first round warms up.
            if round > 0 {
                found[which].push(rate);
            }
        }
    }
    println!("empty call of tonic, one by one        {:9.0} /s", median(&found[0]));
    println!("Validate by a stub of tonic, the same    {:9.0} /s", median(&found[2]));
    show("Guard, one by one", &found[1], &found[0], 0.9);
    show(&format!("Guard, stream mode, {CALLERS} at a time"), &found[3], &found[0], 5.0);
    let begun = Instant::now();
    for _ in 0..LOOKUPS {
        black_box(source.get().await.unwrap());
    }
    let each = begun.elapsed().as_secs_f64() * 1e9 / f64::from(LOOKUPS);
    println!("TokenSource, look-up                   {each:9.1} ns    bar ≤ 100 ns");
    source.close().await;
}

/// Prints the medians of the rate, and of the ratio within each round.
fn show(name: &str, rates: &[f64], empty: &[f64], bar: f64) {
    let ratios: Vec<f64> = rates.iter().zip(empty).map(|(rate, empty)| rate / empty).collect();
    println!("{name:38} {:9.0} /s    {:.2} × the empty call, bar ≥ {bar}", median(rates), median(&ratios));
}

fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Calls per second, so many at once.
async fn rate<F: Future<Output = ()> + Send + 'static>(at_once: usize, call: impl Fn() -> F) -> f64 {
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    let mut count = 0_u32;
    for _ in 0..at_once {
        tasks.spawn(call());
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
        count = count.saturating_add(1);
        if begun.elapsed() < ROUND_TIME {
            tasks.spawn(call());
        }
    }
    f64::from(count) / begun.elapsed().as_secs_f64()
}

/// What Validate costs the server, and gRPC, without a library.
async fn validate(mut stub: TokenServiceClient<Channel>, key: MetadataValue<Ascii>, token: String) {
    let audiences = vec![AUDIENCE.to_owned()];
    let mut request = tonic::Request::new(pb::ValidateRequest { token, audiences, ..Default::default() });
    request.metadata_mut().insert("authorization", key);
    stub.validate(request).await.unwrap();
}

async fn empty(channel: Channel) {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    grpc.unary(tonic::Request::new(()), path, ProstCodec::<(), ()>::default()).await.unwrap();
}

/// One call through the layer of a guard, to a handler that does nothing.
fn judged(guard: &Guard, token: &str) -> impl Future<Output = ()> + Send + 'static {
    let handler =
        service_fn(async |_: Request<WatchedBody<Body>>| Ok::<_, Infallible>(Response::new(Body::new())));
    let mut service = guard.grpc_layer().layer(handler);
    let request = Request::post("http://bench/bench.v1.Bench/Nothing");
    let request = request.header(header::AUTHORIZATION, format!("Bearer {token}")).body(Body::new()).unwrap();
    async move {
        let answer = service.call(request).await.unwrap();
        assert!(!answer.headers().contains_key("grpc-status"), "it passes");
    }
}
