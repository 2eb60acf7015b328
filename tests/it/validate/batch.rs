//! Batches: the verdicts of single calls, in the order of the requests.

use jeton::proto::v1::{self as pb, TokenStatus, revocation_target::Kind};
use serde_json::json;
use tonic::Code;

use super::support::{batch, with, with_signature};
use crate::world::{Raw, Refused, World, api_key, frame, validate_request};

const BATCH: &str = "/jeton.v1.TokenService/BatchValidate";

fn of(requests: Vec<pb::ValidateRequest>) -> pb::BatchValidateRequest {
    pb::BatchValidateRequest { requests }
}

#[tokio::test]
async fn v11_a_batch_answers_what_single_calls_do_in_request_order() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let forge = world.forge().await;
    let active = api.token("user:7", "api").await.access_token;
    let revoked = api.token("user:7", "api").await.access_token;
    admin.revoke(Kind::Token(revoked.clone())).await.unwrap();
    let kinds = [
        active.clone(),
        revoked,
        "garbage".to_owned(),
        with_signature(&active, [1; 64]),
        forge.sign(&with(&forge.claims(), "iss", Some(json!("x")))),
        forge.sign(&with(&forge.claims(), "aud", Some(json!(["web"])))),
        forge.sign(&with(&forge.claims(), "rev", Some(json!((1_i64 << 53) - 1)))),
    ];
    let mut single = Vec::new();
    for token in &kinds {
        single.push(api.validate(token, &["api"]).await.unwrap());
    }
    let distinct: std::collections::HashSet<_> = single.iter().map(|verdict| verdict.status).collect();
    assert_eq!(distinct.len(), 6, "{single:?}");
    for size in [1, 2, 999, 1_000] {
        let place = |index: usize| (index * 31 + index / 7) % kinds.len();
        let requests = (0..size).map(|index| validate_request(&kinds[place(index)], &["api"])).collect();
        let verdicts = batch(&mut api, requests).await;
        assert_eq!(verdicts.len(), size);
        for (index, verdict) in verdicts.into_iter().enumerate() {
            let alone = &single[place(index)];
            let same = pb::Verdict {
                server_time: alone.server_time,
                revision: alone.revision.clone(),
                ..verdict.clone()
            };
            assert_eq!(same, *alone, "number {index} of {size}");
        }
    }
    // Each request accepts its own audiences.
    let audiences = [["api"], ["web"], ["api"]];
    let requests = audiences.iter().map(|audiences| validate_request(&active, audiences)).collect();
    let statuses: Vec<_> = batch(&mut api, requests).await.iter().map(pb::Verdict::status).collect();
    assert_eq!(statuses, [TokenStatus::Active, TokenStatus::WrongAudience, TokenStatus::Active]);
}

#[tokio::test]
async fn v11_a_batch_has_1_to_1000_requests() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let refused = api.tokens.batch_validate(of(Vec::new())).await.refused();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "FIELD_REQUIRED"));
    assert_eq!(refused.get("field"), "requests");
    for size in [1_001, 5_000, 100_000] {
        let requests = vec![validate_request("x", &["api"]); size];
        let refused = api.tokens.batch_validate(of(requests)).await.refused();
        assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "BATCH_TOO_LARGE"));
        // Requests are not counted beyond the maximum.
        assert_eq!((refused.get("size"), refused.get("maxSize")), ("1001", "1000"));
    }
    // Empty ones take no room on the wire, and much where each is made something of.
    let raw = Raw::open(&world.server.ready.public, &api_key("service")).await;
    let before = world.server.resident();
    let answer = raw.call(BATCH, frame(&[0x0a, 0].repeat(4 << 20))).await;
    assert_eq!(answer.result().refused().reason, "BATCH_TOO_LARGE");
    let more = world.server.resident().saturating_sub(before);
    assert!(more < 32 << 20, "{} MiB more", more >> 20);
    // Nor does one request have more in it than one of Validate.
    let long = pb::ValidateRequest { audiences: vec![String::new(); 20_000], ..validate_request("x", &[]) };
    let refused = api.tokens.batch_validate(of(vec![long])).await.refused();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "FIELD_INVALID"));
    // A thousand of the longest texts that are looked at fit.
    let longest = format!("{}.{}.{}", "a".repeat(100), "b".repeat(8_000), "c".repeat(90));
    let verdicts = batch(&mut api, vec![validate_request(&longest, &["api"]); 1_000]).await;
    assert!(verdicts.iter().all(|verdict| verdict.status() == TokenStatus::Malformed));
    assert_eq!(verdicts.len(), 1_000);
}

#[tokio::test]
async fn v11_a_faulty_request_refuses_the_batch_and_is_named() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let good = validate_request(&api.token("user:7", "api").await.access_token, &["api"]);
    let text = |text: &str| text.to_owned();
    let revision = good.clone();
    for (field, reason, faulty) in [
        ("token", "FIELD_REQUIRED", pb::ValidateRequest { token: String::new(), ..good.clone() }),
        ("audiences", "FIELD_REQUIRED", pb::ValidateRequest { audiences: Vec::new(), ..good.clone() }),
        ("audiences", "FIELD_INVALID", pb::ValidateRequest { audiences: vec![text("*")], ..good.clone() }),
        ("scopes", "FIELD_INVALID", pb::ValidateRequest { scopes: vec![text("a b")], ..good.clone() }),
        (
            "certificate_thumbprint",
            "FIELD_INVALID",
            pb::ValidateRequest { certificate_thumbprint: text("x"), ..good.clone() },
        ),
        ("min_revision", "REVISION_INVALID", pb::ValidateRequest { min_revision: text("x"), ..good.clone() }),
        (
            "min_revision",
            "REVISION_INVALID",
            pb::ValidateRequest { min_revision: text("8000.1"), ..revision },
        ),
    ] {
        for (index, size) in [(0, 1), (0, 3), (2, 3), (999, 1_000)] {
            let mut requests = vec![good.clone(); size];
            requests[index] = faulty.clone();
            let status = api.tokens.batch_validate(of(requests)).await.unwrap_err();
            let named = field_of(&status);
            let refused = Err::<(), _>(status).refused();
            assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, reason), "{field}");
            assert!(named.starts_with(&format!("requests[{index}].{field}")), "{named} for {field}, {index}");
        }
    }
    let mut narrow = world.api("narrow").await;
    let requests = vec![good.clone(), validate_request(&good.token, &["web"])];
    let refused = narrow.tokens.batch_validate(of(requests)).await.refused();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::PermissionDenied, "AUDIENCE_NOT_ALLOWED"));
}

/// The field that the refusal's `BadRequest` names.
fn field_of(status: &tonic::Status) -> String {
    use tonic_types::StatusExt;
    status.get_details_bad_request().expect("a BadRequest").field_violations[0].field.clone()
}
