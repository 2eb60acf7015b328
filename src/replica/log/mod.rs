//! The log: read, appended to, and applied to the root.

pub(in crate::replica) mod feed;
pub(in crate::replica) mod flusher;
pub(in crate::replica) mod load;
pub(in crate::replica) mod own_batch;
pub(in crate::replica) mod read_size;
