//! Minting beside a mark: Issue opens a session, Refresh spends its credential, and both wait for the
//! database between the gate and the signature. What the other model shows is taken for granted here:
//! a replica with a lease has applied whatever Revoke had returned for.

use stateright::{Model, Property};

use crate::{
    check::PROMISE,
    rule::{Removed, Rule},
};

/// A mint that ends more ticks than this after its gate is abandoned.
const MINT_MAX: u8 = 1;
/// Ticks from the gate to the end of a token.
const TOKEN_LIFE: u8 = 2;
/// A lease that began before a commit lasts no more ticks than this beyond it.
const LEASE: u8 = 1;
/// Ticks from the mark to its end: beyond every token that it hits.
const MARK_KEPT: u8 = LEASE + TOKEN_LIFE;
const REPLICAS: usize = 2;

/// When Refresh holds the session against the marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Judges {
    /// By what the row says, once the statement that spends the credential has returned it.
    #[default]
    AfterSpending,
    /// By what a statement before that one says of the row.
    BeforeSpending,
}

/// A configuration of minting.
#[derive(Clone, Debug, Default)]
pub struct Minting {
    pub judges: Judges,
    pub removed: Removed,
}

/// A session: one from long before the mark, and one that a call of Issue opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Session {
    Existing,
    New,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Row {
    Absent,
    Open {
        revision: u8,
    },
    /// With a `revoke_time`.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Mark {
    None,
    At { position: u8 },
    Gone { position: u8, removed: u8 },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Replica {
    applied: u8,
    leased: bool,
    /// Has dropped the mark by its own clock.
    forgot: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// Past the gate.
    Entered,
    /// Refresh: by the marks. Issue has nothing to judge.
    Judged,
    /// The row is written, and was read by the same statement.
    Written { opened: u8 },
    /// Both.
    Ready,
}

/// A call of Issue or Refresh between its gate and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Mint {
    replica: usize,
    revision: u8,
    age: u8,
    stage: Stage,
}

/// An access token in somebody's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Token {
    revision: u8,
    left: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    head: u8,
    /// Ticks until nobody holds a lease who has not applied the head.
    leased_for: u8,
    mark: Mark,
    /// Ticks until the mark's end.
    kept_for: u8,
    /// A pass over the sessions, begun after the mark's end, has found nothing left.
    swept: bool,
    /// Ticks until the mints are over that were under way when a session was last swept.
    under_way_for: u8,
    returned: bool,
    replicas: [Replica; REPLICAS],
    existing: Row,
    new: Row,
    /// The new session's gate was passed before the mark was committed: it must be hit.
    new_is_hit: bool,
    /// The new session's credential is in somebody's hands.
    new_is_out: bool,
    issue: Option<Mint>,
    issued: bool,
    refresh: Option<(Session, Mint)>,
    /// One token that the mark must hit, whichever.
    token: Option<Token>,
    violated: bool,
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
    AnswerRefresh { followed: bool },
    Validate(usize),
}

impl State {
    fn row(&mut self, session: Session) -> &mut Row {
        match session {
            Session::Existing => &mut self.existing,
            Session::New => &mut self.new,
        }
    }

    fn is_hit(&self, session: Session) -> bool {
        session == Session::Existing || self.new_is_hit
    }

    /// The position of the mark in a replica's memory.
    fn held_mark(&self, replica: usize) -> Option<u8> {
        let replica = self.replicas[replica];
        match self.mark {
            Mark::At { position } if replica.applied >= position && !replica.forgot => Some(position),
            Mark::Gone { position, removed } => {
                (replica.applied >= position && replica.applied < removed && !replica.forgot)
                    .then_some(position)
            }
            Mark::At { .. } | Mark::None => None,
        }
    }

    fn enter(&self, replica: usize) -> Mint {
        Mint { replica, revision: self.replicas[replica].applied, age: 0, stage: Stage::Entered }
    }
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
        let of_gate = self.keeps(Rule::SignTheRevisionOfTheGate);
        if of_gate { mint.revision } else { state.replicas[mint.replica].applied }
    }

    /// What the next steps of a Refresh are.
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
        vec![State {
            head: 0,
            leased_for: 0,
            mark: Mark::None,
            kept_for: 0,
            swept: false,
            under_way_for: 0,
            returned: false,
            replicas: [Replica::default(); REPLICAS],
            existing: Row::Open { revision: 0 },
            new: Row::Absent,
            new_is_hit: false,
            new_is_out: false,
            issue: None,
            issued: false,
            refresh: None,
            token: None,
            violated: false,
        }]
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

fn append(state: &mut State) {
    state.head += 1;
    state.leased_for = LEASE;
}

fn tick(state: &mut State) {
    // What is left of the leases behind: none, where a tick has passed already.
    if state.leased_for == 0 {
        let head = state.head;
        state.replicas.iter_mut().for_each(|replica| replica.leased &= replica.applied == head);
    }
    state.leased_for = state.leased_for.saturating_sub(1);
    state.kept_for = state.kept_for.saturating_sub(1);
    state.under_way_for = state.under_way_for.saturating_sub(1);
    let refresh = state.refresh.as_mut().map(|(_, mint)| mint);
    for mint in state.issue.as_mut().into_iter().chain(refresh) {
        mint.age = (mint.age + 1).min(TOKEN_LIFE);
    }
    if let Some(token) = &mut state.token {
        token.left -= 1;
        if token.left == 0 {
            state.token = None;
        }
    }
}

/// Ends the sessions that the mark hits.
fn sweep(state: &mut State) {
    let Mark::At { position } = state.mark else { return };
    let mut found = false;
    for row in [&mut state.existing, &mut state.new] {
        if matches!(row, Row::Open { revision } if *revision < position) {
            *row = Row::Ended;
            found = true;
        }
    }
    if found {
        state.under_way_for = MINT_MAX + 1;
    } else if state.kept_for == 0 {
        state.swept = true;
    }
}

fn hand_out(state: &mut State, session: Session, revision: u8, age: u8) {
    if state.is_hit(session) && age < TOKEN_LIFE {
        state.token = Some(Token { revision, left: TOKEN_LIFE - age });
    }
}
