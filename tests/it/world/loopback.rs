//! Addresses on loopback.

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicU32, Ordering},
};

/// An address that nobody else calls from, or listens on.
pub fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 5, 0, 1).to_bits() + NEXT.fetch_add(1, Ordering::Relaxed))
}
