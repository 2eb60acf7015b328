//! The carry-over into epochs: one setting (a policy, the rights of a client, an API key, or a key's revocation) that
//! operators restrict step by step, tables that lose the latest steps, and replicas that hold them, some of which stood
//! still meanwhile. The results of the log's model are assumed: a replica that answers has applied everything that was
//! answered in its epoch.

mod state;

use stateright::{Model, Property};

use state::{Replica, Row, State, in_effect};

use crate::{
    check::PROMISE,
    rule::{Removed, Rule},
};

/// An operator's change of the setting. Each makes it stricter: the lower, the stricter; 1 if nothing is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    Write(u8),
    Remove,
}

/// A configuration of what epochs carry over.
#[derive(Clone, Debug)]
pub struct Carrying {
    pub replicas: usize,
    /// The initial setting.
    pub begins_with: Option<u8>,
    pub acts: Vec<Act>,
    /// Acts that a failover may take away.
    pub loss: usize,
    /// Epochs that are begun.
    pub epochs: u8,
    /// Replicas that crash and start again.
    pub crashes: u8,
    /// Epochs that are begun by force.
    pub forces: u8,
    /// It is the revocation of a key, which memory holds twice: as a mark, and as the key's state.
    pub is_key: bool,
    pub removed: Removed,
}

impl Default for Carrying {
    fn default() -> Self {
        Self {
            replicas: 2,
            begins_with: Some(2),
            acts: vec![Act::Remove],
            loss: 0,
            epochs: 1,
            crashes: 0,
            forces: 0,
            is_key: false,
            removed: Removed::default(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Act,
    Answer,
    /// The change is not answered as done.
    Refuse,
    /// The lease of a replica ends: it stands still.
    Pause(usize),
    /// It reads the log to its end, and renews.
    Apply(usize),
    /// An operator begins an epoch.
    Bump,
    FailOver {
        lost: usize,
    },
    BeginEpoch(usize),
    CarryOver(usize),
    Crash(usize),
    /// A replica without state loads.
    Load(usize),
    /// The state that it has loaded is of no use.
    Drop(usize),
    Register(usize),
    /// Somebody who can write to the database begins an epoch, with an older row.
    Force,
}

impl Carrying {
    fn keeps(&self, rule: Rule) -> bool {
        self.removed.keeps(rule)
    }

    fn log_actions(&self, state: &State, actions: &mut Vec<Action>) {
        if let Some((revision, _)) = state.waiting {
            let is_there = state.tables.same_log && state.tables.head.0 == revision.0;
            let may_answer = is_there || !self.keeps(Rule::AnswerInTheEpochOfTheCommit);
            if may_answer && state.is_applied_by_all(revision) {
                actions.push(Action::Answer);
            }
            actions.push(Action::Refuse);
        } else if state.next < self.acts.len() && state.tables.same_log {
            actions.push(Action::Act);
        }
        if state.forces_left > 0 && state.waiting.is_none() && state.tables.same_log {
            actions.push(Action::Force);
        }
        if state.epochs_left > 0 && state.tables.same_log {
            actions.push(Action::Bump);
            actions.extend((0..=self.loss.min(state.done.len())).map(|lost| Action::FailOver { lost }));
        }
    }

    fn replica_actions(&self, state: &State, at: usize, actions: &mut Vec<Action>) {
        let replica = &state.replicas[at];
        if !replica.joined && replica.loaded {
            if state.is_current(at) {
                actions.push(Action::Register(at));
            } else if self.keeps(Rule::RegisterBeforeCarryingOver) {
                actions.push(Action::Drop(at));
            } else if state.tables.same_log {
                actions.push(Action::CarryOver(at));
            }
            return;
        }
        if !replica.joined {
            let carried = state.tables.carried || !self.keeps(Rule::StartWhereCarriedOver);
            if state.is_settled() && carried {
                actions.push(Action::Load(at));
            }
            return;
        }
        if state.crashes_left > 0 {
            actions.push(Action::Crash(at));
        }
        if replica.serving {
            actions.push(Action::Pause(at));
        }
        if !state.tables.same_log {
            actions.push(Action::BeginEpoch(at));
        } else if !state.is_current(at) {
            actions.push(Action::CarryOver(at));
        } else if !replica.serving || replica.applied < state.tables.head {
            actions.push(Action::Apply(at));
        }
    }

    /// Writes back the parts of the replica's state that the tables lack, and makes it follow the epoch.
    fn carry_over(&self, state: &mut State, at: usize) {
        let Replica { applied, row: held, seen, .. } = state.replicas[at];
        let stored = state.tables.row;
        let as_old_as = |state: &mut State, as_of| {
            let now = state.advance();
            if self.keeps(Rule::CarriedOverIsNoNews) { as_of } else { now }
        };
        match (held, stored) {
            // Written after what this replica has read.
            (_, Some(stored))
                if stored.as_of > applied && (stored.version > seen || !self.keeps(Rule::SeenIsNoNews)) => {}
            (Some(lost), None) => {
                let was_removed_later = state.tables.removed.is_some_and(|removed| removed > applied);
                if !was_removed_later || !self.keeps(Rule::RemovedLaterIsNews) {
                    let as_of = as_old_as(state, lost.as_of);
                    let version = state.make_version();
                    state.tables.row = Some(Row { as_of, version, ..lost });
                }
            }
            (held, Some(stored)) if in_effect(held) < stored.level => {
                if self.is_key && !self.keeps(Rule::CarryOverOnce) {
                    // The same mark twice in one statement, which fails: this replica stays where it is.
                    return;
                }
                if self.keeps(Rule::CarryOverReductions) {
                    let known = held.map_or(applied, |held| held.as_of);
                    let as_of = as_old_as(state, known.max(stored.as_of));
                    let version = state.make_version();
                    state.tables.row = held.map(|held| Row { as_of, version, ..held });
                    if held.is_none() {
                        state.tables.removed = Some(as_of);
                    }
                }
            }
            (_, None | Some(_)) => {}
        }
        state.tables.carried = true;
        state.replicas[at] = state.replicas[at].read(&state.tables);
    }

    fn begin_epoch(state: &mut State) {
        state.tables.head = (state.tables.head.0 + 1, 0);
        state.tables.same_log = true;
        state.done.clear();
    }
}

impl Model for Carrying {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self.replicas, self.begins_with, [self.epochs, self.crashes, self.forces])]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.violated {
            return;
        }
        self.log_actions(state, actions);
        for at in 0..self.replicas {
            self.replica_actions(state, at, actions);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Act => state.act(self.acts[last.next]),
            Action::Answer => state.answer(),
            Action::Refuse => state.waiting = None,
            Action::Pause(at) => state.replicas[at].serving = false,
            Action::Apply(at) => state.replicas[at] = last.replicas[at].read(&last.tables),
            Action::Load(at) => {
                state.replicas[at] = Replica { joined: false, serving: false, ..Replica::of(&last.tables) };
            }
            Action::Drop(at) => state.replicas[at] = Replica::gone(),
            Action::Register(at) => state.replicas[at].joined = true,
            Action::Force => {
                if !state.force() {
                    return None;
                }
            }
            Action::Bump => {
                state.epochs_left -= 1;
                Self::begin_epoch(&mut state);
                // By this the operator vouches for the contents of the tables.
                state.tables.carried = true;
            }
            Action::FailOver { lost } => {
                state.epochs_left -= 1;
                state.lose(lost);
                state.tables.same_log = false;
            }
            Action::BeginEpoch(_) => {
                Self::begin_epoch(&mut state);
                state.tables.carried = false;
            }
            Action::CarryOver(at) => self.carry_over(&mut state, at),
            Action::Crash(at) => state.crash(at),
        }
        state.judge();
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always(PROMISE, |_, state| !state.violated),
            Property::<Self>::sometimes(
                "every replica answers in a later epoch, under what was answered",
                |model, state| {
                    state.replicas.iter().all(|replica| replica.serving && replica.applied.0 > 1)
                        && state.next == model.acts.len()
                        && in_effect(state.tables.row) == state.promised
                },
            ),
        ]
    }
}
