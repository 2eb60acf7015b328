//! Acts of an administrator during faults: an acknowledged act is in effect on every replica at once, and stays.

use std::time::Duration;

use jeton::proto::v1::{self as pb, Permission};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::world::{Api, Caller, Ready, issue_request, policy, seconds, until};

/// Acknowledged acts that are not undone.
#[derive(Default)]
pub(super) struct Acts {
    /// Removed API keys.
    gone_keys: Vec<String>,
    /// Audiences for which nothing lives for two minutes.
    strict: Vec<String>,
    /// Audiences for which nothing did, until that was removed.
    free: Vec<String>,
}

/// Administers until `stop`, at any server that accepts it. Each acknowledged act is checked on every replica at once.
pub(super) async fn administer(
    callers: Vec<Caller>,
    ready: Vec<Ready>,
    round: usize,
    stop: CancellationToken,
) -> Acts {
    let mut acts = Acts::default();
    let somewhere = Somewhere { apis: callers.into_iter().map(|caller| caller.api).collect(), stop };
    for number in 0.. {
        let name = format!("m{round}-{number}");
        if somewhere.step(&name, number, &ready, &mut acts).await.is_none() {
            break;
        }
    }
    acts
}

/// Asks one replica after the other.
struct Somewhere {
    apis: Vec<Api>,
    stop: CancellationToken,
}

impl Somewhere {
    /// Until it is taken, or known to be done before. None: told to stop.
    async fn take<T, F: Future<Output = Result<T, Status>>>(
        &self,
        act: impl Fn(Api) -> F,
        done_before: Code,
    ) -> Option<Option<T>> {
        for place in (0..self.apis.len()).cycle() {
            if self.stop.is_cancelled() {
                return None;
            }
            match act(self.apis[place].clone()).await {
                Ok(taken) => return Some(Some(taken)),
                Err(status) if status.code() == done_before => return Some(None),
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
        None
    }

    async fn step(&self, name: &str, number: usize, ready: &[Ready], acts: &mut Acts) -> Option<()> {
        let client = pb::Client {
            client_id: name.to_owned(),
            permissions: vec![Permission::Validate.into()],
            audiences: vec!["*".to_owned()],
            ..Default::default()
        };
        let create = pb::CreateClientRequest { client: Some(client.clone()) };
        self.take(
            |mut api: Api| {
                let request = create.clone();
                async move { api.admin.create_client(request).await }
            },
            Code::AlreadyExists,
        )
        .await?;
        let create = pb::CreateApiKeyRequest { client_id: name.to_owned(), ttl: None };
        let key = self
            .take(
                |mut api: Api| {
                    let request = create.clone();
                    async move { api.admin.create_api_key(request).await }
                },
                Code::ResourceExhausted,
            )
            .await??
            .into_inner();
        let api_key_id = key.api_key.unwrap().api_key_id;
        let removed = match number % 3 {
            0 => {
                let request = pb::DeleteApiKeyRequest { client_id: name.to_owned(), api_key_id };
                let act = |mut api: Api| {
                    let request = request.clone();
                    async move { api.admin.delete_api_key(request).await.map(drop) }
                };
                self.take(act, Code::NotFound).await?
            }
            1 => {
                let disabled = pb::Client { disabled: true, ..client };
                let request = pb::UpdateClientRequest { client: Some(disabled), update_mask: None };
                let act = |mut api: Api| {
                    let request = request.clone();
                    async move { api.admin.update_client(request).await.map(drop) }
                };
                self.take(act, Code::NotFound).await?
            }
            _ => {
                let request = pb::DeleteClientRequest { client_id: name.to_owned(), etag: String::new() };
                let act = |mut api: Api| {
                    let request = request.clone();
                    async move { api.admin.delete_client(request).await.map(drop) }
                };
                self.take(act, Code::NotFound).await?
            }
        };
        // If an earlier attempt did it, its effect was not acknowledged.
        if removed.is_some() {
            for each in ready {
                let taken = Api::connect(each, &key.secret).validate("x", &["api"]).await;
                assert!(taken.is_err(), "{} takes a key that was removed", each.replica);
            }
            acts.gone_keys.push(key.secret);
        }
        let strict = pb::Policy { max_ttl: Some(seconds(60)), ..policy(name) };
        let act = |mut api: Api| {
            let request = strict.clone();
            async move { api.set_policy(request).await }
        };
        self.take(act, Code::AlreadyExists).await?;
        for each in ready {
            let admin = crate::world::api_key("admin");
            assert!(long_token(each, &admin, name).await.is_err(), "{} is above the maximum", each.replica);
        }
        if number.is_multiple_of(2) {
            acts.strict.push(name.to_owned());
            return Some(());
        }
        let request = pb::DeletePolicyRequest {
            audience: name.to_owned(),
            client_id: "*".to_owned(),
            ..Default::default()
        };
        let act = |mut api: Api| {
            let request = request.clone();
            async move { api.admin.delete_policy(request).await.map(drop) }
        };
        self.take(act, Code::NotFound).await?;
        acts.free.push(name.to_owned());
        Some(())
    }
}

/// A token for two minutes.
async fn long_token(ready: &Ready, key: &str, audience: &str) -> Result<pb::IssuedToken, Status> {
    let expiration = Some(pb::issue_request::Expiration::Ttl(seconds(120)));
    let request = pb::IssueRequest { expiration, ..issue_request("user:7", &[audience]) };
    Api::connect(ready, key).issue(request).await
}

impl Acts {
    pub(super) fn extend(&mut self, more: Self) {
        self.gone_keys.extend(more.gone_keys);
        self.strict.extend(more.strict);
        self.free.extend(more.free);
    }

    pub(super) fn count(&self) -> usize {
        self.gone_keys.len() + self.strict.len() + self.free.len()
    }

    /// All of it holds on every replica.
    pub(super) async fn hold(&self, ready: &[Ready], after: &str) {
        let admin = crate::world::api_key("admin");
        for each in ready {
            for key in &self.gone_keys {
                let mut api = Api::connect(each, key);
                until(&format!("a key stays removed on {} after {after}", each.replica), async || {
                    let refused = api.validate("x", &["api"]).await.expect_err("a key is back");
                    refused.code() == Code::Unauthenticated
                })
                .await;
            }
            for audience in &self.strict {
                until(&format!("{audience} stays strict on {} after {after}", each.replica), async || {
                    let refused = long_token(each, &admin, audience).await.expect_err("a policy is lost");
                    refused.code() == Code::InvalidArgument
                })
                .await;
            }
            for audience in &self.free {
                until(&format!("{audience} stays free on {} after {after}", each.replica), async || {
                    long_token(each, &admin, audience).await.is_ok()
                })
                .await;
            }
        }
    }
}
