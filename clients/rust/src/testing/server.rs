//! The double as a server of gRPC in memory.

use std::{
    future::{Future, Ready, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Request;
use tokio_stream::Stream;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{
    Response, Status, Streaming,
    body::Body,
    server::{Grpc, StreamingService, UnaryService},
};
use tonic_prost::ProstCodec;

use crate::{
    health::{HealthCheckRequest, HealthCheckResponse, SERVING},
    lane::{Answering, Double},
    proto as pb,
    testing::{Server, refusal},
};

impl Double for Server {
    fn serve(self: Arc<Self>, request: Request<Body>) -> Answering {
        Box::pin(async move {
            let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
            if let Err(status) = self.begin(&method) {
                return status.into_http();
            }
            let server = self;
            match method.as_str() {
                "Issue" => {
                    let call = Call(move |asked| {
                        let now = server.now();
                        server.lock().tokens.issue(&asked, now)
                    });
                    Grpc::new(ProstCodec::default()).unary(call, request).await
                }
                "Refresh" => {
                    let call = Call(move |asked| {
                        let now = server.now();
                        server.lock().tokens.refresh(&asked, now)
                    });
                    Grpc::new(ProstCodec::default()).unary(call, request).await
                }
                "Validate" => {
                    let call = Call(move |asked| {
                        let verdict = Some(server.judge(&asked));
                        Ok(pb::ValidateResponse { verdict })
                    });
                    Grpc::new(ProstCodec::default()).unary(call, request).await
                }
                "BatchValidate" => {
                    let call = Call(move |asked: pb::BatchValidateRequest| {
                        let verdicts = asked.requests.iter().map(|one| server.judge(one)).collect();
                        Ok(pb::BatchValidateResponse { verdicts })
                    });
                    Grpc::new(ProstCodec::default()).unary(call, request).await
                }
                "Revoke" => {
                    let call = Call(move |asked| {
                        let now = server.now();
                        Ok(server.lock().tokens.revoke(&asked, now))
                    });
                    Grpc::new(ProstCodec::default()).unary(call, request).await
                }
                "GetCaller" => {
                    let call = Call(|_: pb::GetCallerRequest| {
                        let client = pb::Client { client_id: "double".to_owned(), ..Default::default() };
                        Ok(pb::GetCallerResponse { client: Some(client), ..Default::default() })
                    });
                    Grpc::new(ProstCodec::default()).unary(call, request).await
                }
                "StreamValidate" => {
                    Grpc::new(ProstCodec::default()).streaming(Verdicts(server), request).await
                }
                "Check" => {
                    let call = Call(|_: HealthCheckRequest| Ok(HealthCheckResponse { status: SERVING }));
                    Grpc::new(ProstCodec::default()).unary(call, request).await
                }
                _ => {
                    let metadata = [("service", method.as_str()), ("listener", "double")];
                    let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
                    refusal(crate::Code::Unimplemented, "NOT_SERVED_HERE", metadata).into_http()
                }
            }
        })
    }
}

impl Server {
    fn judge(&self, request: &pb::ValidateRequest) -> pb::Verdict {
        let now = self.now();
        self.lock().tokens.judge(request, now)
    }
}

/// A unary method.
struct Call<F>(F);

impl<F, Q, A> UnaryService<Q> for Call<F>
where
    F: FnMut(Q) -> Result<A, Status>,
{
    type Response = A;
    type Future = Ready<Result<Response<A>, Status>>;

    fn call(&mut self, request: tonic::Request<Q>) -> Self::Future {
        ready(self.0(request.into_inner()).map(Response::new))
    }
}

/// `StreamValidate`.
struct Verdicts(Arc<Server>);

impl StreamingService<pb::StreamValidateRequest> for Verdicts {
    type Response = pb::StreamValidateResponse;
    type ResponseStream = Judging;
    type Future = Ready<Result<Response<Judging>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<pb::StreamValidateRequest>>) -> Self::Future {
        let server = Arc::clone(&self.0);
        let away = Box::pin(server.lock().away.clone().cancelled_owned());
        ready(Ok(Response::new(Judging { server, away, requests: request.into_inner() })))
    }
}

/// Judges each request of a stream at once, until the double goes away.
struct Judging {
    server: Arc<Server>,
    away: Pin<Box<WaitForCancellationFutureOwned>>,
    requests: Streaming<pb::StreamValidateRequest>,
}

impl Stream for Judging {
    type Item = Result<pb::StreamValidateResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.away.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(Status::unavailable("The double went away, as the test told it."))));
        }
        let polled = Pin::new(&mut self.requests).poll_next(cx);
        polled.map(|asked| {
            asked.map(|asked| {
                let verdict = Some(self.server.judge(&asked?.request.unwrap_or_default()));
                Ok(pb::StreamValidateResponse { verdict })
            })
        })
    }
}
