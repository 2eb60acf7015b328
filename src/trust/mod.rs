//! The keys of trusted issuers: fetched in the background, and kept while their source is away. Which issuers are trusted,
//! and where their keys are, comes from the registry alone, never from a request.

mod address;
mod fetch;
mod keys;

pub use fetch::{DOCUMENT_BYTES_MAX, FetchError, Fetcher};
pub use keys::{IssuerKeys, KeysFault, KeysKeeper};
