//! The load: calls that are encoded beforehand, over a few connections with many in flight, on a
//! thread of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use jeton::proto::v1 as pb;
use prost::Message;
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

use crate::{cpu, empty::Blob};

pub const CONNECTIONS: usize = 4;
pub const IN_FLIGHT: usize = 64;

/// Bodies of one method, sent in turn.
pub struct Calls {
    path: PathAndQuery,
    bodies: Arc<Vec<Vec<u8>>>,
}

impl Calls {
    pub fn validate(tokens: &[String]) -> Self {
        let body = |token: &String| {
            pb::ValidateRequest { token: token.clone(), audiences: vec!["api".into()], ..Default::default() }
                .encode_to_vec()
        };
        Self {
            path: PathAndQuery::from_static("/jeton.v1.TokenService/Validate"),
            bodies: Arc::new(tokens.iter().map(body).collect()),
        }
    }

    pub fn issue(count: usize) -> Self {
        let request = pb::IssueRequest {
            subject: "svc:bench".into(),
            audiences: vec!["api".into()],
            scopes: vec!["read".into(), "write".into()],
            ..Default::default()
        };
        Self {
            path: PathAndQuery::from_static("/jeton.v1.TokenService/Issue"),
            bodies: Arc::new(vec![request.encode_to_vec(); count]),
        }
    }

    pub fn revoke(jtis: &[String]) -> Self {
        let body = |jti: &String| {
            let kind = Some(pb::revocation_target::Kind::Jti(jti.clone()));
            let target = Some(pb::RevocationTarget { kind, ..Default::default() });
            pb::RevokeRequest { target, ..Default::default() }.encode_to_vec()
        };
        Self {
            path: PathAndQuery::from_static("/jeton.v1.TokenService/Revoke"),
            bodies: Arc::new(jtis.iter().map(body).collect()),
        }
    }
}

/// Connections to one server or several, driven by a runtime of their own.
pub struct Load {
    channels: Vec<Channel>,
    authorization: MetadataValue<Ascii>,
    runtime: tokio::runtime::Handle,
}

impl Load {
    /// The connections are dealt out to the addresses in turn.
    pub async fn connect(addresses: &[&str], api_key: &str) -> Self {
        let (send, receive) = tokio::sync::oneshot::channel();
        std::thread::Builder::new()
            .name("load".into())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                send.send(runtime.handle().clone()).unwrap();
                runtime.block_on(std::future::pending::<()>());
            })
            .unwrap();
        let runtime = receive.await.unwrap();
        let endpoint = |address| Endpoint::new(format!("http://{address}")).unwrap();
        let endpoints: Vec<_> = addresses.iter().map(endpoint).collect();
        let connect = async move {
            let mut channels = Vec::new();
            for endpoint in endpoints.iter().cycle().take(CONNECTIONS.next_multiple_of(endpoints.len())) {
                channels.push(endpoint.connect().await.unwrap());
            }
            channels
        };
        let channels = runtime.spawn(connect).await.unwrap();
        Self { channels, authorization: format!("Bearer {api_key}").parse().unwrap(), runtime }
    }

    /// Calls of the empty RPC, with request and answer as long as those of `calls`.
    pub async fn empty_like(&self, calls: &Calls) -> Calls {
        let request_bytes = calls.bodies[0].len();
        let answer_bytes = self.call(calls, 0).await.len();
        let blob = Blob {
            bytes: vec![7; request_bytes - 6],
            answer_bytes: u32::try_from(answer_bytes).unwrap() - 3,
        };
        let bodies = Arc::new(vec![blob.encode_to_vec()]);
        Calls { path: PathAndQuery::from_static("/bench.Empty/Call"), bodies }
    }

    /// Each body once; nothing is measured.
    pub async fn all(&self, calls: &Calls) {
        self.run(calls, calls.bodies.len(), None, |_| ()).await;
    }

    /// Seconds of the server's CPU per call, each body once.
    pub async fn once(&self, calls: &Calls) -> f64 {
        self.cpu_per_call(calls, calls.bodies.len(), None).await
    }

    /// Seconds of the server's CPU per call, for so long.
    pub async fn round(&self, calls: &Calls, duration: Duration) -> f64 {
        self.cpu_per_call(calls, usize::MAX, Some(duration)).await
    }

    /// What is answered to each body, in any order.
    pub async fn answers(&self, calls: &Calls) -> Vec<Vec<u8>> {
        self.run(calls, calls.bodies.len(), None, |answer| answer).await
    }

    /// Calls per second, each body once.
    pub async fn rate(&self, calls: &Calls) -> f64 {
        let started = Instant::now();
        let done = self.run(calls, calls.bodies.len(), None, |_| ()).await.len();
        done as f64 / started.elapsed().as_secs_f64()
    }

    /// Each body once, one after the other on one connection: what was answered, and after how long.
    pub async fn in_turn(&self, calls: &Calls) -> Vec<(Duration, Vec<u8>)> {
        let (path, bodies) = (calls.path.clone(), Arc::clone(&calls.bodies));
        let (mut grpc, authorization) = (Grpc::new(self.channels[0].clone()), self.authorization.clone());
        let calling = async move {
            let mut answers = Vec::new();
            for body in bodies.iter() {
                let sent = Instant::now();
                let answer = one(&mut grpc, path.clone(), body.clone(), &authorization).await.unwrap();
                answers.push((sent.elapsed(), answer));
            }
            answers
        };
        self.runtime.spawn(calling).await.unwrap()
    }

    async fn call(&self, calls: &Calls, index: usize) -> Vec<u8> {
        let bodies = Arc::new(vec![calls.bodies[index].clone()]);
        self.in_turn(&Calls { path: calls.path.clone(), bodies }).await.remove(0).1
    }

    async fn cpu_per_call(&self, calls: &Calls, most: usize, duration: Option<Duration>) -> f64 {
        let before = cpu::serving_ns();
        let done = self.run(calls, most, duration, |_| ()).await.len();
        (cpu::serving_ns() - before) as f64 / 1e9 / done as f64
    }

    /// What `keep` leaves of each answer.
    async fn run<T: Send + 'static>(
        &self,
        calls: &Calls,
        most: usize,
        duration: Option<Duration>,
        keep: fn(Vec<u8>) -> T,
    ) -> Vec<T> {
        let next = Arc::new(AtomicUsize::new(0));
        let deadline = duration.map(|duration| Instant::now() + duration);
        let mut workers = Vec::new();
        for worker in 0..CONNECTIONS * IN_FLIGHT {
            let mut grpc = Grpc::new(self.channels[worker % self.channels.len()].clone());
            let (next, bodies, path) = (Arc::clone(&next), Arc::clone(&calls.bodies), calls.path.clone());
            let authorization = self.authorization.clone();
            workers.push(self.runtime.spawn(async move {
                let mut kept = Vec::new();
                loop {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    if turn >= most || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                        return kept;
                    }
                    let body = bodies[turn % bodies.len()].clone();
                    kept.push(keep(one(&mut grpc, path.clone(), body, &authorization).await.unwrap()));
                }
            }));
        }
        let mut kept = Vec::new();
        for worker in workers {
            kept.extend(worker.await.unwrap());
        }
        kept
    }
}

async fn one(
    grpc: &mut Grpc<Channel>,
    path: PathAndQuery,
    body: Vec<u8>,
    authorization: &MetadataValue<Ascii>,
) -> Result<Vec<u8>, Status> {
    grpc.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let mut request = Request::new(body);
    request.metadata_mut().insert("authorization", authorization.clone());
    Ok(grpc.unary(request, path, Raw).await?.into_inner())
}

/// Bytes as they are.
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        use prost::bytes::BufMut;
        buffer.put_slice(&item);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        use prost::bytes::Buf;
        let mut bytes = vec![0; buffer.remaining()];
        buffer.copy_to_slice(&mut bytes);
        Ok(Some(bytes))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}
