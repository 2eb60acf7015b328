//! The code around the lease in jeton, without its atomics.

#[path = "../../../crates/jeton-state/src/lease.rs"]
#[expect(clippy::must_use_candidate, reason = "as jeton says it, where this lint sees no public item")]
mod lease;

pub use lease::Lease;

mod atomic {
    pub(super) use loom::sync::atomic::Ordering;

    /// loom's atomics, except for `store`. loom does not know that nothing comes between the two halves of a
    /// read-modify-write: one that read the value from before a racing store may be the later of the two. Modelled as a
    /// swap, a store has its place in the order.
    #[derive(Debug)]
    pub(super) struct AtomicI64(loom::sync::atomic::AtomicI64);

    impl AtomicI64 {
        pub(super) fn new(value: i64) -> Self {
            Self(loom::sync::atomic::AtomicI64::new(value))
        }

        pub(super) fn load(&self, order: Ordering) -> i64 {
            self.0.load(order)
        }

        pub(super) fn store(&self, value: i64, order: Ordering) {
            self.0.swap(value, order);
        }

        pub(super) fn fetch_max(&self, value: i64, order: Ordering) -> i64 {
            self.0.fetch_max(value, order)
        }

        pub(super) fn fetch_update(
            &self,
            set_order: Ordering,
            fetch_order: Ordering,
            change: impl FnMut(i64) -> Option<i64>,
        ) -> Result<i64, i64> {
            self.0.fetch_update(set_order, fetch_order, change)
        }
    }
}
