//! The possible next actions.

use super::{
    state::{Renewal, Replica, Revision, Revoke, Stage, State, TICKS_BETWEEN_MISSED},
    world::{Clocks, World},
};
use crate::rule::Rule;

/// A step of an actor. Numbers are indices of the state's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Time goes on, but for the clocks of these replicas.
    Tick {
        missed_by: u8,
    },

    ReadRegistrationsEarly(usize),
    DrawNumber(usize),
    Commit(usize),
    ReadRegistrations(usize),
    Return(usize),

    ReadHeadEarly(usize),
    Register(usize),
    SendRenewal(usize),
    ReadHead(usize),
    ExecuteRenewal(usize),
    LoseRenewal(usize),
    AdoptRenewal(usize),
    Apply(usize),
    Acknowledge(usize),
    LearnStable(usize),
    Reap(usize),
    Leave(usize),

    BeginLoading(usize),
    SwapRoots(usize),
    ClearRoot(usize),

    BeginEpoch(usize),
    MoveOn(usize),
    Settle(usize),

    CrashReplica(usize),
    CrashDatabase,
    FailOver {
        commit_lost: bool,
        registrations_lost: bool,
    },
    StepDatabaseClock,

    StartCall {
        replica: usize,
        token: u8,
    },
    CheckLease,
    LookUp,
    Answer,
    AskDatabase,
}

/// Collects every step that can be taken.
pub fn enabled(world: &World, state: &State, actions: &mut Vec<Action>) {
    time(world, state, actions);
    for revoke in 0..state.revokes.len() {
        revoker(world, state, revoke, actions);
    }
    for replica in 0..world.replicas {
        lease(world, state, replica, actions);
        follower(world, state, replica, actions);
        epoch(world, state, replica, actions);
    }
    mishaps(world, state, actions);
    call(world, state, actions);
}

fn time(world: &World, state: &State, actions: &mut Vec<Action>) {
    let runs = |replica: &Replica| {
        replica.root.lease > 0
            || replica.unsettled_for > 0
            || replica.renewal.age().is_some_and(|age| age < world.lease)
    };
    let timed = |revoke: &Revoke| matches!(revoke, Revoke::Committed { timer, .. } | Revoke::Waiting { timer, .. } if *timer > 0);
    let former_root = state.call.as_ref().and_then(|call| call.former_root);
    let ticks = state.database.fresh_for > 0
        || state.replicas.iter().any(runs)
        || state.revokes.iter().any(timed)
        || state.database.registrations.iter().any(|row| row.present && row.silent_for > 0)
        || former_root.is_some_and(|root| root.lease > 0);
    if !ticks {
        return;
    }
    actions.push(Action::Tick { missed_by: 0 });
    if world.clocks == Clocks::Even {
        return;
    }
    let may_miss = |replica: usize| {
        world.clocks == Clocks::Freezing || state.replicas[replica].since_missed >= TICKS_BETWEEN_MISSED
    };
    for missed_by in 1_u8..(1 << world.replicas) {
        if (0..world.replicas).all(|replica| missed_by & (1 << replica) == 0 || may_miss(replica)) {
            actions.push(Action::Tick { missed_by });
        }
    }
}

fn revoker(world: &World, state: &State, at: usize, actions: &mut Vec<Action>) {
    let database = &state.database;
    match &state.revokes[at] {
        Revoke::Idle => {
            let is_retry = at > 0 && world.revokes[at] == world.revokes[0];
            if is_retry && state.revokes[0] == Revoke::Idle {
                return;
            }
            if !world.keeps(Rule::ReadRegistrationsAfterTheCommit) {
                actions.push(Action::ReadRegistrationsEarly(at));
            } else if !world.keeps(Rule::NumberInCommitOrder) {
                actions.push(Action::DrawNumber(at));
            } else if may_append(world, state, at) {
                actions.push(Action::Commit(at));
            }
        }
        Revoke::ReadEarly { .. } | Revoke::Numbered { .. } => actions.push(Action::Commit(at)),
        Revoke::Committed { revision, timer } => {
            if state.registrations_count(world, *revision) {
                actions.push(Action::ReadRegistrations(at));
            }
            if *timer == 0 {
                actions.push(Action::Return(at));
            }
        }
        Revoke::Waiting { revision, timer, awaited } => {
            let gone = |row: &super::state::Registration| {
                !row.present
                    || row.acknowledged >= *revision
                    || (!world.keeps(Rule::TrustLocalClocksOnly) && row.silent_for == 0)
            };
            let rows = database.registrations.iter().enumerate();
            let all_gone = rows.into_iter().all(|(place, row)| awaited & (1 << place) == 0 || gone(row));
            let believed = all_gone
                && state.registrations_count(world, *revision)
                && !waits_in_full(world, state, world.home(at), *revision);
            if *timer == 0 || believed || !world.keeps(Rule::WaitForLeases) {
                actions.push(Action::Return(at));
            }
        }
        Revoke::Returned | Revoke::Failed => {}
    }
}

/// Every append compares the timeline, and its revision with what its replica has applied.
fn may_append(world: &World, state: &State, at: usize) -> bool {
    let applied = state.replicas[world.home(at)].root.applied;
    state.database.same_log && (!world.keeps(Rule::BeginANewEpoch) || state.database.head >= applied)
}

/// In an epoch that neither this replica nor any other has known for long.
fn waits_in_full(world: &World, state: &State, replica: usize, revision: Revision) -> bool {
    let replica = &state.replicas[replica];
    let known_for_long = replica.epoch == revision.epoch && replica.unsettled_for == 0;
    world.keeps(Rule::WaitInFullInAFreshEpoch) && !known_for_long && !state.database.settled
}

fn lease(world: &World, state: &State, at: usize, actions: &mut Vec<Action>) {
    let replica = &state.replicas[at];
    let row = &state.database.registrations[state.row(world, at)];
    let registered = row.present && row.epoch == replica.epoch;
    if !registered && state.is_in_its_epoch(at) {
        if world.keeps(Rule::RegisterBeforeReadingTheHead) || replica.early_head.is_some() {
            actions.push(Action::Register(at));
        } else {
            actions.push(Action::ReadHeadEarly(at));
        }
    }
    if registered && state.mishaps.leaves > 0 {
        actions.push(Action::Leave(at));
    }
    match replica.renewal {
        Renewal::None => {
            if registered && replica.root.lease < world.lease {
                actions.push(Action::SendRenewal(at));
            }
            return;
        }
        Renewal::Sent { .. } if world.renewals_in_two_steps => actions.push(Action::ReadHead(at)),
        Renewal::Sent { .. } | Renewal::HeadRead { .. } => actions.push(Action::ExecuteRenewal(at)),
        Renewal::Replied { head, .. } => {
            if may_adopt(world, replica.root.applied, head) {
                actions.push(Action::AdoptRenewal(at));
            }
        }
    }
    actions.push(Action::LoseRenewal(at));
}

fn may_adopt(world: &World, applied: Revision, head: Revision) -> bool {
    if !world.keeps(Rule::AdoptOnlyWhatIsApplied) {
        return true;
    }
    if !world.keeps(Rule::AdoptOnlyInItsEpoch) {
        return applied.number >= head.number;
    }
    applied >= head && (applied.epoch == head.epoch || world.leases_outlive_epochs)
}

fn follower(world: &World, state: &State, at: usize, actions: &mut Vec<Action>) {
    let replica = &state.replicas[at];
    let database = &state.database;
    let row = &database.registrations[state.row(world, at)];
    let follows = state.is_in_its_epoch(at);
    if follows && database.entries.iter().any(|entry| entry.revision > replica.root.applied) {
        actions.push(Action::Apply(at));
    }
    let applied =
        if world.keeps(Rule::AcknowledgeAfterApplying) { replica.root.applied } else { database.head };
    if follows && row.present && row.epoch == replica.epoch && row.acknowledged < applied {
        actions.push(Action::Acknowledge(at));
    }
    if world.revoked_waits_for_barrier && !replica.stable.contains_all(state.returned) {
        actions.push(Action::LearnStable(at));
    }
    if state.mishaps.loads > 0 {
        if !world.keeps(Rule::NeverClearARoot) {
            actions.push(Action::ClearRoot(at));
        } else if follows && replica.next_root.is_none() {
            actions.push(Action::BeginLoading(at));
        }
    }
    if let Some(next) = replica.next_root
        && follows
        && (next.applied >= replica.root.applied || !world.keeps(Rule::ReplaceByNothingOlder))
    {
        actions.push(Action::SwapRoots(at));
    }
}

fn epoch(world: &World, state: &State, at: usize, actions: &mut Vec<Action>) {
    let replica = &state.replicas[at];
    let database = &state.database;
    if !world.keeps(Rule::BeginANewEpoch) {
        return;
    }
    let is_stored = replica.epoch == database.head.epoch;
    let is_lost = !database.same_log || replica.root.applied > database.head;
    // Without compare-and-set it begins the epoch that it decided upon before another one began.
    let decided_before = !world.keeps(Rule::BeginByCompareAndSet) && replica.epoch < database.head.epoch;
    let may_begin = replica.joined || !world.keeps(Rule::BeginWithStateOnly);
    if may_begin && ((is_stored && is_lost) || decided_before) {
        actions.push(Action::BeginEpoch(at));
    }
    let is_settled = database.settled || (world.starters_lose_patience && database.fresh_for == 0);
    let may_join = replica.joined || is_settled || !world.keeps(Rule::JoinASettledEpoch);
    if database.same_log && replica.epoch < database.head.epoch && may_join {
        actions.push(Action::MoveOn(at));
    }
    if !database.settled && state.is_in_its_epoch(at) && replica.joined && replica.unsettled_for == 0 {
        actions.push(Action::Settle(at));
    }
}

fn mishaps(world: &World, state: &State, actions: &mut Vec<Action>) {
    for (at, replica) in state.replicas.iter().enumerate() {
        if state.mishaps.crashes > 0 && replica.restarts < world.mishaps.crashes {
            actions.push(Action::CrashReplica(at));
        }
    }
    for (place, row) in state.database.registrations.iter().enumerate() {
        if row.present && row.silent_for == 0 {
            actions.push(Action::Reap(place));
        }
    }
    if state.mishaps.database_crashes > 0 {
        actions.push(Action::CrashDatabase);
    }
    if state.mishaps.failovers > 0 && state.database.same_log {
        let may_lose = |possible: bool| if possible { &[false, true][..] } else { &[false][..] };
        for commit_lost in may_lose(world.loss.commit && !state.database.entries.is_empty()) {
            for registrations_lost in may_lose(world.loss.registrations) {
                actions.push(Action::FailOver {
                    commit_lost: *commit_lost,
                    registrations_lost: *registrations_lost,
                });
            }
        }
    }
    if state.mishaps.clock_steps > 0 {
        actions.push(Action::StepDatabaseClock);
    }
}

fn call(world: &World, state: &State, actions: &mut Vec<Action>) {
    let Some(call) = &state.call else {
        let tokens = world.revokes.iter().max().map_or(0, |last| last + 1);
        // A call that began before Revoke returned is promised nothing.
        let matters =
            |token: &u8| world.witnesses || world.promises_what_was_seen() || state.is_promised(*token);
        for replica in 0..world.replicas {
            for token in (0..tokens).filter(matters) {
                actions.push(Action::StartCall { replica, token });
            }
        }
        return;
    };
    match call.stage {
        Stage::Started => {
            let checks_first = world.keeps(Rule::CheckBeforeLookingUp);
            actions.push(if checks_first { Action::CheckLease } else { Action::LookUp });
            if world.calls_ask_database {
                actions.push(Action::AskDatabase);
            }
        }
        Stage::Joined => {}
        Stage::Checked => actions.push(Action::LookUp),
        Stage::LookedUp { .. } => actions.push(Action::Answer),
    }
}
