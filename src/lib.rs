//! jeton: a token authority for fleets of services. `ARCHITECTURE.md` is the map.

pub mod args;
pub mod authority;
pub mod dev;
pub mod edge;
pub mod http;
pub mod listen;
pub mod mint;
pub mod observe;
pub mod operate;
pub mod prober;
pub mod process;
pub mod proto;
pub mod replica;
pub mod rpc;
pub mod serve;
pub mod state;
pub mod store;
pub mod tls;
pub mod trust;
