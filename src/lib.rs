//! jeton: a token authority for fleets of services. `ARCHITECTURE.md` is the map.

pub mod proto;
