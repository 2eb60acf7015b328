//! The tokens that others signed: assertions of trusted issuers and of clients (RFC 7523, SPIFFE JWT-SVIDs, OpenID
//! Connect), the key sets that verify them, the rules that map them to clients, and DPoP proofs (RFC 9449).
//!
//! Pure functions and types: nothing here uses gRPC, SQL, a runtime, a network or a clock. Keys and time come in as
//! arguments. `jsonwebtoken` verifies signatures; the form of a token, its header and its claims are judged here.

pub mod algorithm;
pub mod assertion;
mod claims;
pub mod discovery;
pub mod dpop;
mod jws;
pub mod key;
pub mod key_fault;
pub mod keys;
pub mod limits;
pub mod refused;
pub mod rules;
pub mod typ;
pub mod uri;

#[cfg(test)]
mod tests;

pub use algorithm::{Algorithm, Family};
pub use assertion::{Assertion, Audience, Expectation, Issuer, Unverified};
pub use discovery::{Discovery, DiscoveryError};
pub use dpop::{Proof, ProofExpectation};
pub use key::PublicKey;
pub use key_fault::KeyFault;
pub use keys::{KeySet, KeySetError, Skipped};
pub use refused::{Part, Refused};
pub use rules::{Condition, Explained, Match, Outcome, Rule, RuleFault, Rules, RulesError, Test};
pub use typ::Typ;
pub use uri::HttpUri;
