//! A thread that finds the lease held sees, in everything that it looks up after that, what was applied before the
//! lease was adopted: in every order that the memory model allows.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use jeton_ordering::Lease;
use jeton_state::clock::{BootMillis, Moment};
use jeton_token::Revision;
use loom::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

const NOW: i64 = 1_000;

fn now() -> Moment {
    Moment { boot: BootMillis::new(NOW), wall_ahead_ms: 0 }
}

fn revision(number: i64) -> Revision {
    Revision::new(1, number).unwrap()
}

/// A root of one entry. The real one is behind locks that only its own readers and writers share, so
/// nothing may depend on an order that the entry itself makes.
struct Root {
    lease: Lease,
    denied: AtomicBool,
}

impl Root {
    fn new() -> Arc<Self> {
        Arc::new(Self { lease: Lease::new(revision(0)), denied: AtomicBool::new(false) })
    }

    fn apply(&self) {
        self.denied.store(true, Ordering::Relaxed);
    }

    fn is_denied(&self) -> bool {
        self.denied.load(Ordering::Relaxed)
    }
}

/// One thread applies the entry, one adopts a renewal that knows of it, this one answers.
fn race(apply: fn(&Root), answer: fn(&Root)) {
    loom::model(move || {
        let root = Root::new();
        let applier = thread::spawn({
            let root = Arc::clone(&root);
            move || apply(&root)
        });
        let reader = thread::spawn({
            let root = Arc::clone(&root);
            move || answer(&root)
        });
        root.lease.adopt(revision(1), now());
        applier.join().unwrap();
        reader.join().unwrap();
    });
}

fn apply_then_publish(root: &Root) {
    root.apply();
    root.lease.publish(revision(1));
}

fn publish_then_apply(root: &Root) {
    root.lease.publish(revision(1));
    root.apply();
}

fn check_then_look_up(root: &Root) {
    if root.lease.is_held(now()) {
        assert!(root.is_denied(), "answered ACTIVE");
    }
}

fn look_up_then_check(root: &Root) {
    let denied = root.is_denied();
    if root.lease.is_held(now()) {
        assert!(denied, "answered ACTIVE");
    }
}

#[test]
fn whoever_finds_the_lease_held_finds_the_entry() {
    race(apply_then_publish, check_then_look_up);
}

#[test]
#[should_panic(expected = "answered ACTIVE")]
fn an_entry_is_missed_where_it_is_looked_up_before_the_lease() {
    race(apply_then_publish, look_up_then_check);
}

#[test]
#[should_panic(expected = "answered ACTIVE")]
fn an_entry_is_missed_where_it_is_published_before_it_is_applied() {
    race(publish_then_apply, check_then_look_up);
}

#[test]
fn the_lease_is_held_in_the_end_where_the_renewal_came_late_enough() {
    loom::model(|| {
        let root = Root::new();
        let applier = thread::spawn({
            let root = Arc::clone(&root);
            move || apply_then_publish(&root)
        });
        let adopted = root.lease.adopt(revision(1), now());
        applier.join().unwrap();
        assert_eq!(root.lease.is_held(now()), adopted, "the check above is not empty");
        assert!(root.lease.adopt(revision(1), now()));
    });
}

#[test]
fn a_root_that_was_replaced_is_not_revived_by_a_renewal_under_way() {
    loom::model(|| {
        let root = Root::new();
        let renewer = thread::spawn({
            let root = Arc::clone(&root);
            move || root.lease.adopt(revision(0), now())
        });
        root.lease.retire();
        assert!(!root.lease.is_held(now()));
        renewer.join().unwrap();
        assert!(!root.lease.is_held(now()));
    });
}

#[test]
fn a_root_that_was_replaced_is_not_revived_by_a_doubt_under_way() {
    loom::model(|| {
        let root = Root::new();
        assert!(root.lease.adopt(revision(0), now()));
        let doubter = thread::spawn({
            let root = Arc::clone(&root);
            move || {
                root.lease.drop_now();
                root.lease.adopt(revision(0), now())
            }
        });
        root.lease.retire();
        assert!(!root.lease.is_held(now()));
        doubter.join().unwrap();
        assert!(!root.lease.is_held(now()));
        assert!(!root.lease.adopt(revision(0), now()));
    });
}
