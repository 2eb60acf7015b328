//! Refusals of one request at a time, in the order of the checks.

use super::calls::{Body, Edge, ISSUING, JUDGING, REFRESHING, REVOKING, Told};
use crate::world::{ALL, ServerOptions, World, api_key, until};

/// Refused by every edge that has such a request in the same words; returns how many have.
async fn refused_alike(
    address: &str,
    edges: &[Edge],
    key: Option<&str>,
    body: Body<'_>,
    reason: &str,
) -> usize {
    let mut first: Option<Told> = None;
    let mut count = 0;
    for edge in edges {
        let Some(told) = edge.ask(address, key, body).await else { continue };
        let told = told.unwrap_or_else(|| panic!("{edge:?} with {body:?} is not refused"));
        count += 1;
        let reference = first.get_or_insert_with(|| told.clone());
        let Told::Grpc(_, its_reason, _) = reference else { panic!("the first edge speaks gRPC") };
        assert_eq!(its_reason, reason, "{edge:?} with {body:?}: {told:?}");
        let reference = if matches!(told, Told::Http(..)) { reference.in_http() } else { reference.clone() };
        assert_eq!(told, reference, "{edge:?} with {body:?}");
    }
    count
}

#[tokio::test]
async fn e21_a_request_is_refused_in_the_same_words_by_every_edge() {
    let world = World::start().await;
    let public = &world.server.ready.public;
    let token = world.api("service").await.token("user:7", "api").await.access_token;
    let (service, reader) = (api_key("service"), api_key("reader"));
    let bad = [Body::Good(&token), Body::Empty, Body::Thumbprint, Body::Scope, Body::Undecodable];
    let bad = [&bad[..], &[Body::TooLarge]].concat();
    for edges in [&JUDGING[..], &ISSUING, &REFRESHING, &REVOKING] {
        // Whatever else is wrong, the credential comes first, and then the permission.
        for body in &bad {
            let count = refused_alike(public, edges, None, *body, "CALLER_UNAUTHENTICATED").await;
            assert!(!matches!(body, Body::Good(_) | Body::TooLarge) || count == edges.len(), "{edges:?}");
            if edges != REVOKING {
                refused_alike(public, edges, Some(&reader), *body, "CALLER_FORBIDDEN").await;
            }
        }
        let count = refused_alike(public, edges, Some(&service), Body::TooLarge, "MESSAGE_TOO_LARGE").await;
        assert_eq!(count, edges.len());
        refused_alike(public, edges, Some(&service), Body::Undecodable, "FIELD_INVALID").await;
    }
    for edges in [&JUDGING[..], &ISSUING] {
        for (body, reason) in [
            (Body::Empty, "FIELD_REQUIRED"),
            (Body::Thumbprint, "FIELD_INVALID"),
            (Body::Scope, "FIELD_INVALID"),
        ] {
            assert!(refused_alike(public, edges, Some(&service), body, reason).await >= 4, "{body:?}");
        }
    }
}

#[tokio::test]
async fn e21_a_rate_is_met_before_anything_of_a_message_is_looked_at() {
    let arguments = ["--client-rate", "5"].map(str::to_owned).to_vec();
    let world = World::start_with(ServerOptions { arguments, ..ServerOptions::default() }).await;
    let (public, service) = (&world.server.ready.public, api_key("service"));
    let mut words: Option<Told> = None;
    for edge in [&JUDGING[..], &ISSUING, &REFRESHING, &REVOKING].concat() {
        for body in [Body::Good("x"), Body::Empty, Body::Undecodable, Body::TooLarge] {
            if edge.request(1, None, body).is_none() {
                continue;
            }
            let mut met = None;
            until("the rate is met", async || {
                let asked = (0..20).map(|_| edge.ask(public, Some(&service), body));
                let answers = futures_util::future::join_all(asked).await;
                met = answers.into_iter().flatten().flatten().find(|told| {
                    matches!(told, Told::Grpc(_, reason, _) if reason == "RATE_LIMITED")
                        || matches!(told, Told::Http(429, ..))
                });
                met.is_some()
            })
            .await;
            let met = met.unwrap();
            let words = words.get_or_insert_with(|| met.clone());
            let expected = if matches!(met, Told::Http(..)) { words.in_http() } else { words.clone() };
            assert_eq!(met, expected, "{edge:?} with {body:?}");
        }
    }
}

#[tokio::test]
async fn e21_without_a_lease_nothing_is_told_by_any_edge() {
    let (world, link) = World::behind_link().await;
    let (public, service) = (&world.server.ready.public, api_key("service"));
    link.stall(ALL);
    let first = JUDGING[0];
    until("nothing is answered from memory any more", async || {
        first.ask(public, Some(&service), Body::Good("x")).await.flatten().is_some()
    })
    .await;
    let edges = [&JUDGING[..], &ISSUING, &REFRESHING, &REVOKING].concat();
    for (key, body) in [
        (Some(service.as_str()), Body::Good("x")),
        (Some(service.as_str()), Body::Empty),
        (Some(service.as_str()), Body::TooLarge),
        (None, Body::Good("x")),
    ] {
        let asked = edges.iter().map(async |edge| (edge, edge.ask(public, key, body).await));
        let answers = futures_util::future::join_all(asked).await;
        let mut words: Option<Told> = None;
        for (edge, told) in answers {
            let Some(told) = told else { continue };
            let told = told.unwrap_or_else(|| panic!("{edge:?} with {body:?} is not refused"));
            let words = words.get_or_insert_with(|| told.clone());
            assert!(
                matches!(words, Told::Grpc(_, reason, _) if reason == "REVOCATION_STATE_STALE"),
                "{words:?}"
            );
            let expected = if matches!(told, Told::Http(..)) { words.in_http() } else { words.clone() };
            assert_eq!(told, expected, "{edge:?} with {body:?}");
        }
    }
    link.resume(ALL);
}
