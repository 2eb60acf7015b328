//! Signing keys: wire ↔ domain.

use crate::{
    authority::{Invalid, KeyPage, RotateRequest, Rotated},
    proto::v1 as pb,
    replica::life,
    rpc::convert::{timestamp, whole_seconds},
    state::KeyState,
    store::{Forged, MacKeyRow, SigningKeyRow},
};
use jeton_token::Algorithm;

pub(in crate::rpc) fn rotate_request(request: &pb::RotateKeyRequest) -> Result<RotateRequest, Invalid> {
    let algorithm = match request.algorithm.as_str() {
        "" => Algorithm::Es256,
        name => name.parse().map_err(|_| Invalid::field("algorithm", "ES256 or EdDSA"))?,
    };
    let lead = request.publication_lead.map(|lead| whole_seconds("publication_lead", lead));
    Ok(RotateRequest { algorithm, lead_s: lead.transpose()?, emergency: request.emergency })
}

pub(in crate::rpc) fn page(page: KeyPage) -> pb::ListKeysResponse {
    let refused = |row: MacKeyRow| pb::RefusedMacKey { key_id: row.name(), refused: why(row.refused) };
    pb::ListKeysResponse {
        keys: page.keys.into_iter().map(key).collect(),
        next_page_token: page.next_page_token,
        refused_mac_keys: page.refused_macs.into_iter().map(refused).collect(),
    }
}

fn why(refused: Option<Forged>) -> String {
    refused.map_or_else(String::new, |why| why.to_string())
}

pub(in crate::rpc) fn rotated(rotated: Rotated) -> pb::RotateKeyResponse {
    pb::RotateKeyResponse { key: Some(key(rotated.key)), replaced_key: rotated.replaced.map(key) }
}

pub(in crate::rpc) fn key(row: SigningKeyRow) -> pb::Key {
    let times = row.times;
    let state = match life(&times, row.revoke_time.is_some()).state {
        KeyState::Pending => pb::key::State::Pending,
        KeyState::Active => pb::key::State::Active,
        KeyState::Retired => pb::key::State::Retired,
        KeyState::Revoked => pb::key::State::Revoked,
    };
    pb::Key {
        key_id: row.key_id,
        algorithm: row.algorithm.as_str().to_owned(),
        state: state.into(),
        create_time: Some(timestamp(times.create_time)),
        activate_time: Some(timestamp(times.signing_time.unwrap_or(times.activate_time))),
        expire_time: times.expire_time.map(timestamp),
        public_jwk: row.public_jwk,
        refused: why(row.refused),
    }
}
