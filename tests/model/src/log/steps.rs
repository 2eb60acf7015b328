//! The effect of each step on time and on the actors.

use super::{
    actions::Action,
    state::{Database, Registration, Replica, Revision, Revoke, State, TICKS_BETWEEN_MISSED, Tokens},
    state::{Renewal, Root, Witnessed},
    world::{Clocks, World},
};
use crate::rule::Rule;

impl State {
    /// The beginning: an empty log, and replicas that have not registered.
    pub fn new(world: &World) -> Self {
        let registrations = vec![Registration::NONE; world.replicas * world.registrations_each()];
        Self {
            database: Database {
                head: Revision::FIRST,
                entries: Vec::new(),
                next_number: 1,
                same_log: true,
                settled: true,
                fresh_for: 0,
                registrations,
            },
            replicas: vec![Replica::started(0); world.replicas],
            revokes: vec![Revoke::Idle; world.revokes.len()],
            call: None,
            returned: Tokens::NONE,
            lost: Tokens::NONE,
            seen: Tokens::NONE,
            violated: false,
            inverted: false,
            mishaps: world.mishaps,
            witnessed: Witnessed::default(),
        }
    }

    /// The place of a replica's registration.
    pub fn row(&self, world: &World, replica: usize) -> usize {
        replica * world.registrations_each() + usize::from(self.replicas[replica].restarts)
    }

    /// Returns whether the database is in the log and the epoch that this replica follows.
    pub fn is_in_its_epoch(&self, replica: usize) -> bool {
        self.database.same_log && self.database.head.epoch == self.replicas[replica].epoch
    }

    /// Returns whether the registrations tell anything about an append at this revision.
    pub fn registrations_count(&self, world: &World, revision: Revision) -> bool {
        !world.keeps(Rule::ReadRegistrationsOfTheSameLog)
            || (self.database.same_log && self.database.head.epoch == revision.epoch)
    }

    /// Returns whether no call that begins now may be answered ACTIVE.
    pub fn is_promised(&self, token: u8) -> bool {
        self.returned.has(token) && !self.lost.has(token)
    }
}

/// Takes one step.
pub fn take(world: &World, state: &mut State, action: Action) {
    match action {
        Action::Tick { missed_by } => tick(world, state, missed_by),

        Action::ReadRegistrationsEarly(at) => state.read_registrations_early(at),
        Action::DrawNumber(at) => state.draw_number(at),
        Action::Commit(at) => state.commit(world, at),
        Action::ReadRegistrations(at) => state.read_registrations(at),
        Action::Return(at) => state.return_revoke(world, at),

        Action::ReadHeadEarly(at) => state.replicas[at].early_head = Some(state.database.head),
        Action::Register(at) => register(world, state, at),
        Action::SendRenewal(at) => state.replicas[at].renewal = Renewal::Sent { age: 0 },
        Action::ReadHead(at) => {
            if let Renewal::Sent { age } = state.replicas[at].renewal {
                state.replicas[at].renewal = Renewal::HeadRead { age, head: state.database.head };
            }
        }
        Action::ExecuteRenewal(at) => execute_renewal(world, state, at),
        Action::LoseRenewal(at) => state.replicas[at].renewal = Renewal::None,
        Action::AdoptRenewal(at) => adopt_renewal(world, state, at),
        Action::Apply(at) => apply(state, at),
        Action::Acknowledge(at) => {
            let row = state.row(world, at);
            let applied = state.replicas[at].root.applied;
            let after_applying = world.keeps(Rule::AcknowledgeAfterApplying);
            state.database.registrations[row].acknowledged =
                if after_applying { applied } else { state.database.head };
        }
        Action::LearnStable(at) => state.replicas[at].stable = state.returned,
        Action::Reap(place) => state.database.registrations[place] = Registration::NONE,

        Action::Leave(at) => leave(world, state, at),

        Action::BeginLoading(at) => {
            state.mishaps.loads -= 1;
            state.replicas[at].next_root = Some(state.database.load());
        }
        Action::SwapRoots(at) => {
            if let Some(next) = state.replicas[at].next_root.take() {
                state.swap_root(at, next);
            }
        }
        Action::ClearRoot(at) => {
            state.mishaps.loads -= 1;
            state.replicas[at].root = Root::EMPTY;
        }

        Action::BeginEpoch(at) => state.begin_epoch(world, at),
        Action::MoveOn(at) => state.move_on(world, at),
        Action::Settle(_) => state.database.settled = true,

        Action::CrashReplica(at) => crash_replica(world, state, at),
        Action::CrashDatabase => {
            state.mishaps.database_crashes -= 1;
            state.lose_statements();
            if !world.keeps(Rule::LogRegistrations) {
                state.database.registrations.fill(Registration::NONE);
            }
        }
        Action::FailOver { commit_lost, registrations_lost } => {
            state.fail_over(world, commit_lost, registrations_lost);
        }
        Action::StepDatabaseClock => {
            state.mishaps.clock_steps -= 1;
            state.database.registrations.iter_mut().for_each(|row| row.silent_for = 0);
        }

        Action::StartCall { replica, token } => state.start_call(replica, token),
        Action::CheckLease => state.check_lease(world),
        Action::LookUp => state.look_up(world),
        Action::Answer => state.answer(world),
        Action::AskDatabase => state.ask_database(world),
    }
}

fn count_down(timer: &mut u8) {
    *timer = timer.saturating_sub(1);
}

fn tick(world: &World, state: &mut State, missed_by: u8) {
    count_down(&mut state.database.fresh_for);
    for (at, replica) in state.replicas.iter_mut().enumerate() {
        // As a revoker it keeps time in any case.
        count_down(&mut replica.unsettled_for);
        if missed_by & (1 << at) != 0 {
            let frozen = replica.since_missed < TICKS_BETWEEN_MISSED;
            replica.since_missed = 0;
            if frozen && world.keeps(Rule::NoticeAFrozenClock) {
                replica.root.lease = 0;
                replica.renewal = Renewal::None;
            }
            continue;
        }
        if world.clocks != Clocks::Even && replica.since_missed < TICKS_BETWEEN_MISSED {
            replica.since_missed += 1;
        }
        count_down(&mut replica.root.lease);
        if let Some(age) = replica.renewal.age_mut() {
            *age = (*age + 1).min(world.lease);
        }
        // Replies that are too old are dropped: fewer states.
        if let Renewal::Replied { age, .. } = replica.renewal
            && age >= world.lease
            && world.keeps(Rule::CountFromBeforeSending)
        {
            replica.renewal = Renewal::None;
        }
    }
    if let Some(root) = state.call.as_mut().and_then(|call| call.former_root.as_mut()) {
        count_down(&mut root.lease);
    }
    state.database.registrations.iter_mut().for_each(|row| count_down(&mut row.silent_for));
    for revoke in &mut state.revokes {
        if let Revoke::Committed { timer, .. } | Revoke::Waiting { timer, .. } = revoke {
            count_down(timer);
        }
    }
}

fn register(world: &World, state: &mut State, at: usize) {
    let row = state.row(world, at);
    let replica = &mut state.replicas[at];
    state.database.registrations[row] = Registration {
        present: true,
        epoch: replica.epoch,
        acknowledged: replica.root.applied,
        silent_for: world.wait_ticks(),
    };
    replica.joined = true;
    if world.keeps(Rule::RegisterUnderAFreshId) {
        replica.renewal = Renewal::None;
    }
    if let Some(head) = replica.early_head.take()
        && replica.renewal == Renewal::None
    {
        replica.renewal = Renewal::Replied { age: 0, head };
    }
}

fn leave(world: &World, state: &mut State, at: usize) {
    state.mishaps.leaves -= 1;
    let row = state.row(world, at);
    state.database.registrations[row] = Registration::NONE;
    if world.keeps(Rule::EndTheLeaseBeforeLeaving) {
        let replica = &mut state.replicas[at];
        replica.root.lease = 0;
        replica.renewal = Renewal::None;
    }
}

fn execute_renewal(world: &World, state: &mut State, at: usize) {
    let place = state.row(world, at);
    let (age, head) = match state.replicas[at].renewal {
        Renewal::Sent { age } => (age, state.database.head),
        Renewal::HeadRead { age, head } => (age, head),
        Renewal::None | Renewal::Replied { .. } => return,
    };
    let head = if world.keeps(Rule::RenewByAWrite) { head } else { Revision::FIRST };
    let row = &mut state.database.registrations[place];
    let mut says_something = row.present && state.database.same_log;
    if world.keeps(Rule::AdoptOnlyInItsEpoch) && world.keeps(Rule::RenewByAWrite) {
        says_something &= row.epoch == head.epoch;
    }
    if row.present {
        row.silent_for = world.wait_ticks();
    }
    state.replicas[at].renewal = if says_something { Renewal::Replied { age, head } } else { Renewal::None };
}

fn adopt_renewal(world: &World, state: &mut State, at: usize) {
    let Renewal::Replied { age, .. } = state.replicas[at].renewal else { return };
    let counts_from_sending = world.keeps(Rule::CountFromBeforeSending);
    let left = if counts_from_sending { world.lease.saturating_sub(age) } else { world.lease };
    let replica = &mut state.replicas[at];
    replica.root.lease = replica.root.lease.max(left);
    replica.renewal = Renewal::None;
    state.go_on_with_call(world, at, left);
}

fn apply(state: &mut State, at: usize) {
    let root = &mut state.replicas[at].root;
    let unread = state.database.entries.iter().filter(|entry| entry.revision > root.applied);
    if let Some(entry) = unread.min_by_key(|entry| entry.revision) {
        root.applied = entry.revision;
        root.denied.add(entry.token);
    }
}

fn crash_replica(world: &World, state: &mut State, at: usize) {
    state.mishaps.crashes -= 1;
    state.replicas[at] = Replica::started(state.replicas[at].restarts + 1);
    for (place, revoke) in state.revokes.iter_mut().enumerate() {
        if world.home(place) == at && !matches!(revoke, Revoke::Idle | Revoke::Returned) {
            *revoke = Revoke::Failed;
        }
    }
    if state.call.as_ref().is_some_and(|call| usize::from(call.replica) == at) {
        state.call = None;
    }
}
