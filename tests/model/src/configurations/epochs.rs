//! Failovers and epochs.

use super::{Configuration, Expected};
use crate::{
    log::{Loss, Promise},
    rule::Rule,
};

const COMMIT: Loss = Loss { commit: true, registrations: false, silent: false };
const REGISTRATIONS: Loss = Loss { commit: false, registrations: true, silent: false };
const BOTH: Loss = Loss { commit: true, registrations: true, silent: false };

pub(super) fn all() -> Vec<Configuration> {
    [specified(), without_a_rule(), beyond()].concat()
}

fn specified() -> Vec<Configuration> {
    vec![
        Configuration::holds("E1", "a failover that loses nothing", |w| w.mishaps.failovers = 1),
        Configuration::holds("E2", "a failover that may lose commit and registrations", |w| {
            w.mishaps.failovers = 1;
            w.loss = BOTH;
        }),
        Configuration::holds("E3", "the same, a retry of Revoke", |w| {
            w.mishaps.failovers = 1;
            w.loss = BOTH;
            w.revokes = vec![0, 0];
        })
        .large(),
        Configuration::holds("E4", "the same, 2 tokens", |w| {
            w.mishaps.failovers = 1;
            w.loss = BOTH;
            w.revokes = vec![0, 1];
        })
        .large(),
        Configuration::holds("E5", "a loss, a replica crashes and joins again", |w| {
            w.mishaps.failovers = 1;
            w.mishaps.crashes = 1;
            w.loss = BOTH;
        })
        .large(),
        Configuration::holds("E6", "leases and renewals are carried over into the epoch", |w| {
            w.mishaps.failovers = 1;
            w.loss = BOTH;
            w.leases_outlive_epochs = true;
        }),
        Configuration::holds("W2", "everything that should happen can happen", |w| {
            w.mishaps.failovers = 1;
            w.loss = COMMIT;
            w.witnesses = true;
        })
        .large(),
    ]
}

fn without_a_rule() -> Vec<Configuration> {
    vec![
        Configuration::without(Rule::BeginANewEpoch, "M13", "a failover loses a commit", |w| {
            w.mishaps.failovers = 1;
            w.mishaps.crashes = 1;
            w.loss = COMMIT;
        }),
        Configuration::without(Rule::BeginANewEpoch, "N4", "a number of the log is used again", |w| {
            w.mishaps.failovers = 1;
            w.loss = COMMIT;
            w.revokes = vec![0, 1];
        })
        .large(),
        Configuration::without(Rule::BeginByCompareAndSet, "E11", "two replicas begin the same epoch", |w| {
            w.mishaps.failovers = 1;
        }),
        Configuration::without(
            Rule::BeginWithStateOnly,
            "E12",
            "a replica that has just started begins an epoch",
            |w| {
                w.mishaps.failovers = 1;
                w.loss = COMMIT;
            },
        ),
        Configuration::without(Rule::AppendAgain, "E13", "what the tables lack is not appended again", |w| {
            w.mishaps.failovers = 1;
            w.loss = COMMIT;
        }),
        Configuration::without(
            Rule::JoinASettledEpoch,
            "E14",
            "a replica that has just started joins before others have appended again",
            |w| {
                w.mishaps.failovers = 1;
                w.loss = COMMIT;
            },
        ),
        Configuration::without(
            Rule::AdoptOnlyInItsEpoch,
            "E15",
            "the former root adopts a renewal of the new epoch",
            |w| w.mishaps.failovers = 1,
        ),
        Configuration::without(
            Rule::WaitInFullInAFreshEpoch,
            "E16",
            "Revoke believes restored registrations",
            |w| {
                w.mishaps.failovers = 1;
                w.loss = REGISTRATIONS;
            },
        ),
        Configuration::without(
            Rule::ReadRegistrationsOfTheSameLog,
            "E17",
            "a barrier goes on across a failover",
            |w| {
                w.mishaps.failovers = 1;
                w.loss = REGISTRATIONS;
            },
        ),
    ]
}

/// Things that are not promised, as `docs` say.
fn beyond() -> Vec<Configuration> {
    vec![
        Configuration::log(
            "X1",
            "not promised: what a failover loses and not every replica held",
            Expected::Violated,
            |w| {
                w.mishaps.failovers = 1;
                w.loss = COMMIT;
                w.promise = Promise::DespiteLoss;
            },
        ),
        Configuration::log(
            "X3",
            "not promised: what is appended again later than a replica that starts will wait",
            Expected::Violated,
            |w| {
                w.mishaps.failovers = 1;
                w.loss = COMMIT;
                w.starters_lose_patience = true;
            },
        ),
        Configuration::log(
            "X2",
            "not promised: a disk put back under the log, unseen by its timeline",
            Expected::Violated,
            |w| {
                w.mishaps.failovers = 1;
                w.loss = Loss { silent: true, ..COMMIT };
            },
        ),
    ]
}
