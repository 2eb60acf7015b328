//! The lease: when it is held, and what ends it.

use jeton_token::Revision;

use crate::{
    Lease,
    clock::{BootMillis, Moment},
};

fn at(boot_ms: i64) -> Moment {
    Moment { boot: BootMillis::new(boot_ms), wall_ahead_ms: 0 }
}

fn revision(number: i64) -> Revision {
    Revision::new(1, number).unwrap()
}

#[test]
fn e3_a_lease_is_held_for_2_7_s_from_before_the_renewal_was_sent() {
    let lease = Lease::new(revision(0));
    assert!(!lease.is_held(at(1_000)), "not before the first renewal");
    assert!(lease.adopt(revision(0), at(1_000)));
    assert!(lease.is_held(at(3_699)));
    assert!(!lease.is_held(at(3_700)));
    assert_eq!(lease.left_ms(at(3_000)), 700);
    assert_eq!(lease.left_ms(at(4_000)), 0);
}

#[test]
fn a_renewal_is_not_adopted_before_its_head_is_applied() {
    let lease = Lease::new(revision(4));
    assert!(!lease.adopt(revision(5), at(1_000)));
    assert!(!lease.is_held(at(1_000)));
    lease.publish(revision(5));
    assert!(lease.adopt(revision(5), at(1_000)));
    assert!(lease.is_held(at(1_000)));
}

#[test]
fn a_renewal_of_another_epoch_is_not_adopted() {
    let lease = Lease::new(Revision::new(2, 0).unwrap());
    assert!(!lease.adopt(revision(5), at(1_000)));
}

#[test]
fn an_earlier_renewal_never_shortens_nor_prolongs() {
    let lease = Lease::new(revision(0));
    assert!(lease.adopt(revision(0), at(2_000)));
    assert!(lease.adopt(revision(0), at(1_000)));
    assert!(lease.is_held(at(4_699)));
    assert!(!lease.is_held(at(4_700)));
}

#[test]
fn a_root_that_was_replaced_gets_no_lease() {
    let lease = Lease::new(revision(0));
    assert!(lease.adopt(revision(0), at(1_000)));
    lease.retire();
    assert!(!lease.is_held(at(1_000)));
    lease.drop_now();
    assert!(!lease.adopt(revision(0), at(1_000)), "for good");
    assert!(!lease.is_held(at(1_000)));
}

#[test]
fn a_dropped_lease_comes_back_with_the_next_renewal() {
    let lease = Lease::new(revision(0));
    assert!(lease.adopt(revision(0), at(1_000)));
    lease.drop_now();
    assert!(!lease.is_held(at(1_000)));
    assert!(lease.adopt(revision(0), at(1_100)));
    assert!(lease.is_held(at(1_100)));
}

#[test]
fn a_machine_that_was_frozen_holds_no_lease_until_it_has_renewed() {
    let lease = Lease::new(revision(0));
    assert!(lease.adopt(revision(0), at(1_000)));
    let frozen = |ms| Moment { boot: BootMillis::new(1_500), wall_ahead_ms: ms };
    assert!(lease.is_held(frozen(100)));
    assert!(!lease.is_held(frozen(101)));
    assert!(lease.is_held(frozen(-5_000)), "a wall clock that was put back says nothing");
    assert!(lease.adopt(revision(0), frozen(101)));
    assert!(lease.is_held(frozen(101)));
}
