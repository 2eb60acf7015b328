//! The replicas of a fleet: leases, registrations, the barrier, epochs.

pub(in crate::replica) mod agreement;
pub(in crate::replica) mod alarm;
pub(in crate::replica) mod barrier;
pub(in crate::replica) mod epoch;
pub(in crate::replica) mod everywhere;
pub(in crate::replica) mod fleet;
pub(in crate::replica) mod lease;
