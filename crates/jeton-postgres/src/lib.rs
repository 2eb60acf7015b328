//! A private Postgres server from the machine's own programs, on a Unix socket alone: for `jeton dev`, and for tests.

mod binaries;
mod cluster;
pub mod place;
pub mod process;
mod scratch;

pub use binaries::Binaries;
pub use cluster::{Cluster, ClusterOptions, stop_leftover};
pub use scratch::ScratchCluster;
