//! More calls than a thread has time for: each edge sheds what costs a signature, and only after the form was checked.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::{sync::Barrier, task::JoinSet};

use super::calls::{Body, Connection, Edge, ISSUING, JUDGING, Told, When};
use crate::world::{Api, Database, Patience, Server, ServerOptions, Stream, World, api_key, is_for_now};

/// All of it is asked for at once, on so many connections.
const CONNECTIONS: usize = 56;
/// Fewer than one of so many connections may have in flight.
const CALLS: usize = 240;
/// On so many of the connections there are calls by all edges. Few: messages that come late take memory.
const MIXED: usize = 4;
/// One in so many calls of these.
const OTHERS: usize = 4;

/// A world whose server has one thread for its public listener, whatever the machine: it counts the cores that it may use.
async fn on_one_core() -> World {
    let (database, directory) = (Database::create().await, tempfile::tempdir().unwrap());
    let all = sched_getaffinity(None).unwrap();
    let mut one = CpuSet::new();
    one.set((0..CpuSet::MAX_CPU).find(|core| all.is_set(*core)).unwrap());
    // A process that is started has the cores of the thread that starts it.
    sched_setaffinity(None, &one).unwrap();
    let server = Server::start(&database.url, directory.path(), &ServerOptions::default()).await;
    sched_setaffinity(None, &all).unwrap();
    World { database, server, directory }
}

/// The refusals of a crowd by edge: of good requests, and of those of a wrong form.
type Refusals = HashMap<(Edge, bool), HashSet<Told>>;

/// The edge of a call, and whether its form is good.
fn kind(place: usize, mixed: bool) -> (Edge, bool) {
    let edges = [&JUDGING[..], &ISSUING].concat();
    if !mixed || !place.is_multiple_of(OTHERS) {
        return (Edge::Validate(When::Whole), true);
    }
    let number = place / OTHERS;
    let edge = edges[number % edges.len()];
    // Envoy's question has no token of its own to be without.
    (edge, (number / edges.len()).is_multiple_of(2) || edge == Edge::Check)
}

/// Makes the calls of one connection at once, and reads their answers.
async fn all_at_once(address: String, forged: String, mixed: bool, begun: Arc<Barrier>) -> Refusals {
    let key = api_key("service");
    let mut packets = [Vec::new(), Vec::new()];
    let stream_of = |place: usize| u32::try_from(place * 2 + 1).unwrap();
    for place in 0..CALLS {
        let (edge, is_good) = kind(place, mixed);
        let body = if is_good { Body::Good(&forged) } else { Body::Empty };
        let request = edge.request(stream_of(place), Some(&key), body).unwrap();
        for (packet, part) in packets.iter_mut().zip(request) {
            packet.extend(part);
        }
    }
    let [first, second] = packets;
    let mut connection = Connection::open(&address).await;
    // Mixed calls come when the thread has all the others to do.
    if mixed {
        begun.wait().await;
    }
    connection.frames.write(&first).await;
    if !mixed {
        begun.wait().await;
    }
    connection.pong().await;
    connection.frames.write(&second).await;
    let answers = connection.answers(CALLS).await;
    let mut refusals = Refusals::new();
    for place in 0..CALLS {
        let (edge, is_good) = kind(place, mixed);
        let told = edge.told(&answers[&stream_of(place)]);
        assert!(is_good || told.is_some(), "{edge:?} took a wrong form");
        // A server that gets no time may lose its lease, too, or let the deadline pass.
        refusals.entry((edge, is_good)).or_default().extend(told.filter(|told| !is_of_the_machine(told)));
    }
    refusals
}

/// A stream, once one is not refused.
async fn opened(api: &Api) -> Stream {
    let patience = Patience::begin();
    loop {
        match Stream::try_open(api).await {
            Err(status) if patience.bears(&status).await => {}
            done => return done.unwrap(),
        }
    }
}

/// Returns whether a refusal comes of a machine that stalls, whatever the edge.
fn is_of_the_machine(told: &Told) -> bool {
    let (Told::Grpc(_, _, text) | Told::Http(_, _, text)) = told;
    ["refuses to guess", "The deadline passed"].iter().any(|words| text.contains(words))
}

#[tokio::test]
async fn e21_every_edge_sheds_what_costs_a_signature_and_a_wrong_form_is_told_first() {
    let world = on_one_core().await;
    let mut service = world.api("service").await;
    let mut tokens = Vec::new();
    for _ in 0..2 {
        tokens.push(service.token("user:7", "api").await.access_token);
    }
    // Never remembered, so its signature is verified at each look.
    let signature = tokens[0].rsplit_once('.').unwrap().1;
    let forged = format!("{}.{signature}", tokens[1].rsplit_once('.').unwrap().0);
    let edges = [&JUDGING[..], &ISSUING].concat();
    let mut refusals = Refusals::new();
    let mut open_stream_was_shed = false;
    let mut rounds = 0;
    let is_shed =
        |refusals: &Refusals, edge| refusals.get(&(edge, true)).is_some_and(|told| !told.is_empty());
    // A machine that stalls while it asks lets the thread rest: then it is asked once more.
    while !open_stream_was_shed || !edges.iter().all(|edge| is_shed(&refusals, *edge)) {
        rounds += 1;
        assert!(rounds < 10, "not shed: {:?}", edges.iter().filter(|edge| !is_shed(&refusals, **edge)));
        let mut open = opened(&service).await;
        let (mut crowd, begun) = (JoinSet::new(), Arc::new(Barrier::new(CONNECTIONS)));
        for number in 0..CONNECTIONS {
            let (address, mixed) = (world.server.ready.public.clone(), number < MIXED);
            crowd.spawn(all_at_once(address, forged.clone(), mixed, Arc::clone(&begun)));
        }
        // Messages of a stream that was open before, one by one.
        while !crowd.is_empty() {
            if let Err(status) = open.ask(&forged).await {
                assert!(is_for_now(&status), "{status:?}");
                open_stream_was_shed |= status.message() == jeton::edge::OVERLOADED;
                open = opened(&service).await;
            }
            while let Some(found) = crowd.try_join_next() {
                for (kind, told) in found.unwrap() {
                    refusals.entry(kind).or_default().extend(told);
                }
            }
        }
    }
    let words = |edge: Edge, is_good: bool| {
        let told: Vec<_> = refusals[&(edge, is_good)].iter().cloned().collect();
        <[Told; 1]>::try_from(told).unwrap_or_else(|told| panic!("{edge:?} has several answers: {told:?}"))
    };
    for is_good in [true, false] {
        for group in [&JUDGING[..], &ISSUING] {
            let [first] = words(group[0], is_good);
            let expected = if is_good { "OVERLOADED" } else { "FIELD_REQUIRED" };
            assert!(matches!(&first, Told::Grpc(_, reason, _) if reason == expected), "{first:?}");
            for edge in group.iter().filter(|edge| is_good || **edge != Edge::Check) {
                let [told] = words(*edge, is_good);
                let first = if matches!(told, Told::Http(..)) { first.in_http() } else { first.clone() };
                assert_eq!(told, first, "{edge:?}");
            }
        }
    }
}
