//! A guarded `EchoService`, and a guarded page.

use std::{pin::Pin, time::Duration};

use axum::{Extension, Json, Router, routing::get};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use jeton_client::{Client, Guard, GuardMode, Verdict};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet, time::interval};
use tokio_stream::{
    Stream, StreamExt as _,
    wrappers::{IntervalStream, TcpListenerStream},
};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status,
    transport::{Certificate, Identity, Server, ServerTlsConfig},
};

use crate::{
    command::{Command, ServerFiles, seconds},
    echo::{
        EchoRequest, EchoResponse, WatchRequest, WatchResponse,
        echo_service_server::{EchoService, EchoServiceServer},
    },
};

struct Echo;

type Watching = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

#[tonic::async_trait]
impl EchoService for Echo {
    type WatchStream = Watching;

    async fn echo(&self, request: Request<EchoRequest>) -> Result<Response<EchoResponse>, Status> {
        let verdict = request.extensions().get::<Verdict>().cloned();
        let verdict = verdict.ok_or_else(|| Status::internal("There is no verdict."))?;
        Ok(Response::new(EchoResponse {
            text: request.into_inner().text,
            subject: verdict.subject,
            audiences: verdict.audiences,
            scopes: verdict.scopes,
            jti: verdict.jti,
            session_id: verdict.session_id,
            client_id: verdict.client_id,
            claims: Some(jeton_proto::json::object(&verdict.claims)),
        }))
    }

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Watching>, Status> {
        let mut number = 0_i64;
        let every = IntervalStream::new(interval(Duration::from_millis(50)));
        Ok(Response::new(Box::pin(every.map(move |_| {
            number = number.saturating_add(1);
            Ok(WatchResponse { number })
        }))))
    }
}

async fn page(Extension(verdict): Extension<Verdict>) -> Json<Value> {
    Json(json!({
        "subject": verdict.subject,
        "audiences": verdict.audiences,
        "scopes": verdict.scopes,
        "jti": verdict.jti,
        "session_id": verdict.session_id,
        "client_id": verdict.client_id,
        "claims": verdict.claims,
    }))
}

/// A guard, and its servers.
pub(crate) struct Served {
    guard: Guard,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    /// The addresses, for the driver.
    pub(crate) addresses: Value,
}

impl Served {
    pub(crate) async fn begin(client: &Client, command: &Command) -> Result<Self, String> {
        let mode = if command.mode == "stream" { GuardMode::Stream } else { GuardMode::Unary };
        let mut builder =
            Guard::builder(client).audiences(&command.audiences).scopes(&command.scopes).mode(mode);
        if let Some(deadline) = command.deadline() {
            builder = builder.deadline(deadline);
        }
        if let Some(recheck) = command.recheck_s {
            builder = builder.recheck(seconds(recheck));
        }
        if let Some(max_waiting) = command.max_waiting {
            builder = builder.max_waiting(max_waiting);
        }
        let (guard, stop) = (builder.build(), CancellationToken::new());
        let grpc = listen().await?;
        let http = listen().await?;
        let address =
            |listener: &TcpListener| listener.local_addr().map(|it| it.to_string()).unwrap_or_default();
        let addresses = json!({ "grpc": address(&grpc), "http": address(&http) });
        let mut server = Server::builder();
        if let Some(files) = &command.tls {
            server = server.tls_config(tls(files)?).map_err(|error| error.to_string())?;
        }
        let serving = server
            .layer(guard.grpc_layer())
            .add_service(EchoServiceServer::new(Echo))
            .serve_with_incoming_shutdown(TcpListenerStream::new(grpc), stop.clone().cancelled_owned());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { drop(serving.await) });
        let pages = Router::new().route("/echo", get(page)).layer(guard.http_layer());
        tasks.spawn(serve(http, pages));
        Ok(Self { guard, stop, tasks, addresses })
    }

    pub(crate) async fn end(mut self) {
        self.stop.cancel();
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        self.guard.close().await;
    }
}

async fn serve(listener: TcpListener, pages: Router) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let service = TowerToHyperService::new(pages.clone());
        let connection =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        connections.spawn(async move { drop(connection.await) });
        while connections.try_join_next().is_some() {}
    }
}

async fn listen() -> Result<TcpListener, String> {
    TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())
}

fn tls(files: &ServerFiles) -> Result<ServerTlsConfig, String> {
    let read = |path: &str| std::fs::read(path).map_err(|error| format!("{path}: {error}"));
    let identity = Identity::from_pem(read(&files.certificate)?, read(&files.key)?);
    let authority = Certificate::from_pem(read(&files.client_authority)?);
    Ok(ServerTlsConfig::new().identity(identity).client_ca_root(authority))
}
