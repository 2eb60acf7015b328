//! Revoke: `behaviour.md` K1 to K7, K9, K10, K22; the log behind it, and what people list of it.

mod answers;
mod bulk;
mod durable;
mod explain;
mod in_force;
mod lists;
mod locks;
mod outcomes;
mod permissions;
mod purge;
mod stress;
mod wide;

use jeton::proto::v1::{self as pb, RevocationOutcome, TokenStatus, revocation_target::Kind};

use crate::world::{Api, revoke_request};

async fn revoke(api: &mut Api, kind: Kind) -> RevocationOutcome {
    api.revoke(kind).await.unwrap().outcome()
}

/// On the admin listener, with a reason.
fn wide_request(kind: Kind) -> pb::RevokeRequest {
    pb::RevokeRequest { reason: pb::RevocationReason::Compromised.into(), ..revoke_request(kind) }
}

async fn is_active(api: &mut Api, token: &str) -> bool {
    api.status(token, "api").await == TokenStatus::Active
}

fn text(token: &pb::IssuedToken) -> Kind {
    Kind::Token(token.access_token.clone())
}

fn refresh_token(token: &pb::IssuedToken) -> &str {
    &token.refresh.as_ref().unwrap().refresh_token
}

/// The place in the log that a text of the wire says.
fn place(revision: &str) -> (i64, i64) {
    let (epoch, seq) = revision.split_once('.').unwrap();
    (epoch.parse().unwrap(), seq.parse().unwrap())
}

const HEAD: &str = "select seq from log_head";
const REVOCATIONS: &str = "select count(*) from revocation";
