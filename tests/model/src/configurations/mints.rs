//! Mints that wait between their lease check and their signature, and marks that come and go meanwhile.

use super::{Configuration, Expected};
use crate::{
    minting::{Judges, Minting},
    rule::{Removed, Rule},
};

pub(super) fn all() -> Vec<Configuration> {
    let holds = |name, what, judges, removed: &[Rule]| {
        let minting = Minting { judges, checks_again: false, removed: Removed::of(removed) };
        Configuration::minting(name, what, Expected::Holds, minting)
    };
    let without = |rules: &[Rule], name, what, judges| {
        let minting = Minting { judges, checks_again: false, removed: Removed::of(rules) };
        Configuration::minting(name, what, Expected::Violated, minting)
    };
    let after = Judges::AfterSpending;
    let before = Judges::BeforeSpending;
    let again = |name, what, expected, removed: &[Rule]| {
        let minting = Minting { judges: after, checks_again: true, removed: Removed::of(removed) };
        Configuration::minting(name, what, expected, minting)
    };
    vec![
        holds("S1", "Issue and Refresh wait while a mark comes and goes", after, &[]),
        holds("S2", "Refresh judges before it spends", before, &[]),
        holds("S3", "the same, a mark need not outlast mints", before, &[Rule::OutlastMintsUnderWay]),
        again("S4", "Refresh may check the lease again before it judges", Expected::Holds, &[]),
        without(
            &[Rule::SignTheRevisionOfTheLeaseCheck],
            "S11",
            "the revision at the signing is signed",
            after,
        ),
        without(
            &[Rule::SignTheRevisionOfTheLeaseCheck],
            "S12",
            "the same, Refresh judges before it spends",
            before,
        ),
        without(&[Rule::AbandonLateMints], "S13", "a mint may end at any time", after),
        without(&[Rule::JudgeSessionsByMarks], "S14", "Refresh does not look at the marks", after),
        without(&[Rule::SweepBeforeAMarkGoes], "S15", "a mark goes when it has ended", after),
        without(&[Rule::RemoveMarksThroughTheLog], "S16", "replicas drop marks by their clocks", after),
        without(&[Rule::OutlastMintsUnderWay], "S17", "a mark goes as soon as every session is swept", after),
        again(
            "S18",
            "a mint's time counts from its second lease check",
            Expected::Violated,
            &[Rule::CountFromTheFirstLeaseCheck],
        ),
    ]
}
