//! `bench.Empty`: a unary RPC that does nothing, behind the same auth layer as jeton's own. The request
//! says how long the answer is to be.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{BoxFuture, http},
    server::{Grpc, NamedService, UnaryService},
};
use tonic_prost::ProstCodec;
use tower::Service;

/// As many bytes as are wanted, and how many are to come back.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Blob {
    #[prost(bytes = "vec", tag = "1")]
    pub bytes: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub answer_bytes: u32,
}

#[derive(Clone)]
pub struct Empty;

impl NamedService for Empty {
    const NAME: &'static str = "bench.Empty";
}

struct Answer;

impl UnaryService<Blob> for Answer {
    type Response = Blob;
    type Future = Ready<Result<Response<Blob>, Status>>;

    fn call(&mut self, request: Request<Blob>) -> Self::Future {
        let answer = vec![0; request.get_ref().answer_bytes as usize];
        ready(Ok(Response::new(Blob { bytes: answer, answer_bytes: 0 })))
    }
}

impl Service<http::Request<Body>> for Empty {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<http::Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<Blob, Blob>::default());
            Ok(grpc.unary(Answer, request).await)
        })
    }
}
