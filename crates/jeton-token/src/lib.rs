//! The access tokens of jeton: claims, strict compact JWS, keys, signing and verifying, and the outer forms of refresh
//! tokens and API keys.
//!
//! Pure functions and types: nothing here uses gRPC, SQL, a runtime or a clock. Time comes in as an argument. Of
//! `jsonwebtoken` only the types that read a public JWK are used; `aws-lc-rs` signs and verifies.

pub mod actor;
pub mod algorithm;
pub mod api_key;
pub mod base64url;
pub mod claims;
pub mod credential;
pub mod custom;
pub mod digest;
pub mod ids;
pub mod json;
pub mod jwk;
pub mod jws;
pub mod key;
pub mod limits;
pub mod malformed;
pub mod pasted;
pub mod pkcs8;
pub mod random;
pub mod refresh_form;
pub mod revision;
pub mod spiffe;
pub mod text;
pub mod thumbprint;
pub mod time;
mod verified;
pub mod verify;

#[cfg(test)]
mod tests;

pub use actor::{ACTORS_MAX, Actor};
pub use algorithm::Algorithm;
pub use api_key::{ApiKey, PREFIX as API_KEY_PREFIX, hash_eq, is_id as is_api_key_id, named_id};
pub use claims::Claims;
pub use credential::{first_beginning, holds_credential, may_hold_credential};
pub use custom::{CustomClaimError, check_custom, number};
pub use digest::sha256;
pub use ids::{chance_of, least_uuid_v7, new_uuid_v7, random_bytes};
pub use jws::{RawToken, inspect_unverified};
pub use key::{KeyError, MintError, SigningKey, largest_claim};
pub use limits::{LIFETIME_CAP_S, TOKEN_BYTES_MAX};
pub use malformed::Malformed;
pub use refresh_form::looks_like_refresh_token;
pub use revision::{EPOCH_END, Revision};
pub use spiffe::SpiffeId;
pub use text::{parse_uuid_v7, uuid_time, uuid_unix_ms};
pub use thumbprint::Thumbprint;
pub use time::UnixSeconds;
pub use verified::Verified;
pub use verify::{Rejected, VerifyingKey, jwks};
