//! `BulkRevoke`: lists of any length, in chunks that are committed as units.

use jeton::proto::v1::{
    self as pb, BulkRevokeRequest, BulkRevokeResponse, RevocationReason, TokenStatus, revocation_target::Kind,
};
use jeton_token::new_uuid_v7;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status, Streaming};

use super::{is_active, refresh_token, text};
use crate::world::{Api, Patience, Refused, ServerOptions, Shell, World};

/// An open call.
struct Bulk {
    requests: Option<mpsc::UnboundedSender<BulkRevokeRequest>>,
    answers: Streaming<BulkRevokeResponse>,
}

fn opening(id: &str) -> BulkRevokeRequest {
    BulkRevokeRequest {
        bulk_id: id.to_owned(),
        reason: RevocationReason::Leaked.into(),
        note: "INC-1".to_owned(),
        ..Default::default()
    }
}

fn chunk(number: i64, kinds: impl IntoIterator<Item = Kind>) -> BulkRevokeRequest {
    let target = |kind| pb::RevocationTarget { kind: Some(kind), ..Default::default() };
    BulkRevokeRequest {
        chunk_number: number,
        targets: kinds.into_iter().map(target).collect(),
        ..Default::default()
    }
}

fn new_id() -> String {
    new_uuid_v7(jiff::Timestamp::now().as_millisecond()).to_string()
}

impl Bulk {
    /// Opens it, and returns the first answer.
    async fn open(api: &Api, opening: BulkRevokeRequest) -> Result<(Self, BulkRevokeResponse), Status> {
        let (requests, incoming) = mpsc::unbounded_channel();
        requests.send(opening).unwrap();
        let opened = api.admin.clone().bulk_revoke(UnboundedReceiverStream::new(incoming)).await?;
        let mut bulk = Self { requests: Some(requests), answers: opened.into_inner() };
        let answer = bulk.answer().await?;
        Ok((bulk, answer))
    }

    async fn answer(&mut self) -> Result<BulkRevokeResponse, Status> {
        self.answers.message().await?.ok_or_else(|| Status::unavailable("the call has ended"))
    }

    async fn send(&mut self, chunk: BulkRevokeRequest) -> Result<BulkRevokeResponse, Status> {
        // A call that was refused takes nothing.
        let _gone = self.requests.as_ref().unwrap().send(chunk);
        self.answer().await
    }

    /// Ends the list, and waits until all is in force.
    async fn close(mut self) -> Result<BulkRevokeResponse, Status> {
        self.requests = None;
        let last = self.answer().await?;
        assert!(self.answers.message().await?.is_none(), "nothing follows");
        Ok(last)
    }
}

fn counts(answer: &BulkRevokeResponse) -> Vec<(&str, i64)> {
    let mut counts: Vec<_> =
        answer.outcome_counts.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    counts.sort_unstable();
    counts
}

async fn audit_rows(api: &Api, request: pb::ListAuditEventsRequest) -> Vec<pb::AuditEvent> {
    api.admin.clone().list_audit_events(request).await.unwrap().into_inner().audit_events
}

#[tokio::test]
async fn k8_a_list_is_revoked_in_chunks_each_with_one_audit_row_that_is_found_by_jti_and_session() {
    let world = World::start().await;
    let (mut service, admin) = (world.api("service").await, world.api("admin").await);
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(service.token("user:7", "api").await);
    }
    let session = service.session("user:8", "api").await;
    let other = service.session("user:9", "api").await;
    let beside = service.session("user:8", "api").await;
    let (mut bulk, opened) = Bulk::open(&admin, opening(&new_id())).await.unwrap();
    assert_eq!((opened.committed_chunk_number, opened.outcome_counts.len()), (0, 0));
    let unknown = new_id();
    let first = bulk
        .send(chunk(
            1,
            [
                text(&tokens[0]),
                Kind::Jti(tokens[1].jti.clone()),
                Kind::Id(tokens[2].jti.clone()),
                Kind::Id(tokens[2].jti.clone()),
                Kind::Jti(unknown),
                Kind::Token("eyJhbGciOiJFUzI1NiJ9.e30.AAAA".to_owned()),
            ],
        ))
        .await
        .unwrap();
    assert_eq!(counts(&first), [("ALREADY_REVOKED", 1), ("FOREIGN", 1), ("REVOKED", 4)]);
    assert_eq!(first.kind_counts, [("token".to_owned(), 5)].into());
    let second = bulk
        .send(chunk(2, [Kind::Id(session.session_id.clone()), Kind::Token(refresh_token(&other).to_owned())]))
        .await
        .unwrap();
    assert_eq!(second.committed_chunk_number, 2);
    assert_eq!(counts(&second), [("ALREADY_REVOKED", 1), ("FOREIGN", 1), ("REVOKED", 6)]);
    assert_eq!(second.kind_counts, [("session".to_owned(), 2), ("token".to_owned(), 5)].into());
    let last = bulk.close().await.unwrap();
    let propagation = last.propagation.unwrap();
    assert!(propagation.complete && propagation.applied_replicas == 1, "{propagation:?}");
    for token in tokens.iter().chain([&session, &other]) {
        assert_eq!(service.status(&token.access_token, "api").await, TokenStatus::Revoked);
    }
    assert!(is_active(&mut service, &beside.access_token).await, "another session of the subject");

    let all =
        audit_rows(&admin, pb::ListAuditEventsRequest { action: "BulkRevoke".into(), ..Default::default() });
    let all = all.await;
    assert_eq!(all.len(), 2, "{all:?}");
    let by_jti = pb::ListAuditEventsRequest { jti: tokens[1].jti.clone(), ..Default::default() };
    let by_session =
        pb::ListAuditEventsRequest { session_id: session.session_id.clone(), ..Default::default() };
    for (request, chunk) in [(by_jti, "chunk 1: "), (by_session, "chunk 2: ")] {
        let found = audit_rows(&admin, request).await;
        let [row] = &found[..] else { panic!("one row: {found:?}") };
        assert!(row.action == "BulkRevoke" && row.note.starts_with("INC-1 (bulk "), "{row:?}");
        assert!(row.note.contains(chunk) && row.actor == "admin", "{row:?}");
        assert_eq!(row.reason(), RevocationReason::Leaked);
    }
}

/// Opens the list as often as it must be, sends what is not committed, and closes it, as a client does.
async fn finish(api: &Api, id: &str, chunks: &[BulkRevokeRequest]) -> BulkRevokeResponse {
    let patience = Patience::begin();
    loop {
        match try_finish(api, id, chunks).await {
            Err(status) if patience.bears_if(status.code() == Code::Unavailable).await => {}
            done => return done.unwrap(),
        }
    }
}

async fn try_finish(api: &Api, id: &str, chunks: &[BulkRevokeRequest]) -> Result<BulkRevokeResponse, Status> {
    let (mut bulk, mut answer) = Bulk::open(api, opening(id)).await?;
    for chunk in chunks {
        if chunk.chunk_number > answer.committed_chunk_number {
            answer = bulk.send(chunk.clone()).await?;
        }
    }
    bulk.close().await
}

fn of_ids(numbers: std::ops::RangeInclusive<i64>) -> Vec<BulkRevokeRequest> {
    numbers.map(|number| chunk(number, (0..500).map(|_| Kind::Jti(new_id())))).collect()
}

#[tokio::test]
async fn k8_a_list_that_is_sent_again_goes_on_after_what_is_committed_and_does_nothing_twice() {
    let mut world = World::start().await;
    let admin = world.api("admin").await;
    let id = new_id();
    let chunks = of_ids(1..=3);
    let (mut bulk, _) = Bulk::open(&admin, opening(&id)).await.unwrap();
    bulk.send(chunks[0].clone()).await.unwrap();
    let second = bulk.send(chunks[1].clone()).await.unwrap();
    // A chunk that is committed is answered, and not done again.
    let again = bulk.send(chunks[0].clone()).await.unwrap();
    assert_eq!((counts(&again), &again.revision), (counts(&second), &second.revision));
    assert_eq!(world.number(super::REVOCATIONS).await, 1000);
    // The server is killed in the middle of the list.
    world.crash_and_restart().await;
    assert!(bulk.send(chunks[2].clone()).await.is_err());
    let last = finish(&world.api("admin").await, &id, &chunks).await;
    assert_eq!(counts(&last), [("REVOKED", 1500)]);
    assert!(last.propagation.unwrap().complete);
    assert_eq!(world.number(super::REVOCATIONS).await, 1500);
    assert_eq!(world.number("select count(*) from audit_event where action = 'BulkRevoke'").await, 3);
    // All of it once more: another call of the same list.
    let again = finish(&world.api("admin").await, &id, &chunks).await;
    assert_eq!(counts(&again), [("REVOKED", 1500)]);
    assert!(again.propagation.unwrap().complete);
    assert_eq!(world.number(super::REVOCATIONS).await, 1500);
}

#[tokio::test]
async fn k8_a_list_goes_on_when_another_epoch_has_begun() {
    let world = World::start().await;
    let admin = world.api("admin").await;
    let id = new_id();
    let chunks = of_ids(1..=2);
    let (mut bulk, _) = Bulk::open(&admin, opening(&id)).await.unwrap();
    bulk.send(chunks[0].clone()).await.unwrap();
    let bump = ["epoch", "bump", "--keep-keys", "--database-url", &world.database.url];
    Shell::new().run(&bump).await.data();
    // Whatever was committed in the epoch before may be lost: the call says so, and the list is opened again.
    let refused = bulk.send(chunks[1].clone()).await.refused();
    assert_eq!(refused.reason, "STORE_UNAVAILABLE");
    let last = finish(&admin, &id, &chunks).await;
    assert_eq!(counts(&last), [("REVOKED", 1000)]);
    assert!(last.revision.starts_with("2.") && last.propagation.unwrap().complete);
    assert_eq!(world.number("select count(distinct id) from revocation").await, 1000);
}

#[tokio::test]
async fn k8_what_does_not_fit_is_refused_and_what_was_committed_stands() {
    let world = World::start().await;
    let admin = world.api("admin").await;
    let mut service = world.api("service").await;
    let token = service.token("user:7", "api").await;
    // A target that is refused is named; the others of its chunk are revoked.
    let id = new_id();
    let (mut bulk, _) = Bulk::open(&admin, opening(&id)).await.unwrap();
    let kinds = [
        Kind::Jti("no-uuid".to_owned()),
        Kind::Subject("user:7".to_owned()),
        Kind::SessionId(new_id()),
        text(&token),
    ];
    let answer = bulk.send(chunk(1, kinds)).await.unwrap();
    let failures: Vec<_> =
        answer.failures.iter().map(|it| (it.target_index, it.reason().as_str_name())).collect();
    assert_eq!(
        failures,
        [(0, "ERROR_REASON_FIELD_INVALID"), (1, "ERROR_REASON_FIELD_INVALID"), (2, "ERROR_REASON_NOT_FOUND")]
    );
    assert_eq!(counts(&answer), [("FAILED", 3), ("REVOKED", 1)]);
    // Other targets under a committed number, and a number that is not the next.
    let refused = bulk.send(chunk(1, [Kind::Jti(new_id())])).await.refused();
    assert_eq!((refused.code, refused.get("field")), (Code::InvalidArgument, "targets"));
    let (mut bulk, _) = Bulk::open(&admin, opening(&id)).await.unwrap();
    let refused = bulk.send(chunk(3, [Kind::Jti(new_id())])).await.refused();
    assert_eq!(refused.get("field"), "chunk_number");
    // Nothing, and too much.
    let (mut bulk, _) = Bulk::open(&admin, opening(&id)).await.unwrap();
    assert_eq!(bulk.send(chunk(2, [])).await.refused().reason, "FIELD_REQUIRED");
    let (mut bulk, _) = Bulk::open(&admin, opening(&id)).await.unwrap();
    let many = chunk(2, (0..10_001).map(|_| Kind::Jti(new_id())));
    assert_eq!(bulk.send(many).await.refused().reason, "BATCH_TOO_LARGE");
    let (mut bulk, _) = Bulk::open(&admin, opening(&id)).await.unwrap();
    let long = chunk(2, (0..300).map(|_| Kind::Token("x".repeat(4_000))));
    assert_eq!(bulk.send(long).await.refused().reason, "MESSAGE_TOO_LARGE");
    // A list that is not opened, or opened badly.
    let refused = Bulk::open(&admin, chunk(1, [Kind::Jti(new_id())])).await.map(|_| ()).refused();
    assert_eq!(refused.get("field"), "targets");
    let refused = Bulk::open(&admin, opening("no-uuid")).await.map(|_| ()).refused();
    assert_eq!(refused.get("field"), "bulk_id");
    // Whoever may not revoke others' tokens is refused, and so is another client with the same id.
    let refused = Bulk::open(&service, opening(&new_id())).await.map(|_| ()).refused();
    assert_eq!((refused.code, refused.get("permission")), (Code::PermissionDenied, "PERMISSION_REVOKE_ANY"));
    assert_eq!(service.status(&token.access_token, "api").await, TokenStatus::Revoked);
}

#[tokio::test]
async fn k8_a_dry_run_tells_what_would_happen_and_changes_nothing() {
    let world = World::start().await;
    let admin = world.api("admin").await;
    let mut service = world.api("service").await;
    let token = service.token("user:7", "api").await;
    let session = service.session("user:8", "api").await;
    let before = world.number(super::HEAD).await;
    let request = BulkRevokeRequest { validate_only: true, ..opening(&new_id()) };
    let (mut bulk, _) = Bulk::open(&admin, request).await.unwrap();
    let answer = bulk.send(chunk(1, [text(&token), Kind::Id(session.session_id.clone())])).await.unwrap();
    assert_eq!(counts(&answer), [("WOULD_REVOKE", 2)]);
    let last = bulk.close().await.unwrap();
    assert!(last.propagation.is_none() && last.revision.is_empty(), "{last:?}");
    assert_eq!(world.number(super::HEAD).await, before);
    assert!(is_active(&mut service, &token.access_token).await);
}

#[tokio::test]
async fn k8_a_list_that_would_pass_the_high_water_mark_is_refused_once_with_both_figures_unless_forced() {
    let arguments = ["--revocations-high-water", "1000"].map(str::to_owned).to_vec();
    let world = World::start_with(ServerOptions { arguments, ..ServerOptions::default() }).await;
    let admin = world.api("admin").await;
    let of = |target_count, force| BulkRevokeRequest { target_count, force, ..opening(&new_id()) };
    let refused = Bulk::open(&admin, of(1_001, false)).await.map(|_| ()).refused();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::FailedPrecondition, "HIGH_WATER_EXCEEDED"));
    let figures = ["heldRevocations", "targetCount", "highWater"].map(|key| refused.get(key).to_owned());
    assert_eq!(figures, ["0", "1001", "1000"]);
    let (mut bulk, _) = Bulk::open(&admin, of(1_001, true)).await.unwrap();
    bulk.send(chunk(1, (0..1_001).map(|_| Kind::Jti(new_id())))).await.unwrap();
    assert!(bulk.close().await.unwrap().propagation.unwrap().complete);
}
