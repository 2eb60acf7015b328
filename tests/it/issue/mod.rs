//! Issue: `behaviour.md` I1 to I16, and the policies that rule it.

mod audited;
mod boundary;
mod claims;
mod clock;
pub mod keys;
mod lifetime;
mod lookup;
mod policies;
mod policy_lists;
mod rights;
mod size;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jeton::proto::v1::{self as pb, issue_request::Expiration};
use serde_json::Value;

use crate::world::issue_request;

/// Header and claims as they stand in the token, unverified, as text.
fn texts(token: &str) -> [String; 2] {
    let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
    [parts.next().unwrap(), parts.next().unwrap()].map(|part| String::from_utf8(part).unwrap())
}

/// Header and claims as they stand in the token, unverified.
fn decode(token: &str) -> [Value; 2] {
    texts(token).map(|text| serde_json::from_str(&text).unwrap())
}

/// `exp - iat` of the token; checked against the answer (I5), and the cap (I1).
fn lifetime(token: &pb::IssuedToken) -> i64 {
    let [_, claims] = decode(&token.access_token);
    let (iat, exp) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    let whole = |time: Option<prost_types::Timestamp>| {
        let time = time.expect("a time");
        assert_eq!(time.nanos, 0, "whole seconds (I5)");
        time.seconds
    };
    assert_eq!(whole(token.issue_time), iat, "issue_time is iat (I5)");
    assert_eq!(whole(token.expire_time), exp, "expire_time is exp (I5)");
    let refresh = whole(token.refresh_time);
    assert!(iat <= refresh && refresh < exp, "refresh_time lies within the life (I8)");
    assert!((1..=86_400).contains(&(exp - iat)), "no longer than the cap (I1)");
    exp - iat
}

fn ttl(seconds: i64) -> Expiration {
    Expiration::Ttl(prost_types::Duration { seconds, nanos: 0 })
}

fn at(seconds: i64) -> Expiration {
    Expiration::ExpireTime(prost_types::Timestamp { seconds, nanos: 0 })
}

/// For `user:7`, with this expiration.
fn asking(audiences: &[&str], expiration: Expiration) -> pb::IssueRequest {
    pb::IssueRequest { expiration: Some(expiration), ..issue_request("user:7", audiences) }
}

fn now() -> i64 {
    jeton_state::clock::Clock::system().now_s()
}
