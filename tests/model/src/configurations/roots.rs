//! Roots that are replaced under the calls that hold them.

use super::Configuration;
use crate::rule::Rule;

pub(super) fn all() -> Vec<Configuration> {
    vec![
        Configuration::holds("R1", "a root is loaded again during a call", |w| w.mishaps.loads = 1),
        Configuration::holds("R2", "the same, calls join renewals", |w| {
            w.mishaps.loads = 1;
            w.calls_join = true;
        }),
        Configuration::holds("R3", "the same, a replica crashes and joins again", |w| {
            w.mishaps.loads = 1;
            w.mishaps.crashes = 1;
            w.calls_join = true;
        })
        .large(),
        Configuration::without(Rule::NeverClearARoot, "N3", "a root is cleared in place", |w| {
            w.mishaps.loads = 1;
        }),
        Configuration::without(
            Rule::ReplaceByNothingOlder,
            "N5",
            "a root is replaced by one of an older snapshot",
            |w| w.mishaps.loads = 1,
        ),
        Configuration::without(
            Rule::LeaseOneRoot,
            "N6",
            "what the next root adopts revives the former one",
            |w| w.mishaps.loads = 1,
        ),
        Configuration::without(
            Rule::TakeTheRootAgain,
            "N7",
            "a call keeps its root while it waits for a renewal",
            |w| {
                w.mishaps.loads = 1;
                w.calls_join = true;
            },
        ),
    ]
}
