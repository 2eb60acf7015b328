//! Connections to Postgres: address, settings, pool, outages, rights.

pub(in crate::store) mod address;
pub(in crate::store) mod connect;
pub(in crate::store) mod outage;
pub(in crate::store) mod own;
pub(in crate::store) mod pool;
pub(in crate::store) mod rights;
