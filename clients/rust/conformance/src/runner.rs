//! Does what the driver says, with the objects that it has had made.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use jeton_client::{Client, Event, JetonError, TokenSource};
use serde_json::{Value, json};

use crate::{
    calls,
    command::{Command, seconds},
    failure::Failure,
    peer,
    served::Served,
};

type Told = Arc<Mutex<Vec<Event>>>;

#[derive(Default)]
pub(crate) struct Runner {
    objects: Mutex<Objects>,
    /// Tasks of the runner itself.
    own: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Objects {
    clients: HashMap<String, Client>,
    sources: HashMap<String, (TokenSource, Told)>,
    served: Vec<Served>,
}

/// A task of the runner itself, as long as it lasts.
pub(crate) struct Begun(Arc<AtomicUsize>);

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Runner {
    pub(crate) fn begin(&self) -> Begun {
        self.own.fetch_add(1, Ordering::Relaxed);
        Begun(Arc::clone(&self.own))
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn client(&self, command: &Command) -> Result<Client, Failure> {
        let found = self.objects().clients.get(&command.client).cloned();
        found.ok_or_else(|| Failure::Other(format!("there is no client {}", command.client)))
    }

    fn source(&self, command: &Command) -> Result<(TokenSource, Told), Failure> {
        let found = self.objects().sources.get(&command.source).cloned();
        found.ok_or_else(|| Failure::Other(format!("there is no source {}", command.source)))
    }

    pub(crate) async fn run(&self, command: &Command) -> Result<Value, Failure> {
        match command.verb.as_str() {
            "hello" => Ok(json!({ "language": "Rust", "version": env!("CARGO_PKG_VERSION") })),
            "client.new" => {
                let made = new_client(command)?;
                self.objects().clients.insert(command.client.clone(), made);
                Ok(json!({}))
            }
            "client.call" => {
                let client = self.client(command)?;
                let client = command.deadline().map_or(client.clone(), |deadline| client.within(deadline));
                calls::call(&client, &command.method, &command.request).await
            }
            "source.new" => {
                let made = new_source(&self.client(command)?, command)?;
                let told = self.listen(&made);
                self.objects().sources.insert(command.source.clone(), (made, told));
                Ok(json!({}))
            }
            "source.get" => {
                let (source, _) = self.source(command)?;
                let token = match command.deadline() {
                    Some(deadline) => source.get_within(deadline).await?,
                    None => source.get().await?,
                };
                Ok(json!({ "token": token.reveal(), "jti": token.jti() }))
            }
            "source.call" => {
                let (source, _) = self.source(command)?;
                peer::call(&source, command).await.map(Value::Object).map_err(Failure::Other)
            }
            "source.events" => {
                let (_, told) = self.source(command)?;
                let told = told.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(json!({ "events": told.iter().map(event).collect::<Vec<_>>() }))
            }
            "source.close" => {
                self.source(command)?.0.close().await;
                Ok(json!({}))
            }
            "guard.new" => {
                let served = Served::begin(&self.client(command)?, command).await.map_err(Failure::Other)?;
                let addresses = served.addresses.clone();
                self.objects().served.push(served);
                Ok(addresses)
            }
            "show" => self.show(command).await,
            "left" => Ok(json!({ "left": vec!["task"; self.left()] })),
            "close" => {
                self.close().await;
                Ok(json!({}))
            }
            _ => Err(Failure::Unsupported),
        }
    }

    /// Collects the events of a source.
    fn listen(&self, source: &TokenSource) -> Told {
        let (told, mut events, begun) = (Told::default(), source.events(), self.begin());
        let kept = Arc::clone(&told);
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(event);
            }
            drop(begun);
        });
        told
    }

    /// The tasks that are not the runner's own.
    fn left(&self) -> usize {
        let alive = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        alive.saturating_sub(self.own.load(Ordering::Relaxed))
    }

    /// Prints the objects in every way that there is.
    async fn show(&self, command: &Command) -> Result<Value, Failure> {
        let (client, (source, _)) = (self.client(command)?, self.source(command)?);
        let token = source.get().await?;
        let texts = [
            format!("{client:?}"),
            format!("{client:#?}"),
            format!("{source:?}"),
            format!("{source:#?}"),
            format!("{token:?}"),
            format!("{token:#?}"),
            format!("{:?} {}", token.secret(), token.secret()),
            format!("{:?}", Some((&client, &source, &token))),
            format!("{:?}", source.layer::<tonic::body::Body>()),
        ];
        tracing::info!(?client, ?source, ?token, secret = %token.secret(), "shown");
        Ok(json!({ "texts": texts }))
    }

    async fn close(&self) {
        let Objects { clients, sources, served } = std::mem::take(&mut *self.objects());
        for (source, _) in sources.values() {
            source.close().await;
        }
        for one in served {
            one.end().await;
        }
        for client in clients.values() {
            client.close();
        }
    }
}

fn new_client(command: &Command) -> Result<Client, JetonError> {
    let mut endpoints = command.endpoints.iter();
    let mut builder = Client::builder(endpoints.next().cloned().unwrap_or_default());
    for endpoint in endpoints {
        builder = builder.endpoint(endpoint);
    }
    for endpoint in &command.admin_endpoints {
        builder = builder.admin_endpoint(endpoint);
    }
    if let Some(key) = &command.api_key {
        builder = builder.api_key(key.as_str());
    }
    if let Some(path) = &command.api_key_file {
        builder = builder.api_key_file(path);
    }
    if let Some(path) = &command.ca_file {
        builder = builder.ca_file(path);
    }
    if let Some((certificate, key)) = command.cert_file.as_ref().zip(command.key_file.as_ref()) {
        builder = builder.certificate_files(certificate, key);
    }
    if command.allow_plaintext {
        builder = builder.allow_plaintext();
    }
    builder.build()
}

fn new_source(client: &Client, command: &Command) -> Result<TokenSource, JetonError> {
    let mut builder = TokenSource::builder(client)
        .subject(&command.subject)
        .audiences(&command.audiences)
        .scopes(&command.scopes);
    if let Some(ttl) = command.ttl_s {
        builder = builder.ttl(seconds(ttl));
    }
    if command.refreshable {
        builder = builder.refreshable();
    }
    if let Some(token) = &command.refresh_token {
        builder = builder.refresh_token(token.as_str());
    }
    if let Some(path) = &command.refresh_token_file {
        builder = builder.refresh_token_file(path);
    }
    builder.build()
}

fn event(event: &Event) -> Value {
    json!({
        "kind": event.kind.name(),
        "jti": event.jti,
        "session_id": event.session_id,
        "error": event.error.as_ref().map_or("", |error| error.kind().name()),
    })
}
