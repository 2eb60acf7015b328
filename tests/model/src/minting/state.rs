//! The state of the model of minting, and the effect of time.

/// A mint that ends more ticks than this after its lease check is abandoned.
pub const MINT_MAX: u8 = 1;
/// Ticks from the lease check to the end of a token.
pub const TOKEN_LIFE: u8 = 2;
/// A lease that began before a commit lasts no more ticks than this beyond it.
const LEASE: u8 = 1;
/// Ticks from the mark to its end: beyond every token that it hits.
pub const MARK_KEPT: u8 = LEASE + TOKEN_LIFE;
/// Replicas that mint and judge.
pub const REPLICAS: usize = 2;

/// A session: one from long before the mark, and one that a call of Issue opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Session {
    Existing,
    New,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Row {
    Absent,
    Open {
        revision: u8,
    },
    /// With a `revoke_time`.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mark {
    None,
    At { position: u8 },
    Gone { position: u8, removed: u8 },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Replica {
    pub applied: u8,
    pub leased: bool,
    /// Has dropped the mark by its own clock.
    pub forgot: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The lease was checked.
    Entered,
    /// Refresh: by the marks. Issue has nothing to judge.
    Judged,
    /// The row is written, and was read by the same statement.
    Written { opened: u8 },
    /// Both.
    Ready,
}

/// A call of Issue or Refresh between its lease check and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mint {
    pub replica: usize,
    pub revision: u8,
    pub age: u8,
    pub stage: Stage,
}

/// An access token that was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    pub revision: u8,
    pub left: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub head: u8,
    /// Ticks until no replica holds a lease that has not applied the head.
    pub leased_for: u8,
    pub mark: Mark,
    /// Ticks until the mark's end.
    pub kept_for: u8,
    /// A pass over the sessions, begun after the mark's end, has found nothing left.
    pub swept: bool,
    /// Ticks until the mints are over that were under way when a session was last swept.
    pub under_way_for: u8,
    pub returned: bool,
    pub replicas: [Replica; REPLICAS],
    pub existing: Row,
    pub new: Row,
    /// The new session's lease check came before the mark was committed: the mark must hit the session.
    pub new_is_hit: bool,
    /// The new session's credential was handed out.
    pub new_is_out: bool,
    pub issue: Option<Mint>,
    pub issued: bool,
    pub refresh: Option<(Session, Mint)>,
    /// One token that the mark must hit, whichever.
    pub token: Option<Token>,
    pub violated: bool,
}

impl State {
    /// The beginning.
    pub fn new() -> Self {
        Self {
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
        }
    }

    pub fn row(&mut self, session: Session) -> &mut Row {
        match session {
            Session::Existing => &mut self.existing,
            Session::New => &mut self.new,
        }
    }

    pub fn is_hit(&self, session: Session) -> bool {
        session == Session::Existing || self.new_is_hit
    }

    /// The position of the mark in a replica's memory.
    pub fn held_mark(&self, replica: usize) -> Option<u8> {
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

    pub fn enter(&self, replica: usize) -> Mint {
        Mint { replica, revision: self.replicas[replica].applied, age: 0, stage: Stage::Entered }
    }
}

/// The log grows by one.
pub fn append(state: &mut State) {
    state.head += 1;
    state.leased_for = LEASE;
}

/// Time goes on.
pub fn tick(state: &mut State) {
    // The rest of old leases: none, if a tick has passed already.
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
pub fn sweep(state: &mut State) {
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

/// A token is answered.
pub fn hand_out(state: &mut State, session: Session, revision: u8, age: u8) {
    if state.is_hit(session) && age < TOKEN_LIFE {
        state.token = Some(Token { revision, left: TOKEN_LIFE - age });
    }
}
