//! Streams of tokens: a verdict per message, each from a snapshot of its own, the caller included.

use jeton::{
    proto::v1::{
        self as pb,
        TokenStatus::{Active, Malformed, Revoked},
        revocation_target::Kind,
    },
    state::Permission,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status, Streaming};

use super::support::change_client;
use crate::world::{Api, Refused, World, until, validate_request};

struct Stream {
    requests: mpsc::UnboundedSender<pb::StreamValidateRequest>,
    answers: Streaming<pb::StreamValidateResponse>,
}

impl Stream {
    async fn open(api: &Api) -> Self {
        let (requests, incoming) = mpsc::unbounded_channel();
        let mut tokens = api.tokens.clone();
        let answers =
            tokens.stream_validate(UnboundedReceiverStream::new(incoming)).await.unwrap().into_inner();
        Self { requests, answers }
    }

    fn send(&self, token: &str) {
        let request = Some(validate_request(token, &["api"]));
        self.requests.send(pb::StreamValidateRequest { request }).unwrap();
    }

    async fn next(&mut self) -> Result<pb::Verdict, Status> {
        Ok(self.answers.message().await?.expect("an answer").verdict.unwrap())
    }

    async fn ask(&mut self, token: &str) -> Result<pb::Verdict, Status> {
        self.send(token);
        self.next().await
    }

    /// After an error there is nothing more.
    async fn assert_ended(mut self) {
        let _gone = self.requests.send(pb::StreamValidateRequest { request: None });
        assert!(self.answers.message().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn v11_a_stream_answers_each_message_in_order() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let active = api.token("user:7", "api").await;
    let revoked = api.token("user:7", "api").await;
    admin.revoke(Kind::Token(revoked.access_token.clone())).await.unwrap();
    let kinds = [
        (active.access_token.as_str(), Active, active.jti.as_str()),
        (revoked.access_token.as_str(), Revoked, revoked.jti.as_str()),
        ("garbage", Malformed, ""),
    ];
    let place = |index: usize| (index * 7 + index / 3) % 3;
    let mut stream = Stream::open(&api).await;
    for index in 0..600 {
        stream.send(kinds[place(index)].0);
    }
    for index in 0..600 {
        let verdict = stream.next().await.unwrap();
        let (_, status, jti) = kinds[place(index)];
        assert_eq!((verdict.status(), verdict.jti.as_str()), (status, jti), "number {index}");
    }
    // Its end is ours: nothing is answered that was not asked.
    drop(stream.requests);
    assert!(stream.answers.message().await.unwrap().is_none());
}

#[tokio::test]
async fn v11_a_revocation_between_two_messages_is_seen_by_the_second() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let mut stream = Stream::open(&api).await;
    for _ in 0..20 {
        let token = api.token("user:7", "api").await.access_token;
        assert_eq!(stream.ask(&token).await.unwrap().status(), Active);
        admin.revoke(Kind::Token(token.clone())).await.unwrap();
        assert_eq!(stream.ask(&token).await.unwrap().status(), Revoked);
    }
}

#[tokio::test]
async fn v11_a_faulty_message_ends_the_stream_with_its_error() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let token = api.token("user:7", "api").await.access_token;
    let good = validate_request(&token, &["api"]);
    let faulty = |request| pb::StreamValidateRequest { request: Some(request) };
    for (message, reason, field) in [
        (pb::StreamValidateRequest { request: None }, "FIELD_REQUIRED", Some("request")),
        (
            faulty(pb::ValidateRequest { token: String::new(), ..good.clone() }),
            "FIELD_REQUIRED",
            Some("request.token"),
        ),
        (
            faulty(pb::ValidateRequest { audiences: Vec::new(), ..good.clone() }),
            "FIELD_REQUIRED",
            Some("request.audiences"),
        ),
        (
            faulty(pb::ValidateRequest { certificate_thumbprint: "x".to_owned(), ..good.clone() }),
            "FIELD_INVALID",
            Some("request.certificate_thumbprint"),
        ),
        (
            faulty(pb::ValidateRequest { min_revision: "x".to_owned(), ..good.clone() }),
            "REVISION_INVALID",
            None,
        ),
        (
            faulty(pb::ValidateRequest { min_revision: "8000.1".to_owned(), ..good.clone() }),
            "REVISION_INVALID",
            None,
        ),
    ] {
        let mut stream = Stream::open(&api).await;
        assert_eq!(stream.ask(&token).await.unwrap().status(), Active);
        stream.requests.send(message).unwrap();
        stream.send(&token);
        let refused = stream.next().await.refused();
        assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, reason));
        if let Some(field) = field {
            assert_eq!(refused.get("field"), field);
        }
        stream.assert_ended().await;
    }
    let narrow = world.api("narrow").await;
    let mut stream = Stream::open(&narrow).await;
    let request = Some(validate_request(&token, &["web"]));
    stream.requests.send(pb::StreamValidateRequest { request }).unwrap();
    assert_eq!(stream.next().await.refused().reason, "AUDIENCE_NOT_ALLOWED");
    stream.assert_ended().await;
    // A caller without a credential does not get a stream, nor one without the permission.
    let (_requests, incoming) = mpsc::unbounded_channel();
    let mut nobody = world.api_with_key("").await;
    let opened = nobody.tokens.stream_validate(UnboundedReceiverStream::new(incoming)).await;
    assert_eq!(opened.refused().code, Code::Unauthenticated);
    let (_requests, incoming) = mpsc::unbounded_channel();
    let mut reader = world.api("reader").await;
    let opened = reader.tokens.stream_validate(UnboundedReceiverStream::new(incoming)).await;
    assert_eq!(opened.refused().reason, "CALLER_FORBIDDEN");
}

#[tokio::test]
async fn v11_the_caller_of_a_stream_is_judged_at_each_message() {
    let world = World::start().await;
    let token = world.api("service").await.token("user:7", "api").await.access_token;
    for (client_id, statement, code, reason) in [
        ("disabled", "update client set disabled = true", Code::Unauthenticated, "CALLER_UNAUTHENTICATED"),
        ("keyless", "delete from api_key", Code::Unauthenticated, "CALLER_UNAUTHENTICATED"),
        (
            "outdated",
            "update api_key set expire_time = now() - interval '1 s'",
            Code::Unauthenticated,
            "CALLER_UNAUTHENTICATED",
        ),
    ] {
        let key = world.register(client_id, &[Permission::Validate], &["api"], &[]).await;
        let api = world.api_with_key(&key).await;
        let mut stream = Stream::open(&api).await;
        assert_eq!(stream.ask(&token).await.unwrap().status(), Active);
        let sql = format!("{statement} where client_id = '{client_id}'");
        change_client(&world.database, client_id, &sql).await;
        // Known to the replica when a call of its own is refused: then the open stream is, too.
        until("the change is known", async || api.clone().validate(&token, &["api"]).await.is_err()).await;
        let refused = stream.ask(&token).await.refused();
        assert_eq!((refused.code, refused.reason.as_str()), (code, reason), "{client_id}");
        stream.assert_ended().await;
    }
    let mut admin = world.api("admin").await;
    for (client_id, permissions, audience, reason) in
        [("demoted", vec![], "api", "CALLER_FORBIDDEN"), ("moved", vec![2], "web", "AUDIENCE_NOT_ALLOWED")]
    {
        let key = world.register(client_id, &[Permission::Validate], &["api"], &[]).await;
        let mut stream = Stream::open(&world.api_with_key(&key).await).await;
        assert_eq!(stream.ask(&token).await.unwrap().status(), Active);
        let client = pb::Client {
            client_id: client_id.to_owned(),
            permissions,
            audiences: vec![audience.to_owned()],
            ..Default::default()
        };
        let paths = ["permissions", "audiences"].map(str::to_owned).into();
        let request = pb::UpdateClientRequest {
            client: Some(client),
            update_mask: Some(prost_types::FieldMask { paths }),
        };
        admin.admin.update_client(request).await.unwrap();
        let refused = stream.ask(&token).await.refused();
        assert_eq!((refused.code, refused.reason.as_str()), (Code::PermissionDenied, reason), "{client_id}");
        stream.assert_ended().await;
    }
    let mut other = Stream::open(&world.api("service").await).await;
    assert_eq!(other.ask(&token).await.unwrap().status(), Active, "others are not touched");
}
