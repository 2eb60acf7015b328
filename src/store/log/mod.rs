//! The log: its head, entries, marks, epochs and registrations.

pub(in crate::store) mod append;
pub(in crate::store) mod bulk;
pub(in crate::store) mod change;
pub(in crate::store) mod copy;
pub(in crate::store) mod entries;
pub(in crate::store) mod epoch;
pub(in crate::store) mod held;
pub(in crate::store) mod in_force;
pub(in crate::store) mod lock;
pub(in crate::store) mod mark;
pub(in crate::store) mod number;
pub(in crate::store) mod replica;
