//! Certificates are replaced without a restart, and what cannot be used changes nothing.

use std::{fs, time::Duration};

use jeton::proto::v1::TokenStatus;
use rcgen::{BasicConstraints, IsCa};
use rustls::pki_types::CertificateDer;

use super::{BILLING, JWKS};
use crate::world::{
    Authority, Dialer, Http, Secure, Stream, http_request, server, steady, until, until_within,
};

const UNUSABLE: &str = "new certificates cannot be used: the old ones stay in use";
const END: &str = "jeton_tls_certificate_not_after_seconds{listener=\"public\"}";

/// The certificate that a new connection is shown.
async fn shown(secure: &Secure) -> CertificateDer<'static> {
    let stream = Dialer::new(&secure.servers, None, &[]).dial(secure.public()).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

async fn is_served(connection: &mut Http) -> bool {
    connection.write(&http_request("GET", JWKS, &[], "")).await;
    connection.read(false).await.status == 200
}

#[tokio::test]
async fn new_connections_see_a_new_certificate_and_old_ones_go_on() {
    let secure = Secure::start().await;
    let first = shown(&secure).await;
    until("the end of the first is measured", async || secure.world.metric(END).await > 0.0).await;
    let end = secure.world.metric(END).await;
    let mut old = secure.dialer(None).http(secure.public()).await;
    assert!(is_served(&mut old).await);
    let mut service = secure.api("service");
    let token = service.token("user:7", "api").await.access_token;
    let mut stream = Stream::open(&service).await;
    assert_eq!(stream.ask(&token).await.unwrap(), TokenStatus::Active);

    let second = secure.servers.server_for(Duration::from_hours(24 * 120));
    second.write(secure.files.path(), "server");
    until("the new one is shown", async || shown(&secure).await == second.chain()[0]).await;
    assert_ne!(first, second.chain()[0]);
    until("the metric tells its end", async || secure.world.metric(END).await > end).await;
    let ahead = secure.world.metric(END).await - end;
    assert!((ahead - 30.0 * 86_400.0).abs() < 120.0, "thirty days later: {ahead}");
    let line = secure.logged("new certificates are in use").unwrap();
    assert!(line.to_string().contains("tls.not_after"), "{line}");

    assert!(is_served(&mut old).await);
    assert_eq!(stream.ask(&token).await.unwrap(), TokenStatus::Active);
    assert_eq!(service.status(&token, "api").await, TokenStatus::Active);
}

#[tokio::test]
async fn an_unusable_replacement_leaves_the_old_one_in_use_and_a_line_in_the_log() {
    let secure = Secure::start().await;
    let first = shown(&secure).await;
    until("the end of the first is measured", async || secure.world.metric(END).await > 0.0).await;
    let end = secure.world.metric(END).await;
    let (certificate, key) = (secure.path("server.pem"), secure.path("server.key"));
    let good = [fs::read(&certificate).unwrap(), fs::read(&key).unwrap()];
    let ended = secure.servers.ended_server();
    let other = secure.servers.server();
    let replace = |new: &str, new_key: &str| {
        fs::write(&certificate, new).unwrap();
        fs::write(&key, new_key).unwrap();
    };
    // Both listeners have these files: the messages about the public one.
    let complaints = || -> Vec<serde_json::Value> {
        let log = secure.world.server.logged();
        let lines = log.lines().filter(|line| line.contains(UNUSABLE) && line.contains("\"public\""));
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let cases = [
        ("half a file", other.pem()[..300].to_owned(), other.key_pem(), "holds no certificate in PEM form"),
        ("nothing", String::new(), other.key_pem(), "holds no certificate in PEM form"),
        ("another's key", other.pem(), secure.servers.server().key_pem(), "is not that of the certificate"),
        ("one that has ended", ended.pem(), ended.key_pem(), "is good from"),
    ];
    for (told, (name, new, new_key, why)) in cases.into_iter().enumerate() {
        replace(&new, &new_key);
        until(name, async || complaints().len() > told).await;
        let last = complaints().pop().unwrap();
        assert!(last["error"].as_str().unwrap().contains(why), "{name}: {last}");
        assert_eq!(last["level"], "ERROR", "{last}");
        assert!(!secure.world.server.logged().contains("PRIVATE KEY"), "{name}");
        assert_eq!(shown(&secure).await, first, "{name}");
        assert!((secure.world.metric(END).await - end).abs() < 1.0, "the end of the one in use: {name}");
    }
    fs::remove_file(&certificate).unwrap();
    until("a file that is gone", async || secure.world.server.logged().contains("cannot be read")).await;
    assert_eq!(shown(&secure).await, first);

    // The last good files are used.
    replace(&other.pem(), &other.key_pem());
    until("it is shown", async || shown(&secure).await == other.chain()[0]).await;
    replace(str::from_utf8(&good[0]).unwrap(), str::from_utf8(&good[1]).unwrap());
    until("the first one again", async || shown(&secure).await == first).await;
}

/// An authority whose clock is ahead of ours, or a renewal that is prepared before its time.
#[tokio::test]
async fn a_replacement_that_is_not_yet_good_is_in_use_once_it_is() {
    let secure = Secure::start().await;
    let mut params = server(Duration::from_hours(24));
    // It is looked at within three seconds; a machine may stand still for a few more.
    params.not_before = (std::time::SystemTime::now() + Duration::from_secs(14)).into();
    let early = secure.servers.sign(&params);
    early.write(secure.files.path(), "server");
    until("it is not taken", async || secure.logged(UNUSABLE).is_some()).await;
    assert_ne!(shown(&secure).await, early.chain()[0]);
    until_within(Duration::from_mins(1), "it is in use", async || shown(&secure).await == early.chain()[0])
        .await;
    let complaints = secure.world.server.logged().matches("cannot be used").count();
    assert!(complaints <= 2, "said once for each listener: {complaints}");
}

/// Unusable files are tried again each second, and reported once.
#[tokio::test]
async fn e19_a_certificate_of_an_authority_is_warned_of_once_for_each_change() {
    steady(async || {
        let secure = Secure::start().await;
        let mut params = server(Duration::from_hours(24));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Both listeners have these files.
        let warnings = || secure.world.server.logged().matches("(CA:TRUE)").count();
        for change in 1..=2 {
            params.not_before = (std::time::SystemTime::now() + Duration::from_secs(8)).into();
            secure.servers.sign(&params).write(secure.files.path(), "server");
            let in_use = || secure.world.server.logged().matches("new certificates are in use").count();
            until_within(Duration::from_mins(1), "it is in use", async || in_use() == 2 * change).await;
            assert_eq!(warnings(), 2 * change);
        }
    })
    .await;
}

#[tokio::test]
async fn c3_a_renewed_server_certificate_judges_nobody() {
    let secure = Secure::start().await;
    secure.register("billing", BILLING).await;
    let client = secure.clients.client(BILLING);
    let mut held = secure.api_of(&client);
    let token = held.token("user:7", "api").await.access_token;
    let mut stream = Stream::open(&held).await;
    let mut open = secure.dialer(Some(&client)).http(secure.public()).await;
    // Connections are checked at least once each time: several checks, which would close any that must go.
    for _ in 0..4 {
        let renewed = secure.servers.server();
        renewed.write(secure.files.path(), "server");
        until("the new one is shown", async || shown(&secure).await == renewed.chain()[0]).await;
        assert_eq!(stream.ask(&token).await.unwrap(), TokenStatus::Active);
        open.write(&super::introspection(&token, &[])).await;
        assert_eq!(open.read(false).await.status, 200);
    }
    // A further call goes over the same connection.
    assert_eq!(held.status(&token, "api").await, TokenStatus::Active);
}

#[tokio::test]
async fn c3_a_client_of_a_removed_authority_is_refused_and_one_of_a_new_authority_is_known() {
    let secure = Secure::start().await;
    secure.register("billing", BILLING).await;
    let successor = Authority::new("successor");
    let (old, new) = (secure.clients.client(BILLING), successor.client(BILLING));
    // One dialer for the old certificate: it remembers sessions, and would resume them.
    let (of_old, of_new) = (secure.dialer(Some(&old)), secure.dialer(Some(&new)));
    let token = secure.api_of(&old).token("user:7", "api").await.access_token;
    let asked = async |dialer: &Dialer| {
        let answer = dialer.try_ask(secure.public(), &super::introspection(&token, &[])).await;
        answer.is_ok_and(|answer| answer.status == 200)
    };
    assert!(asked(&of_old).await && !asked(&of_new).await);

    // Both while certificates are replaced, then the new one alone.
    let ca = secure.path("clients.pem");
    fs::write(&ca, format!("{}{}", secure.clients.pem(), successor.pem())).unwrap();
    until("the new one is known", async || asked(&of_new).await).await;
    assert!(asked(&of_old).await);
    let mut open = secure.dialer(Some(&old)).http(secure.public()).await;
    open.write(&super::introspection(&token, &[])).await;
    assert_eq!(open.read(false).await.status, 200);

    let mut kept = of_new.http(secure.public()).await;
    kept.write(&super::introspection(&token, &[])).await;
    assert_eq!(kept.read(false).await.status, 200);

    let (mut held, mut stream) = (secure.api_of(&old), Stream::open(&secure.api_of(&old)).await);
    let mut lasting = Stream::open(&secure.api_of(&new)).await;
    assert_eq!(held.status(&token, "api").await, TokenStatus::Active);
    assert_eq!(stream.ask(&token).await.unwrap(), TokenStatus::Active);
    assert_eq!(lasting.ask(&token).await.unwrap(), TokenStatus::Active);

    fs::write(&ca, successor.pem()).unwrap();
    until("the old one is refused", async || !asked(&of_old).await).await;
    assert!(asked(&of_new).await);
    assert!(secure.api_of(&old).validate(&token, &["api"]).await.is_err());
    assert_eq!(secure.api_of(&new).status(&token, "api").await, TokenStatus::Active);
    // Connections opened with it end, and those of the new one stay.
    assert!(open.is_closed().await);
    kept.write(&super::introspection(&token, &[])).await;
    assert_eq!(kept.read(false).await.status, 200);
    // So do gRPC connections, at once for further calls, and a while later for a stream that is open.
    until("no further call is taken", async || held.validate(&token, &["api"]).await.is_err()).await;
    until("the stream is cut off", async || stream.ask(&token).await.is_err()).await;
    assert_eq!(lasting.ask(&token).await.unwrap(), TokenStatus::Active);

    // Without any authority in the file, the last ones stay.
    fs::write(&ca, "").unwrap();
    until("it is said", async || secure.logged(UNUSABLE).is_some()).await;
    assert!(asked(&of_new).await && !asked(&of_old).await);
}
