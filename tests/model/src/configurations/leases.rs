//! Leases and barriers.

use super::{Configuration, Expected};
use crate::{
    log::{Clocks, Promise},
    rule::Rule,
};

pub(super) fn all() -> Vec<Configuration> {
    [specified(), without_a_rule(), linearizable()].concat()
}

fn specified() -> Vec<Configuration> {
    vec![
        Configuration::holds("H1", "a replica crashes and joins again", |w| w.mishaps.crashes = 1),
        Configuration::holds("H2", "a retry of Revoke, the database crashes", |w| {
            w.revokes = vec![0, 0];
            w.mishaps.database_crashes = 1;
        }),
        Configuration::holds("H3", "2 tokens, the database crashes, calls may ask it", |w| {
            w.revokes = vec![0, 1];
            w.mishaps.database_crashes = 1;
            w.calls_ask_database = true;
        })
        .large(),
        Configuration::holds("H4", "clocks miss one tick of three, the wait allows for it", |w| {
            w.clocks = Clocks::Slow;
            w.lease = 2;
            w.wait = 3;
        })
        .large(),
        Configuration::holds("H5", "3 replicas", |w| w.replicas = 3).large(),
        Configuration::holds("H6", "2 tokens, a replica crashes and joins again", |w| {
            w.revokes = vec![0, 1];
            w.mishaps.crashes = 1;
        })
        .large(),
        Configuration::holds("H7", "leases of two ticks, a replica crashes and joins again", |w| {
            w.lease = 2;
            w.wait = 2;
            w.mishaps.crashes = 1;
        })
        .large(),
        Configuration::holds("H8", "the database's clock decides, and never steps", |w| {
            w.mishaps.crashes = 1;
        })
        .though_without(Rule::TrustLocalClocksOnly),
        Configuration::holds("H9", "3 replicas, a retry of Revoke", |w| {
            w.replicas = 3;
            w.revokes = vec![0, 0];
        })
        .large(),
        Configuration::holds("H10", "a clock stands still, and its replica notices", |w| {
            w.clocks = Clocks::Freezing;
            w.lease = 2;
            w.wait = 3;
        })
        .large(),
        Configuration::holds("H11", "1 replica, clocks miss one tick of three", |w| {
            w.replicas = 1;
            w.clocks = Clocks::Slow;
            w.lease = 2;
            w.wait = 3;
        }),
        Configuration::holds("H12", "1 replica, a clock stands still, and it notices", |w| {
            w.replicas = 1;
            w.clocks = Clocks::Freezing;
            w.lease = 2;
            w.wait = 3;
        }),
        Configuration::holds("H13", "a replica leaves and comes back", |w| w.mishaps.leaves = 1),
        Configuration::holds("N1", "renewals read the head before they write, a replica crashes", |w| {
            w.renewals_in_two_steps = true;
            w.mishaps.crashes = 1;
        }),
        Configuration::holds("N2", "the same, a retry of Revoke, the database crashes", |w| {
            w.renewals_in_two_steps = true;
            w.revokes = vec![0, 0];
            w.mishaps.database_crashes = 1;
        })
        .large(),
        Configuration::holds("W1", "everything that should happen can happen", |w| {
            w.mishaps.crashes = 1;
            w.witnesses = true;
        })
        .large(),
    ]
}

fn without_a_rule() -> Vec<Configuration> {
    vec![
        Configuration::without(Rule::CheckTheLease, "M1", "no look at the lease", |_| {}),
        Configuration::without(Rule::WaitForLeases, "M2", "Revoke returns at once", |_| {}),
        Configuration::without(Rule::NumberInCommitOrder, "M3", "a sequence numbers the log", |w| {
            w.replicas = 1;
            w.revokes = vec![0, 1];
        }),
        Configuration::without(
            Rule::RegisterBeforeReadingTheHead,
            "M4",
            "a joiner reads the head, then registers",
            |_| {},
        ),
        Configuration::without(Rule::RetriesWaitToo, "M5", "a retry of Revoke returns at once", |w| {
            w.revokes = vec![0, 0];
        }),
        Configuration::without(Rule::CheckBeforeLookingUp, "M6", "looks up, then looks at the lease", |_| {}),
        Configuration::without(
            Rule::CountFromBeforeSending,
            "M7",
            "a lease counts from the renewal's reply",
            |_| {},
        ),
        Configuration::without(
            Rule::AdoptOnlyWhatIsApplied,
            "M8",
            "a renewal is adopted before its head is applied",
            |_| {},
        ),
        Configuration::without(Rule::WaitOutSlowClocks, "M9", "the wait is as long as the lease", |w| {
            w.replicas = 1;
            w.clocks = Clocks::Slow;
            w.lease = 2;
            w.wait = 3;
        }),
        Configuration::without(Rule::NoticeAFrozenClock, "M10", "a clock stands still unnoticed", |w| {
            w.replicas = 1;
            w.clocks = Clocks::Freezing;
            w.lease = 2;
            w.wait = 3;
        }),
        Configuration::without(
            Rule::LogRegistrations,
            "M11",
            "registrations are gone after a crash of the database",
            |w| w.mishaps.database_crashes = 1,
        ),
        Configuration::without(
            Rule::TrustLocalClocksOnly,
            "M12",
            "the database's clock decides, and steps",
            |w| w.mishaps.clock_steps = 1,
        ),
        Configuration::without(
            Rule::ReadRegistrationsAfterTheCommit,
            "M14",
            "the registrations are read before the commit",
            |_| {},
        ),
        Configuration::without(Rule::RenewByAWrite, "M15", "a stale server answers renewals", |_| {}),
        Configuration::without(
            Rule::AcknowledgeAfterApplying,
            "M16",
            "positions are acknowledged on receipt",
            |_| {},
        ),
        Configuration::without(
            Rule::RegisterUnderAFreshId,
            "M17",
            "a renewal of the former registration is adopted",
            |w| {
                w.renewals_in_two_steps = true;
                w.lease = 2;
                w.wait = 2;
            },
        ),
        Configuration::without(
            Rule::EndTheLeaseBeforeLeaving,
            "M18",
            "a replica leaves under a lease",
            |w| w.mishaps.leaves = 1,
        ),
    ]
}

fn linearizable() -> Vec<Configuration> {
    let stronger = |name, what, expected, change| Configuration::log(name, what, expected, change);
    vec![
        stronger("L1", "more than is promised: no ACTIVE after a REVOKED", Expected::Violated, |w| {
            w.promise = Promise::AfterRevokedWasSeen;
        }),
        stronger("L2", "the same, REVOKED waits for the barrier", Expected::Holds, |w| {
            w.promise = Promise::AfterRevokedWasSeen;
            w.revoked_waits_for_barrier = true;
        }),
    ]
}
