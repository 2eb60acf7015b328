//! E5: more calls than a thread has time for. What is cheap is answered, and who asks for little; what costs a signature
//! is refused at once rather than answered too late.

use http::{HeaderName, HeaderValue};
use jeton::proto::v1::{self as pb, TokenStatus, revocation_target::Kind};
use loona_hpack::Decoder;
use prost::Message;
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::world::{
    Api, Refused, World, api_key, framed,
    frames::{DATA, END_STREAM, Frames, HEADERS, WINDOW_UPDATE, frame, headers},
    issue_request, revoke_request, validate_request,
};

/// All of it is asked for at once, on so many connections.
const CONNECTIONS: usize = 56;
/// Fewer than one of so many connections may have in flight.
const CALLS: usize = 250;
/// Fewer than take half a second of CPU time.
const BURST: usize = 200;
/// One in so many calls is not for a token whose signature is to be verified.
const OTHERS: usize = 10;

/// A call, all of it.
fn call(stream: u32, method: &str, message: &impl Message, api_key: &str) -> Vec<u8> {
    let message = message.encode_to_vec();
    let bearer = format!("Bearer {api_key}");
    let head = headers(stream, &format!("/jeton.v1.TokenService/{method}"), &[("authorization", &bearer)], 0);
    let body = framed(0, message.len().try_into().unwrap(), &message);
    [head, frame(DATA, END_STREAM, stream, &body)].concat()
}

/// Makes so many calls at once, and waits until each is answered.
async fn all_at_once(address: String, count: usize, calls: Vec<u8>) {
    let mut frames = Frames::open(&address).await;
    let window = 16_u32 * 1024 * 1024;
    frames.write(&frame(WINDOW_UPDATE, 0, 0, &window.to_be_bytes())).await;
    // It says how much it takes at once.
    frames.until_pong().await;
    frames.write(&calls).await;
    let mut answered = 0;
    let mut decoder = Decoder::new();
    while answered < count {
        let next = frames.next().await.expect("every call is answered");
        assert!(next.error().is_none(), "{next:?}");
        if next.kind == HEADERS {
            let status = status_of(decoder.decode(&next.payload).unwrap());
            if status.as_ref().is_some_and(|status| status.code() == Code::ResourceExhausted) {
                // Nobody is over a rate (E8).
                assert_eq!(Err::<(), _>(status.unwrap()).refused().reason, "OVERLOADED");
            }
        }
        answered += usize::from(next.stream > 0 && next.kind <= 1 && next.flags & END_STREAM != 0);
    }
}

/// The status in these fields, if there is one.
fn status_of(fields: Vec<(Vec<u8>, Vec<u8>)>) -> Option<Status> {
    let named = fields.into_iter().filter_map(|(name, value)| {
        Some((HeaderName::from_bytes(&name).ok()?, HeaderValue::from_bytes(&value).ok()?))
    });
    Status::from_header_map(&named.collect())
}

async fn status(api: &mut Api, token: &str) -> TokenStatus {
    let verdict = api.wide.validate(validate_request(token, &["api"])).await.unwrap().into_inner().verdict;
    verdict.unwrap().status()
}

/// The number of calls of a method that ended with this code.
async fn ended(world: &World, method: &str, code: &str) -> usize {
    let series = format!(
        "rpc_server_call_duration_seconds_count{{rpc_system_name=\"grpc\",\
         rpc_method=\"jeton.v1.TokenService/{method}\",rpc_response_status_code=\"{code}\"}}"
    );
    let (_, text) = world.server.ops("/metrics").await;
    let count = text.lines().find_map(|line| line.strip_prefix(&series)?.trim().parse::<f64>().ok());
    count.unwrap_or_default() as usize
}

/// The numbers of refused calls of each method that may need a signature.
async fn refused(world: &World) -> [usize; 3] {
    let mut refused = [0; 3];
    for (count, method) in refused.iter_mut().zip(["Validate", "BatchValidate", "Issue"]) {
        *count = ended(world, method, "RESOURCE_EXHAUSTED").await;
    }
    refused
}

#[tokio::test]
async fn e5_in_a_crowd_what_is_cheap_is_answered_and_who_asks_for_little() {
    let world = World::start().await;
    let mut modest = world.api("other").await;
    let mut tokens = Vec::new();
    for _ in 0..2 {
        tokens.push(modest.token("user:7", "api").await.access_token);
    }
    let [seen, other] = <[String; 2]>::try_from(tokens).unwrap();
    assert_eq!(status(&mut modest, &seen).await, TokenStatus::Active);
    // Never remembered, so its signature is verified at each look.
    let signature = seen.rsplit_once('.').unwrap().1;
    let forged = format!("{}.{signature}", other.rsplit_once('.').unwrap().0);
    let key = api_key("service");
    let batch = pb::BatchValidateRequest { requests: vec![validate_request(&forged, &["api"]); 9] };
    let issue = issue_request("user:7", &["api"]);
    let session = pb::IssueRequest { refreshable: true, ..issue.clone() };
    let one = |place: usize| {
        let stream = u32::try_from(place * 2 + 1).unwrap();
        match (place / OTHERS % 5, place % OTHERS) {
            (0, 0) => call(stream, "Validate", &validate_request(&seen, &["api"]), &key),
            (1, 0) => call(stream, "BatchValidate", &batch, &key),
            (2, 0) => call(stream, "Issue", &issue, &key),
            (3, 0) => call(stream, "Issue", &session, &key),
            // Each of them another.
            (4, 0) => {
                let id = jeton_token::new_uuid_v7(crate::world::now_s() * 1_000).to_string();
                call(stream, "Revoke", &revoke_request(Kind::Jti(id)), &api_key("admin"))
            }
            _ => call(stream, "Validate", &validate_request(&forged, &["api"]), &key),
        }
    };
    // A burst that comes to an idle thread is answered: work for a tenth of a second.
    let forged_alone = (1..=BURST).map(|place| place * OTHERS + 1).flat_map(one).collect();
    all_at_once(world.server.ready.admin.clone(), BURST, forged_alone).await;
    assert_eq!(refused(&world).await, [0; 3]);

    let (mut rounds, mut answered) = (0, 0);
    // A machine that stalls while it asks lets the thread rest: then it is asked once more.
    while refused(&world).await.contains(&0) {
        rounds += 1;
        assert!(rounds < 10, "there is no crowd");
        let mut crowd = JoinSet::new();
        for _ in 0..CONNECTIONS {
            // The admin listener has one thread, whatever the machine.
            let (address, calls) = (world.server.ready.admin.clone(), (0..CALLS).flat_map(one).collect());
            crowd.spawn(all_at_once(address, CALLS, calls));
        }
        // A client with few calls is answered, whatever they cost.
        while !crowd.is_empty() {
            let unseen = modest.wide.issue(issue.clone()).await.unwrap().into_inner().token.unwrap();
            assert_eq!(status(&mut modest, &unseen.access_token).await, TokenStatus::Active);
            answered += 1;
            while crowd.try_join_next().map(Result::unwrap).is_some() {}
        }
    }

    let of_each = rounds * CONNECTIONS * CALLS / OTHERS / 5;
    let active = world.metric("jeton_validations_total{status=\"ACTIVE\"}").await as usize;
    assert_eq!(
        active,
        of_each + answered + 1,
        "what was seen before is answered: a refusal would cost as much"
    );
    assert_eq!(ended(&world, "Revoke", "OK").await, of_each, "no Revoke is refused");
    assert!(world.server.logged().contains("this thread is overloaded"));
    assert_eq!(status(&mut modest, &forged).await, TokenStatus::BadSignature, "it is over");
}
