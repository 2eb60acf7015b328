//! Every configuration that takes seconds, and every rule.

#![expect(clippy::print_stderr, reason = "a trace is read by whoever sees the test fail")]

use std::collections::BTreeSet;

use jeton_model::{configurations::all, rule::Rule};

#[test]
fn every_small_configuration_comes_out_as_expected() {
    let mut differing = Vec::new();
    for configuration in all().iter().filter(|configuration| configuration.small) {
        let outcome = configuration.explore();
        if !configuration.is_met_by(&outcome) {
            eprintln!("{}: {}", configuration.name, outcome.trace.join(", "));
            differing.push((configuration.name, configuration.what, outcome.unseen));
        }
    }
    assert!(differing.is_empty(), "{differing:?}");
}

#[test]
fn each_rule_is_missed_by_a_small_configuration_that_does_without_it() {
    let missed = |rule: &&Rule| {
        all().iter().any(|configuration| configuration.small && configuration.shows_the_need_of(**rule))
    };
    let idle: Vec<_> = Rule::ALL.iter().filter(|rule| !missed(rule)).collect();
    assert!(idle.is_empty(), "{idle:?}");
}

#[test]
fn configurations_have_names_of_their_own() {
    let names: BTreeSet<_> = all().iter().map(|configuration| configuration.name).collect();
    assert_eq!(names.len(), all().len());
}
