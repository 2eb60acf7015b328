//! Minting beside a mark: Issue opens a session, Refresh spends its credential, and both wait for the
//! database between the lease check and the signature. What the other model shows is taken for granted here:
//! a replica with a lease has applied whatever Revoke had returned for.

mod state;

use stateright::{Model, Property};

use state::{
    MARK_KEPT, MINT_MAX, Mark, Mint, REPLICAS, Row, Session, Stage, State, append, hand_out, sweep, tick,
};

use crate::{
    check::PROMISE,
    rule::{Removed, Rule},
};

/// When Refresh holds the session against the marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Judges {
    /// By the row, after the statement that spends the credential has returned it.
    #[default]
    AfterSpending,
    /// By the row as an earlier statement returned it.
    BeforeSpending,
}

/// A configuration of minting.
#[derive(Clone, Debug, Default)]
pub struct Minting {
    pub judges: Judges,
    /// Refresh may check the lease again before it judges: the session may be newer than its replica was.
    pub checks_again: bool,
    pub removed: Removed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Tick,
    CommitMark,
    ReturnRevoke,
    Apply(usize),
    TakeLease(usize),
    LoseLease(usize),
    ForgetByClock(usize),
    Sweep,
    RemoveMark,
    EnterIssue(usize),
    InsertSession,
    AnswerIssue,
    EnterRefresh(usize, Session),
    JudgeSession,
    SpendCredential,
    EnterAnew,
    AnswerRefresh { followed: bool },
    Validate(usize),
}

impl Minting {
    fn keeps(&self, rule: Rule) -> bool {
        self.removed.keeps(rule)
    }

    fn in_time(&self, mint: Mint) -> bool {
        mint.age <= MINT_MAX || !self.keeps(Rule::AbandonLateMints)
    }

    /// The revision that is signed.
    fn revision(&self, state: &State, mint: Mint) -> u8 {
        let of_lease_check = self.keeps(Rule::SignTheRevisionOfTheLeaseCheck);
        if of_lease_check { mint.revision } else { state.replicas[mint.replica].applied }
    }

    /// The next steps of a Refresh.
    fn refreshing(&self, mint: Mint) -> Action {
        let answer = Action::AnswerRefresh { followed: true };
        match (self.judges, mint.stage) {
            (Judges::AfterSpending, Stage::Entered) | (Judges::BeforeSpending, Stage::Judged) => {
                Action::SpendCredential
            }
            (Judges::AfterSpending, Stage::Written { .. }) | (Judges::BeforeSpending, Stage::Entered) => {
                Action::JudgeSession
            }
            (_, Stage::Judged | Stage::Written { .. } | Stage::Ready) => answer,
        }
    }

    fn log_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let Mark::At { position } = state.mark else {
            if state.mark == Mark::None {
                actions.push(Action::CommitMark);
            }
            return;
        };
        let everywhere = state.replicas.iter().all(|replica| !replica.leased || replica.applied >= position);
        if !state.returned && everywhere {
            actions.push(Action::ReturnRevoke);
        }
        actions.push(Action::Sweep);
        let over = state.kept_for == 0;
        let may_go = (state.swept || !self.keeps(Rule::SweepBeforeAMarkGoes))
            && (state.under_way_for == 0 || !self.keeps(Rule::OutlastMintsUnderWay));
        if over && may_go && state.returned {
            actions.push(Action::RemoveMark);
        }
        if over && !self.keeps(Rule::RemoveMarksThroughTheLog) {
            actions.extend((0..REPLICAS).map(Action::ForgetByClock));
        }
    }
}

impl Model for Minting {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.violated {
            return;
        }
        actions.push(Action::Tick);
        self.log_actions(state, actions);
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
            if !state.issued {
                actions.push(Action::EnterIssue(at));
            }
            if state.refresh.is_none() {
                actions.push(Action::EnterRefresh(at, Session::Existing));
                if state.new_is_out && state.new_is_hit {
                    actions.push(Action::EnterRefresh(at, Session::New));
                }
            }
            if state.token.is_some() && state.returned {
                actions.push(Action::Validate(at));
            }
        }
        match state.issue.map(|mint| mint.stage) {
            Some(Stage::Entered) => actions.push(Action::InsertSession),
            Some(_) => actions.push(Action::AnswerIssue),
            None => {}
        }
        if let Some((_, mint)) = state.refresh {
            let next = self.refreshing(mint);
            if self.checks_again
                && matches!(mint.stage, Stage::Written { .. })
                && state.replicas[mint.replica].leased
            {
                actions.push(Action::EnterAnew);
            }
            if let Action::AnswerRefresh { .. } = next {
                actions.push(Action::AnswerRefresh { followed: false });
            }
            actions.push(next);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Tick => tick(&mut state),
            Action::CommitMark => {
                append(&mut state);
                state.mark = Mark::At { position: state.head };
                state.kept_for = MARK_KEPT;
            }
            Action::ReturnRevoke => state.returned = true,
            Action::Apply(at) => state.replicas[at].applied += 1,
            Action::TakeLease(at) => state.replicas[at].leased = true,
            Action::LoseLease(at) => state.replicas[at].leased = false,
            Action::ForgetByClock(at) => state.replicas[at].forgot = true,
            Action::Sweep => sweep(&mut state),
            Action::RemoveMark => {
                if let Mark::At { position } = state.mark {
                    append(&mut state);
                    state.mark = Mark::Gone { position, removed: state.head };
                }
            }
            Action::EnterIssue(at) => {
                state.issued = true;
                state.issue = Some(state.enter(at));
                state.new_is_hit = state.mark == Mark::None;
            }
            Action::InsertSession => {
                if let Some(mint) = state.issue {
                    let revision = self.revision(&state, mint);
                    state.new = Row::Open { revision };
                    state.issue = Some(Mint { revision, stage: Stage::Ready, ..mint });
                }
            }
            Action::AnswerIssue => {
                if let Some(mint) = state.issue.take().filter(|mint| self.in_time(*mint)) {
                    state.new_is_out = true;
                    hand_out(&mut state, Session::New, mint.revision, mint.age);
                }
            }
            Action::EnterRefresh(at, session) => state.refresh = Some((session, state.enter(at))),
            Action::JudgeSession => self.judge(&mut state),
            Action::SpendCredential => {
                if let Some((session, mint)) = state.refresh.take()
                    && let Row::Open { revision: opened } = *state.row(session)
                {
                    let is_judged = mint.stage == Stage::Judged;
                    let next = if is_judged { Stage::Ready } else { Stage::Written { opened } };
                    state.refresh = Some((session, Mint { stage: next, ..mint }));
                }
            }
            Action::EnterAnew => {
                if let Some((_, mint)) = &mut state.refresh {
                    mint.revision = last.replicas[mint.replica].applied;
                    if !self.keeps(Rule::CountFromTheFirstLeaseCheck) {
                        mint.age = 0;
                    }
                }
            }
            Action::AnswerRefresh { followed } => {
                if let Some((session, mint)) = state.refresh.take().filter(|(_, mint)| self.in_time(*mint))
                    && followed
                {
                    let revision = self.revision(&state, mint);
                    hand_out(&mut state, session, revision, mint.age);
                }
            }
            Action::Validate(at) => {
                let held = state.held_mark(at);
                if let Some(token) = state.token {
                    state.violated = held.is_none_or(|position| token.revision >= position);
                }
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always(PROMISE, |_, state| !state.violated),
            Property::<Self>::sometimes("a mark goes while a token is in use", |_, state| {
                matches!(state.mark, Mark::Gone { .. }) || state.violated
            }),
        ]
    }
}

impl Minting {
    fn judge(&self, state: &mut State) {
        let Some((session, mint)) = state.refresh else { return };
        let opened = match (mint.stage, *state.row(session)) {
            (Stage::Written { opened }, _) | (_, Row::Open { revision: opened }) => opened,
            (_, Row::Absent | Row::Ended) => {
                state.refresh = None;
                return;
            }
        };
        let held = state.held_mark(mint.replica).filter(|position| opened < *position);
        if held.is_some() && self.keeps(Rule::JudgeSessionsByMarks) {
            *state.row(session) = Row::Ended;
            state.refresh = None;
            return;
        }
        let next = if mint.stage == Stage::Entered { Stage::Judged } else { Stage::Ready };
        state.refresh = Some((session, Mint { stage: next, ..mint }));
    }
}
