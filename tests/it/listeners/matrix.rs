//! C3: client certificates, each bad in one way, and each refused.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};
use tonic::Code;

use super::{BILLING, assert_unknown, introspection};
use crate::world::{Authority, Leaf, Secure, authority, parameters, workload};

/// Where it ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ends {
    /// The chain is not good: there is no connection.
    Handshake,
    /// It names no client: the connection is one without a certificate.
    Answer,
}

struct Case {
    name: String,
    leaf: Leaf,
    ends: Ends,
}

/// The good one, but for one thing.
fn but(change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = workload(BILLING);
    change(&mut params);
    params
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

/// Spellings of a registered name, and texts that are no SPIFFE ID of a workload.
fn names() -> Vec<(&'static str, String)> {
    let texts = [
        ("http", "http://example.org/billing"),
        ("https", "https://example.org/billing"),
        ("urn", "urn:example:billing"),
        ("no scheme", "example.org/billing"),
        ("an upper-case scheme", "SPIFFE://example.org/billing"),
        ("an upper-case trust domain", "spiffe://Example.org/billing"),
        ("a port", "spiffe://example.org:443/billing"),
        ("a user", "spiffe://user@example.org/billing"),
        ("a user and a password", "spiffe://user:x@example.org/billing"),
        ("a query", "spiffe://example.org/billing?x=1"),
        ("an empty query", "spiffe://example.org/billing?"),
        ("a fragment", "spiffe://example.org/billing#x"),
        ("percent-encoding", "spiffe://example.org/b%69lling"),
        ("a segment ..", "spiffe://example.org/x/../billing"),
        ("a segment .", "spiffe://example.org/./billing"),
        ("an empty segment", "spiffe://example.org//billing"),
        ("a slash at its end", "spiffe://example.org/billing/"),
        ("no path", "spiffe://example.org"),
        ("no trust domain", "spiffe:///billing"),
        ("a space", "spiffe://example.org/billing "),
        ("a NUL at its end", "spiffe://example.org/billing\0"),
        ("a NUL, then another", "spiffe://example.org/billing\0.evil.example"),
        ("another case of the path", "spiffe://example.org/Billing"),
        ("another trust domain", "spiffe://example.com/billing"),
        ("good, and not registered", "spiffe://example.org/unknown"),
        ("of a disabled client", "spiffe://example.org/disabled"),
        ("below a registered one", "spiffe://example.org/billing/b"),
    ];
    let long = format!("spiffe://example.org/{}", "b".repeat(2_048));
    let texts = texts.map(|(name, text)| (name, text.to_owned()));
    texts.into_iter().chain([("too long", long)]).collect()
}

fn cases(secure: &Secure) -> Vec<Case> {
    let good = &secure.clients;
    let other = Authority::new("clients");
    let not_an_authority = good.below({
        let mut params = authority("no authority");
        params.is_ca = IsCa::NoCa;
        params
    });
    let no_further = good.below({
        let mut params = authority("no further");
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        params
    });
    let too_deep = no_further.below(authority("too deep"));
    let ended = good.below({
        let mut params = authority("ended");
        params.not_after = (SystemTime::now() - Duration::from_mins(1)).into();
        params
    });
    let lists_alone = good.below({
        let mut params = authority("lists alone");
        params.key_usages = vec![KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        params
    });
    let signed = |params: CertificateParams| good.sign(&params);
    let usages = |usages: &[KeyUsagePurpose]| signed(but(|it| it.key_usages = usages.to_vec()));
    let purposes =
        |purposes: &[ExtendedKeyUsagePurpose]| signed(but(|it| it.extended_key_usages = purposes.to_vec()));
    let sans = |sans: Vec<SanType>| signed(but(|it| it.subject_alt_names = sans));
    let dns = || SanType::DnsName("example.org".try_into().unwrap());
    let mail = || SanType::Rfc822Name("billing@example.org".try_into().unwrap());
    let ago = |seconds: u64| SystemTime::now() - Duration::from_secs(seconds);

    let mut unconfirmed = parameters(Duration::from_hours(1));
    unconfirmed.subject_alt_names = vec![uri(BILLING)];
    let by_handshake = [
        ("of another authority of the same name", other.client(BILLING)),
        ("signed by itself", Leaf::of_itself(&workload(BILLING))),
        ("signed by the servers' authority", secure.servers.client(BILLING)),
        ("expired", signed(but(|it| it.not_after = ago(2).into()))),
        (
            "not yet valid",
            signed(but(|it| it.not_before = (SystemTime::now() + Duration::from_hours(1)).into())),
        ),
        ("an authority's own", signed(but(|it| it.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained)))),
        ("for servers alone", purposes(&[ExtendedKeyUsagePurpose::ServerAuth])),
        ("for code alone", purposes(&[ExtendedKeyUsagePurpose::CodeSigning])),
        ("through what is no authority", not_an_authority.client(BILLING)),
        ("through more than are allowed", too_deep.client(BILLING)),
        ("through an authority that has ended", ended.client(BILLING)),
    ];
    let by_answer = [
        ("without any name", sans(vec![])),
        ("a DNS name alone", sans(vec![dns()])),
        ("an address alone", sans(vec![SanType::IpAddress([127, 0, 0, 1].into())])),
        ("a mail address alone", sans(vec![mail()])),
        ("two URIs", sans(vec![uri(BILLING), uri("spiffe://example.org/other")])),
        ("one URI twice", sans(vec![uri(BILLING), uri(BILLING)])),
        ("a second URI of another kind", sans(vec![uri(BILLING), uri("https://example.org")])),
        ("with keyCertSign", usages(&[KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign])),
        ("with cRLSign", usages(&[KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign])),
        ("without digitalSignature", usages(&[KeyUsagePurpose::KeyEncipherment])),
        ("without key usage", usages(&[])),
        ("without extended key usage", purposes(&[])),
        ("without any usage", signed(unconfirmed)),
        ("through an authority that may sign no certificates", lists_alone.client(BILLING)),
    ];
    let case = |ends| move |(name, leaf): (&str, Leaf)| Case { name: name.to_owned(), leaf, ends };
    let named = names().into_iter().map(|(name, text)| {
        let leaf = sans(vec![uri(&text)]);
        Case { name: format!("a URI with {name}"), leaf, ends: Ends::Answer }
    });
    by_handshake
        .into_iter()
        .map(case(Ends::Handshake))
        .chain(by_answer.into_iter().map(case(Ends::Answer)))
        .chain(named)
        .collect()
}

#[tokio::test]
async fn c3_every_bad_certificate_is_refused_and_a_good_one_passes() {
    let secure = Secure::start().await;
    secure.register("billing", BILLING).await;
    secure.register("disabled", "spiffe://example.org/disabled").await;
    secure.set_disabled("disabled", true).await;
    let good = [
        ("the good one", secure.clients.client(BILLING)),
        (
            "with other names beside the one URI",
            secure.clients.sign(&but(|it| {
                it.subject_alt_names.push(SanType::DnsName("billing.example.org".try_into().unwrap()));
            })),
        ),
        (
            "for servers, too",
            secure.clients.sign(&but(|it| {
                it.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
            })),
        ),
        ("of no authority, in so many words", secure.clients.sign(&but(|it| it.is_ca = IsCa::ExplicitNoCa))),
    ];
    for (name, leaf) in &good {
        secure
            .api_of(leaf)
            .validate("x", &["api"])
            .await
            .unwrap_or_else(|status| panic!("{name}: {status:?}"));
        let answer = secure.dialer(Some(leaf)).ask(secure.public(), &introspection("x", &[])).await;
        assert_eq!(answer.status, 200, "{name}");
    }
    let nobody = secure.dialer(None).ask(secure.public(), &introspection("x", &[])).await;
    let cases = cases(&secure);
    assert!(cases.len() > 50, "{}", cases.len());
    for Case { name, leaf, ends } in &cases {
        for listener in [secure.public(), &secure.world.server.ready.admin] {
            let answer = secure.dialer(Some(leaf)).try_ask(listener, &introspection("x", &[])).await;
            let failed = answer.is_err();
            assert_eq!(failed, *ends == Ends::Handshake, "{name}: {answer:?}");
            if let (Ok(answer), true) = (answer, listener == secure.public()) {
                assert_eq!((answer.status, &answer.body), (401, &nobody.body), "{name}: one answer");
            }
        }
        let mut api = secure.api_of(leaf);
        let answers = [
            api.validate("x", &["api"]).await.map(drop),
            api.wide.validate(super::request()).await.map(drop),
        ];
        for answer in answers {
            match ends {
                Ends::Answer => assert_unknown(answer),
                Ends::Handshake => {
                    let status = answer.expect_err(name);
                    assert_ne!(status.code(), Code::Unauthenticated, "no connection: {name}: {status:?}");
                    assert!(status.details().is_empty(), "not an answer of the server's: {name}: {status:?}");
                }
            }
        }
    }
    // The person who looks after the certificates is told what is wrong with one.
    for why in [
        "it has not exactly one URI among its subject alternative names",
        "its URI is not a SPIFFE ID in normal form",
        "an authority between it and the root may not sign certificates",
        "its extended key usage does not include clientAuth",
        "its key usage is not that of a workload: digitalSignature, neither keyCertSign nor cRLSign",
    ] {
        assert_eq!(secure.logged(why).unwrap()["message"], "a certificate names no client", "{why}");
    }
}

#[tokio::test]
async fn e18_certificates_that_are_refused_are_told_and_counted() {
    let mut secure = Secure::start().await;
    let stranger = Authority::new("strangers").client(BILLING);
    let nameless = secure.clients.sign(&but(|it| it.subject_alt_names = Vec::new()));
    for _ in 0..3 {
        secure.api_of(&stranger).validate("x", &["api"]).await.unwrap_err();
        secure.dialer(Some(&nameless)).get(secure.public(), "/.well-known/jwks.json").await;
    }
    let line = secure.logged("a client's certificate was refused").unwrap();
    assert!(line["error"].as_str().unwrap().contains("UnknownIssuer"), "{line}");
    let lines = |message: &str| secure.world.server.logged().matches(message).count();
    for message in ["a client's certificate was refused", "a certificate names no client"] {
        assert!((1..3).contains(&lines(message)), "a sample: {message}");
    }
    secure.world.server.terminate();
    assert!(secure.world.server.ended().await.success());
    // By address: each connection of a test comes from another.
    let refused =
        "action = 'Refused' and outcome = 'CALLER_UNAUTHENTICATED' and note like '%a bad certificate'";
    assert!(secure.world.audited(refused).await >= 6);
}
