//! Immediate revocation under faults: real servers on a real Postgres, whose processes, connections and clocks fail.
//! Each test records what was called and answered, and holds the history to the one promise: when a revocation was
//! answered as complete, no call that starts later, on any replica, is answered ACTIVE for what it hit.
//!
//! `M…` and `N…` name the rule of the protocol without which a test fails.

mod everywhere;
