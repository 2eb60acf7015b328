//! The audit trail: its rows, chains and checkpoints.

pub(in crate::store) mod chain;
pub(in crate::store) mod checkpoint;
pub(in crate::store) mod rows;
pub(in crate::store) mod trail;
pub(in crate::store) mod trail_row;
