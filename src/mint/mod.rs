//! What only the issuer does with tokens: decides lifetimes, makes and opens refresh tokens, imports and seals private
//! keys, and authenticates rows and audit chains under the master key.
//!
//! Pure functions and types, as in `jeton-token`: time comes in as an argument.

pub mod boundary;
pub mod chain;
pub mod import;
pub mod lifetime;
pub mod refresh;
pub mod row_mac;
pub mod seal;

#[cfg(test)]
mod tests;

pub use boundary::DailyBoundary;
pub use chain::ChainKeys;
pub use import::{ImportError, import_pem};
pub use lifetime::{
    Ask, Basis, Excess, Lifetime, LifetimeError, LifetimeTerms, decide as decide_lifetime, refresh_time,
};
pub use refresh::{MacKey, ParsedRefresh, RefreshToken, SessionSecret};
pub use row_mac::{RowFields, RowKeys};
pub use seal::{MasterKey, Purpose, WrongMasterKey};
