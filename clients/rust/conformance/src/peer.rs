//! Calls to a peer, with a token source attached.

use jeton_client::TokenSource;
use serde_json::{Map, Value};
use tonic::{Request, transport::Endpoint};
use tower::ServiceBuilder;

use crate::{
    command::Command,
    describe::outcome,
    echo::{EchoRequest, WatchRequest, echo_service_client::EchoServiceClient},
};

pub(crate) async fn call(source: &TokenSource, command: &Command) -> Result<Map<String, Value>, String> {
    let endpoint = Endpoint::from_shared(command.target.clone()).map_err(|error| error.to_string())?;
    let layer = source.layer().streams(["/jeton.conformance.v1.EchoService/Watch"]);
    let channel = ServiceBuilder::new().layer(layer).service(endpoint.connect_lazy());
    let mut stub = EchoServiceClient::new(channel);
    if command.method == "Echo" {
        let answer = stub.echo(request(command, EchoRequest { text: "hello".to_owned() })).await;
        let mut told = outcome(&answer);
        if let Ok(answer) = answer {
            let answer = answer.into_inner();
            told.insert("subject".to_owned(), answer.subject.into());
            told.insert("jti".to_owned(), answer.jti.into());
        }
        return Ok(told);
    }
    let mut messages: u64 = 0;
    let watched = async {
        let mut stream = stub.watch(request(command, WatchRequest {})).await?.into_inner();
        while messages < command.messages && stream.message().await?.is_some() {
            messages = messages.saturating_add(1);
        }
        Ok::<_, tonic::Status>(())
    }
    .await;
    let mut told = outcome(&watched);
    told.insert("messages".to_owned(), messages.into());
    Ok(told)
}

fn request<T>(command: &Command, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(deadline) = command.deadline() {
        request.set_timeout(deadline);
    }
    request
}
