//! Spends refresh tokens: presentations that arrive while statements are under way go together into the next one. A few
//! statements run at once, so that a lone presentation is sent at once. No two of them contain the same session: one
//! would wait for the other's commit, with everything in it.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    time::Duration,
};

use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    task::{JoinError, JoinHandle, JoinSet},
    time::{sleep, timeout},
};
use uuid::Uuid;

use crate::{
    replica::QueueFull,
    store::{Advance, OwnConnection, Presented, Store, StoreError, Task},
};

/// The interval of checking an idle connection.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// Statements under way at once. More would only make each of them smaller.
const CONNECTIONS: usize = 4;
/// The most sessions of one statement: some milliseconds.
const BATCH_MAX: usize = 256;
/// The most presentations that may wait: with more, callers are refused, rather than wait for nothing.
const QUEUE_MAX: usize = 20_000;
/// No caller waits longer: a later mint is abandoned. A token that was not sent by then is not spent.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// A handle of the one refreshing task of a replica.
#[derive(Clone)]
pub struct Refresher {
    queue: mpsc::Sender<Item>,
}

struct Item {
    presented: Presented,
    reply: oneshot::Sender<Advance>,
}

impl Refresher {
    /// Connects, and starts the task. It ends when the last handle is dropped, with its queue empty.
    pub async fn start(store: &Store) -> Result<(Self, JoinHandle<()>), StoreError> {
        let (queue, items) = mpsc::channel(QUEUE_MAX);
        let mut idle = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut connection = store.connection_of(Task::Refresh);
            connection.open().await?;
            idle.push(connection);
        }
        let dispatch = Dispatch {
            idle,
            ready: VecDeque::new(),
            behind: HashMap::new(),
            waiting: 0,
            under_way: JoinSet::new(),
        };
        Ok((Self { queue }, tokio::spawn(dispatch.run(items))))
    }

    /// Spends one refresh token. If the database is out of reach, it may have been spent.
    pub async fn advance(&self, presented: Presented) -> Result<Advance, QueueFull> {
        let (reply, done) = oneshot::channel();
        match self.queue.try_send(Item { presented, reply }) {
            Err(TrySendError::Full(_)) => return Err(QueueFull),
            Err(TrySendError::Closed(_)) => return Ok(Err(StoreError::Closed)),
            Ok(()) => {}
        }
        let answer = timeout(ANSWER_WITHIN, done).await;
        // The task answers every item; it can only be gone when the process ends.
        Ok(answer.map_or_else(|_| Err(StoreError::Late), |done| done.unwrap_or(Err(StoreError::Closed))))
    }
}

/// The result of a statement for one presentation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum RefreshOutcome {
    /// The session has moved on to this generation.
    Advanced(i64),
    /// The session has not moved on.
    Stayed,
    /// The result is not known.
    Unknown,
}

impl RefreshOutcome {
    fn of(advance: &Advance) -> Self {
        match advance {
            Ok(Some(row)) => Self::Advanced(row.generation),
            Ok(None) => Self::Stayed,
            Err(_) => Self::Unknown,
        }
    }

    /// Returns whether a presentation that waited meanwhile need not be tried: the session has left its generation
    /// behind, or the same presentation was refused. Its caller looks at the row, and presents it again if that says
    /// otherwise.
    fn settles(self, presented: &Presented, waited: &Presented) -> bool {
        match self {
            Self::Advanced(generation) => i64::from(waited.generation) != generation,
            Self::Stayed => waited == presented,
            Self::Unknown => false,
        }
    }
}

/// A free connection, and the outcomes of what was sent over it.
type Done = (OwnConnection, Vec<(Presented, RefreshOutcome)>);

struct Dispatch {
    /// The connection used last is used next.
    idle: Vec<OwnConnection>,
    /// Presentations for the next statements: one per session.
    ready: VecDeque<Item>,
    /// The sessions that are ready or under way, and the presentations that came for them since.
    behind: HashMap<Uuid, VecDeque<Item>>,
    /// Items in `behind`.
    waiting: usize,
    under_way: JoinSet<Done>,
}

impl Dispatch {
    async fn run(mut self, mut items: mpsc::Receiver<Item>) {
        let mut open = true;
        while open || !self.under_way.is_empty() {
            tokio::select! {
                // While every connection is busy, items gather in the channel, which wakes nobody.
                item = items.recv(), if open && !self.idle.is_empty() && self.waiting < QUEUE_MAX => match item {
                    Some(item) => self.admit(item),
                    None => open = false,
                },
                Some(done) = self.under_way.join_next() => {
                    // A task panicked: the server ends.
                    let Ok(()) = self.settle(done) else { return };
                }
                // Each connection in turn is checked: when it is needed, the server may have none left.
                () = sleep(KEEP_EVERY), if open && !self.idle.is_empty() => {
                    let longest_idle = self.idle.remove(0);
                    self.under_way.spawn(keep(longest_idle));
                }
            }
            while self.ready.len() < BATCH_MAX
                && self.waiting < QUEUE_MAX
                && let Ok(item) = items.try_recv()
            {
                self.admit(item);
            }
            self.send();
        }
    }

    fn admit(&mut self, item: Item) {
        match self.behind.entry(item.presented.id) {
            Entry::Occupied(mut behind) => {
                behind.get_mut().push_back(item);
                self.waiting = self.waiting.saturating_add(1);
            }
            Entry::Vacant(free) => {
                free.insert(VecDeque::new());
                self.ready.push_back(item);
            }
        }
    }

    /// Sends what is ready, as far as connections are idle.
    fn send(&mut self) {
        while !self.idle.is_empty() {
            let batch = self.batch();
            if batch.is_empty() {
                return;
            }
            if let Some(connection) = self.idle.pop() {
                self.under_way.spawn(advance(connection, batch));
            }
        }
    }

    fn batch(&mut self) -> Vec<Item> {
        let mut batch = Vec::new();
        while batch.len() < BATCH_MAX
            && let Some(item) = self.ready.pop_front()
        {
            // Its caller has gone: it is not spent.
            if item.reply.is_closed() {
                self.release(&item.presented, RefreshOutcome::Unknown);
            } else {
                batch.push(item);
            }
        }
        batch
    }

    fn settle(&mut self, done: Result<Done, JoinError>) -> Result<(), JoinError> {
        let (connection, outcomes) = done?;
        self.idle.push(connection);
        for (presented, outcome) in outcomes {
            self.release(&presented, outcome);
        }
        Ok(())
    }

    /// A session is no longer under way: its next presentation becomes ready, after those that need not be tried are
    /// answered.
    fn release(&mut self, presented: &Presented, outcome: RefreshOutcome) {
        let Entry::Occupied(mut entry) = self.behind.entry(presented.id) else { return };
        let mut next = None;
        let behind = std::mem::take(entry.get_mut());
        self.waiting = self.waiting.saturating_sub(behind.len());
        for item in behind {
            if outcome.settles(presented, &item.presented) {
                let _gone = item.reply.send(Ok(None));
            } else if next.is_none() {
                next = Some(item);
            } else {
                entry.get_mut().push_back(item);
            }
        }
        self.waiting = self.waiting.saturating_add(entry.get().len());
        match next {
            Some(item) => self.ready.push_back(item),
            None => drop(entry.remove()),
        }
    }
}

/// Makes sure that a connection works.
async fn keep(mut connection: OwnConnection) -> Done {
    connection.keep().await;
    (connection, Vec::new())
}

/// One statement, and its answers.
async fn advance(mut connection: OwnConnection, batch: Vec<Item>) -> Done {
    let (presented, replies): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|item| (item.presented, item.reply)).unzip();
    let answers = answers(&mut connection, &presented).await;
    let outcomes = presented.into_iter().zip(answers.iter().map(RefreshOutcome::of)).collect();
    for (reply, answer) in replies.into_iter().zip(answers) {
        // The token is spent even if its caller has gone.
        let _gone = reply.send(answer);
    }
    (connection, outcomes)
}

async fn answers(connection: &mut OwnConnection, batch: &[Presented]) -> Vec<Advance> {
    match connection.advance_sessions(batch).await {
        Ok(answers) => answers,
        // One bad item must not fail its neighbours.
        Err(StoreError::Statement(_)) if batch.len() > 1 => one_by_one(connection, batch).await,
        Err(error) => batch.iter().map(|_| Err(error.again())).collect(),
    }
}

/// Sends each separately. If the database goes away meanwhile, the rest is not tried: they would wait for it one after
/// the other.
async fn one_by_one(connection: &mut OwnConnection, batch: &[Presented]) -> Vec<Advance> {
    let mut away: Option<StoreError> = None;
    let mut answers = Vec::new();
    for presented in batch {
        let done = match &away {
            Some(error) => Err(error.again()),
            None => connection.advance_sessions(std::slice::from_ref(presented)).await,
        };
        answers.push(match done {
            Ok(mut one) => one.pop().unwrap_or(Ok(None)),
            Err(error) => {
                if error.is_unreachable() {
                    away = Some(error.again());
                }
                Err(error)
            }
        });
    }
    answers
}
