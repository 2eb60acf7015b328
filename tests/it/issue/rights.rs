//! I11: who may issue what; and the forms of subjects, audiences and scopes.

use jeton::proto::v1 as pb;
use tonic::Code;

use super::lifetime;
use crate::world::{Refused, World, issue_request};

#[tokio::test]
async fn i11_the_caller_needs_the_permission_the_audience_and_the_subject() {
    let world = World::start().await;
    for without in ["nobody", "validator", "reader"] {
        let mut api = world.api(without).await;
        let facts = api.issue(issue_request("user:7", &["api"])).await.refused();
        assert_eq!((facts.code, facts.reason.as_str()), (Code::PermissionDenied, "CALLER_FORBIDDEN"));
        assert_eq!(facts.get("permission"), "PERMISSION_ISSUE");
    }
    let mut narrow = world.api("narrow").await;
    for good in ["user:7", "user:", "svc:billing"] {
        lifetime(&narrow.token(good, "api").await);
    }
    for refreshable in [false, true] {
        for bad in ["svc:billing2", "svc:billin", "svc:", "user", "User:7", "other"] {
            let request = pb::IssueRequest { refreshable, ..issue_request(bad, &["api"]) };
            let facts = narrow.issue(request).await.refused();
            assert_eq!((facts.code, facts.reason.as_str()), (Code::PermissionDenied, "SUBJECT_NOT_ALLOWED"));
            assert_eq!(facts.get("subject"), bad);
        }
        for audiences in [&["web"] as &[&str], &["api", "web"], &["web", "api"]] {
            let request = pb::IssueRequest { refreshable, ..issue_request("user:7", audiences) };
            let facts = narrow.issue(request).await.refused();
            assert_eq!((facts.code, facts.reason.as_str()), (Code::PermissionDenied, "AUDIENCE_NOT_ALLOWED"));
            assert_eq!(facts.get("audience"), "web");
        }
    }
    for close in ["API", "api2", "ap"] {
        let facts = narrow.issue(issue_request("user:7", &[close])).await.refused();
        assert_eq!((facts.reason.as_str(), facts.get("audience")), ("AUDIENCE_NOT_ALLOWED", close));
    }
    assert_eq!(narrow.issue(issue_request("user:7", &["*"])).await.refused().reason, "FIELD_INVALID");
}

#[tokio::test]
async fn i11_subjects_audiences_and_scopes_have_a_form_and_the_refusal_names_the_element() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let base = || issue_request("user:7", &["api"]);
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let many = |count: usize| (0..count).map(|index| format!("t{index}")).collect::<Vec<_>>();
    let long = "x".repeat(256);
    let required = [
        ("subject", pb::IssueRequest { subject: String::new(), ..base() }),
        ("audiences", pb::IssueRequest { audiences: Vec::new(), ..base() }),
    ];
    for (field, request) in required {
        let facts = api.issue(request).await.refused();
        assert_eq!((facts.reason.as_str(), facts.get("field")), ("FIELD_REQUIRED", field));
    }
    let subject = |subject: &str| pb::IssueRequest { subject: subject.to_owned(), ..base() };
    let audiences = |audiences: Vec<String>| pb::IssueRequest { audiences, ..base() };
    let scopes = |scopes: Vec<String>| pb::IssueRequest { scopes, ..base() };
    let bound =
        |thumbprint: &str| pb::IssueRequest { certificate_thumbprint: thumbprint.to_owned(), ..base() };
    let invalid = [
        ("subject", subject(&long)),
        ("subject", subject("a\0b")),
        ("subject", subject("a\u{85}b")),
        ("subject", subject("user\u{200b}:7")),
        ("subject", subject("\u{202e}7:resu")),
        ("subject", subject("cafe\u{301}")),
        ("subject", subject("user:7 ")),
        ("subject", subject(" user:7")),
        ("subject", subject("user:7\u{a0}")),
        ("subject", subject("user\u{3000}7")),
        ("subject", subject("user:\u{2800}7")),
        ("subject", subject("user:7\u{3164}")),
        ("audiences[0]", audiences(texts(&["api "]))),
        ("audiences[0]", audiences(texts(&["orders-*"]))),
        ("audiences[0]", audiences(texts(&["ap\u{2060}i"]))),
        ("audiences", audiences(many(11))),
        ("audiences[0]", audiences(texts(&[""]))),
        ("audiences[1]", audiences(texts(&["api", "*"]))),
        ("audiences[1]", audiences(texts(&["api", "api"]))),
        ("audiences[2]", audiences(vec!["api".to_owned(), "b".to_owned(), long.clone()])),
        ("audiences[0]", audiences(texts(&["a\r\nb"]))),
        ("scopes", scopes(many(65))),
        ("scopes[0]", scopes(texts(&[""]))),
        ("scopes[1]", scopes(texts(&["read", "two words"]))),
        ("scopes[0]", scopes(texts(&["quo\"te"]))),
        ("scopes[0]", scopes(texts(&["back\\slash"]))),
        ("scopes[0]", scopes(texts(&["é"]))),
        ("scopes[2]", scopes(texts(&["a", "b", "a"]))),
        ("scopes[0]", scopes(vec!["x".repeat(129)])),
        ("certificate_thumbprint", bound("x")),
        ("certificate_thumbprint", bound(&"A".repeat(44))),
        ("certificate_thumbprint", bound(&"B".repeat(43))),
        ("certificate_thumbprint", bound(&format!("{}=", "A".repeat(43)))),
    ];
    for (field, request) in invalid {
        let shown = format!("{request:?}");
        let status = api.issue(request).await.expect_err(&shown);
        let violations = tonic_types::StatusExt::get_details_bad_request(&status).unwrap().field_violations;
        assert_eq!(violations.iter().map(|violation| violation.field.as_str()).collect::<Vec<_>>(), [field]);
        let facts = Err::<(), _>(status).refused();
        assert_eq!((facts.reason.as_str(), facts.get("field")), ("FIELD_INVALID", field), "{shown}");
    }
    // The longest of everything is good.
    lifetime(&api.issue(subject(&"x".repeat(255))).await.unwrap());
    lifetime(&api.issue(audiences(many(10))).await.unwrap());
    lifetime(&api.issue(scopes(many(64))).await.unwrap());
    lifetime(&api.issue(bound(&"A".repeat(43))).await.unwrap());
}
