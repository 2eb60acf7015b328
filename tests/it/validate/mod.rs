//! Validate: `behaviour.md` V1 to V11. (V12 is a matter of memory: see the tests of `crates/jeton-state`.)

mod ahead;
mod batch;
mod claims;
mod fuzz;
mod headers;
mod order;
mod outage;
mod payloads;
mod race;
mod revoked;
mod rights;
mod signatures;
mod stream;
mod support;
mod texts;
mod time;
mod wire;
