//! Issuing beside a revocation that locks its subject as well. After it has returned, and until the subject is unlocked,
//! nothing of the subject may be ACTIVE, whenever it was issued: the mark hits what came before, the lock keeps anything
//! from coming after, and between both there must be no gap. What the other models show is taken for granted here: a
//! replica with a lease has applied whatever Revoke had returned for.

use stateright::{Model, Property};

use crate::{
    check::PROMISE,
    rule::{Removed, Rule},
};

/// Ticks from the lease check to the end of a token.
const TOKEN_LIFE: u8 = 2;
/// A lease that began before a commit lasts no more ticks than this beyond it.
const LEASE: u8 = 1;
/// Replicas that issue and judge.
const REPLICAS: usize = 2;

/// A configuration of locking.
#[derive(Clone, Debug, Default)]
pub struct Locking {
    pub removed: Removed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Tick,
    CommitFirst,
    CommitSecond,
    ReturnRevoke,
    Unlock,
    Apply(usize),
    TakeLease(usize),
    LoseLease(usize),
    EnterIssue(usize),
    LookForLock,
    AnswerIssue,
    Validate(usize),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Replica {
    applied: u8,
    leased: bool,
}

/// A call of Issue between its lease check and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Issue {
    replica: usize,
    revision: u8,
    age: u8,
    looked: bool,
}

/// An access token that was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Token {
    revision: u8,
    left: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    head: u8,
    /// Ticks until no replica holds a lease that has not applied the head.
    leased_for: u8,
    /// Positions in the log.
    mark: Option<u8>,
    lock: Option<u8>,
    unlocked: Option<u8>,
    returned: bool,
    replicas: [Replica; REPLICAS],
    issue: Option<Issue>,
    token: Option<Token>,
    violated: bool,
}

impl State {
    fn append(&mut self) -> u8 {
        self.head += 1;
        self.leased_for = LEASE;
        self.head
    }

    fn has_applied(&self, replica: usize, position: Option<u8>) -> bool {
        position.is_some_and(|position| self.replicas[replica].applied >= position)
    }

    fn is_locked_at(&self, replica: usize) -> bool {
        self.has_applied(replica, self.lock) && !self.has_applied(replica, self.unlocked)
    }

    fn tick(&mut self) {
        // The rest of old leases: none, if a tick has passed already.
        if self.leased_for == 0 {
            let head = self.head;
            self.replicas.iter_mut().for_each(|replica| replica.leased &= replica.applied == head);
        }
        self.leased_for = self.leased_for.saturating_sub(1);
        if let Some(issue) = &mut self.issue {
            issue.age = (issue.age + 1).min(TOKEN_LIFE);
        }
        self.token = self.token.map(|token| Token { left: token.left - 1, ..token }).filter(|it| it.left > 0);
    }
}

impl Model for Locking {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.violated {
            return;
        }
        actions.push(Action::Tick);
        match (state.mark, state.lock) {
            (None, None) => actions.push(Action::CommitFirst),
            (Some(_), None) | (None, Some(_)) => actions.push(Action::CommitSecond),
            (Some(mark), Some(lock)) => {
                let last = mark.max(lock);
                let everywhere =
                    state.replicas.iter().all(|replica| !replica.leased || replica.applied >= last);
                if !state.returned && everywhere {
                    actions.push(Action::ReturnRevoke);
                }
                if state.returned && state.unlocked.is_none() {
                    actions.push(Action::Unlock);
                }
            }
        }
        for (at, replica) in state.replicas.iter().enumerate() {
            if replica.applied < state.head {
                actions.push(Action::Apply(at));
            }
            if !replica.leased {
                if replica.applied == state.head {
                    actions.push(Action::TakeLease(at));
                }
                continue;
            }
            actions.push(Action::LoseLease(at));
            if state.issue.is_none() {
                actions.push(Action::EnterIssue(at));
            }
            if state.token.is_some() {
                actions.push(Action::Validate(at));
            }
        }
        match state.issue {
            Some(Issue { looked: false, .. }) => actions.push(Action::LookForLock),
            Some(_) => actions.push(Action::AnswerIssue),
            None => {}
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let lock_first = self.removed.keeps(Rule::LockBeforeItsMark);
        match action {
            Action::Tick => state.tick(),
            Action::CommitFirst if lock_first => state.lock = Some(state.append()),
            Action::CommitFirst => state.mark = Some(state.append()),
            Action::CommitSecond if lock_first => state.mark = Some(state.append()),
            Action::CommitSecond => state.lock = Some(state.append()),
            Action::ReturnRevoke => state.returned = true,
            Action::Unlock => state.unlocked = Some(state.append()),
            Action::Apply(at) => state.replicas[at].applied += 1,
            Action::TakeLease(at) => state.replicas[at].leased = true,
            Action::LoseLease(at) => state.replicas[at].leased = false,
            Action::EnterIssue(at) => {
                let revision = state.replicas[at].applied;
                state.issue = Some(Issue { replica: at, revision, age: 0, looked: false });
            }
            Action::LookForLock => {
                let refused = state.issue.is_some_and(|issue| state.is_locked_at(issue.replica));
                let looked = state.issue.map(|issue| Issue { looked: true, ..issue });
                state.issue = looked.filter(|_| !refused);
            }
            Action::AnswerIssue => {
                if let Some(issue) = state.issue.take().filter(|issue| issue.age < TOKEN_LIFE) {
                    let of_lease_check = self.removed.keeps(Rule::SignTheRevisionOfTheLeaseCheck);
                    let now = state.replicas[issue.replica].applied;
                    let revision = if of_lease_check { issue.revision } else { now };
                    state.token = Some(Token { revision, left: TOKEN_LIFE - issue.age });
                }
            }
            Action::Validate(at) => {
                let is_hit = |token: Token| {
                    state.mark.is_some_and(|mark| state.has_applied(at, state.mark) && token.revision < mark)
                };
                let promised = state.returned && state.unlocked.is_none();
                state.violated = promised && state.token.is_some_and(|token| !is_hit(token));
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always(PROMISE, |_, state| !state.violated),
            Property::<Self>::sometimes("a token is issued after the lock has gone", |_, state| {
                let unlocked = state.unlocked.unwrap_or(u8::MAX);
                state.token.is_some_and(|token| token.revision >= unlocked) || state.violated
            }),
        ]
    }
}
