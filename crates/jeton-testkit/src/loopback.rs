//! Addresses on loopback.

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicU32, Ordering},
};

/// An address that is used by no other test, neither of this run, nor of one beside it.
pub fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Below 16 are those that single tests choose; above 207 none is used.
    let of_run = 16 + u8::try_from(std::process::id() % 192).unwrap();
    let first = Ipv4Addr::new(127, of_run, 0, 1).to_bits();
    Ipv4Addr::from_bits(first + NEXT.fetch_add(1, Ordering::Relaxed))
}
