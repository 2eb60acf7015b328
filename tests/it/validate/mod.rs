//! Validate: `behaviour.md` V1 to V11. (V12 is a matter of memory: see the tests of `src/state`.)

mod batch;
mod crafted;
mod fuzz;
mod order;
mod race;
mod revoked;
mod rights;
mod signatures;
mod stream;
mod support;
mod time;
mod wire;
