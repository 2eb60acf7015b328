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
    bodies: Vec<Vec<u8>>,
}

impl Calls {
    pub fn validate(tokens: &[String]) -> Self {
        let body = |token: &String| {
            pb::ValidateRequest { token: token.clone(), audiences: vec!["api".into()], ..Default::default() }
                .encode_to_vec()
        };
        Self {
            path: PathAndQuery::from_static("/jeton.v1.TokenService/Validate"),
            bodies: tokens.iter().map(body).collect(),
        }
    }

    pub fn issue() -> Self {
        let request = pb::IssueRequest {
            subject: "svc:bench".into(),
            audiences: vec!["api".into()],
            scopes: vec!["read".into(), "write".into()],
            ..Default::default()
        };
        Self {
            path: PathAndQuery::from_static("/jeton.v1.TokenService/Issue"),
            bodies: vec![request.encode_to_vec()],
        }
    }
}

/// Connections to the server, driven by a runtime of their own.
pub struct Load {
    channels: Vec<Channel>,
    authorization: MetadataValue<Ascii>,
    runtime: tokio::runtime::Handle,
}

impl Load {
    pub async fn connect(address: &str, api_key: &str) -> Self {
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
        let endpoint = Endpoint::new(format!("http://{address}")).unwrap();
        let connect = async move {
            let mut channels = Vec::new();
            for _ in 0..CONNECTIONS {
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
        Calls { path: PathAndQuery::from_static("/bench.Empty/Call"), bodies: vec![blob.encode_to_vec()] }
    }

    /// Each body once; nothing is measured.
    pub async fn all(&self, calls: &Calls) {
        self.run(calls, calls.bodies.len(), None).await;
    }

    /// Seconds of the server's CPU per call, each body once.
    pub async fn once(&self, calls: &Calls) -> f64 {
        self.run(calls, calls.bodies.len(), None).await
    }

    /// Seconds of the server's CPU per call, for so long.
    pub async fn round(&self, calls: &Calls, duration: Duration) -> f64 {
        self.run(calls, usize::MAX, Some(duration)).await
    }

    async fn call(&self, calls: &Calls, index: usize) -> Vec<u8> {
        let body = calls.bodies[index].clone();
        let (channel, path, authorization) =
            (self.channels[0].clone(), calls.path.clone(), self.authorization.clone());
        self.runtime
            .spawn(async move { one(&mut Grpc::new(channel), path, body, &authorization).await.unwrap() })
            .await
            .unwrap()
    }

    async fn run(&self, calls: &Calls, most: usize, duration: Option<Duration>) -> f64 {
        let next = Arc::new(AtomicUsize::new(0));
        let bodies = Arc::new(calls.bodies.clone());
        let deadline = duration.map(|duration| Instant::now() + duration);
        let before = cpu::serving_ns();
        let mut workers = Vec::new();
        for worker in 0..CONNECTIONS * IN_FLIGHT {
            let mut grpc = Grpc::new(self.channels[worker % CONNECTIONS].clone());
            let (next, bodies, path) = (Arc::clone(&next), Arc::clone(&bodies), calls.path.clone());
            let authorization = self.authorization.clone();
            workers.push(self.runtime.spawn(async move {
                loop {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    if turn >= most || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                        return;
                    }
                    let body = bodies[turn % bodies.len()].clone();
                    one(&mut grpc, path.clone(), body, &authorization).await.unwrap();
                }
            }));
        }
        let workers_count = workers.len();
        for worker in workers {
            worker.await.unwrap();
        }
        let done = next.load(Ordering::Relaxed) - workers_count;
        (cpu::serving_ns() - before) as f64 / 1e9 / done as f64
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
