//! The keys of the issuer: opened, published, activated and rotated.

pub(in crate::replica) mod change;
pub(in crate::replica) mod opening;
pub(in crate::replica) mod rotation;
