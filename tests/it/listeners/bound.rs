//! V10 over mTLS: a token that is bound to the certificate of a connection.

use jeton::proto::v1::{self as pb, TokenStatus};

use super::{BILLING, introspection};
use crate::world::{Leaf, Secure, issue_request, validate_request};

/// The status of a token whose bearer presented this certificate.
async fn status(secure: &Secure, token: &str, shown: Option<&Leaf>) -> TokenStatus {
    let request = pb::ValidateRequest {
        certificate_thumbprint: shown.map(Leaf::thumbprint).unwrap_or_default(),
        ..validate_request(token, &["api"])
    };
    // The caller has a certificate of its own: the bearer's is meant.
    let asking = secure.clients.client(BILLING);
    secure.api_of(&asking).tokens.validate(request).await.unwrap().into_inner().verdict.unwrap().status()
}

#[tokio::test]
async fn v10_a_token_bound_to_a_certificate_is_active_with_it_alone_and_not_with_its_successor() {
    let secure = Secure::start().await;
    secure.register("billing", BILLING).await;
    let (mine, renewed) = (secure.clients.client(BILLING), secure.clients.client(BILLING));
    let mut billing = secure.api_of(&mine);
    let request = pb::IssueRequest {
        certificate_thumbprint: mine.thumbprint(),
        refreshable: true,
        ..issue_request("user:7", &["api"])
    };
    let bound = billing.issue(request).await.unwrap();
    for (shown, expected) in [
        (Some(&mine), TokenStatus::Active),
        // The same name and authority, but another certificate.
        (Some(&renewed), TokenStatus::WrongBinding),
        (None, TokenStatus::WrongBinding),
    ] {
        assert_eq!(status(&secure, &bound.access_token, shown).await, expected);
    }
    // If the calling connection has the certificate that the token is bound to, that does not matter: only the request
    // tells the bearer's certificate.
    assert_eq!(billing.status(&bound.access_token, "api").await, TokenStatus::WrongBinding);

    // Introspection judges a certificate that is named; without one it returns the thumbprint for its caller to compare.
    let dialer = secure.dialer(Some(&renewed));
    let asked = async |extra: &str| {
        let form = format!("{}{extra}", bound.access_token);
        dialer.ask(secure.public(), &introspection(&form, &[])).await.json()
    };
    let left = asked("").await;
    assert_eq!((&left["active"], &left["cnf"]["x5t#S256"]), (&true.into(), &mine.thumbprint().into()));
    assert_eq!(asked(&format!("&certificate_thumbprint={}", mine.thumbprint())).await, left);
    let other = asked(&format!("&certificate_thumbprint={}", renewed.thumbprint())).await;
    assert_eq!(other, serde_json::json!({ "active": false }));

    // A session's later tokens stay with the first certificate.
    let next = billing.refresh(&bound.refresh.unwrap().refresh_token).await.unwrap().access_token;
    assert_eq!(status(&secure, &next, Some(&mine)).await, TokenStatus::Active);
    assert_eq!(status(&secure, &next, Some(&renewed)).await, TokenStatus::WrongBinding);
}
