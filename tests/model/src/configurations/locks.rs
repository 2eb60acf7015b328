//! Revocations that lock their subject as well, beside calls that issue for it.

use super::{Configuration, Expected};
use crate::{
    locking::Locking,
    rule::{Removed, Rule},
};

pub(super) fn all() -> Vec<Configuration> {
    let locks = |name, what, expected, removed: &[Rule]| {
        Configuration::locking(name, what, expected, Locking { removed: Removed::of(removed) })
    };
    let broken = Expected::Violated;
    vec![
        locks("K1", "Issue goes on while a subject is revoked, locked and unlocked", Expected::Holds, &[]),
        locks("K11", "the lock comes after the mark", broken, &[Rule::LockBeforeItsMark]),
        locks(
            "K12",
            "the revision at the signing is signed",
            broken,
            &[Rule::SignTheRevisionOfTheLeaseCheck],
        ),
    ]
}
