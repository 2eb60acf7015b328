//! K1, K9: faults together, by a seed: whatever goes wrong at once, no answer is stale, and nothing that was acknowledged
//! is lost.

use std::{sync::Arc, time::Duration};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use super::backends::strike;
use crate::world::{
    ALL, Answer, Asking, Caller, Chance, FEED, FLEET, FLUSHER, Fleet, LEASE, POOL, Postgres, REFRESH, Shell,
    Target, Token, until, until_within,
};

const REPLICAS: usize = 3;
const TOKENS: usize = 60;
/// After it everything answers again, however much went wrong.
const HEALED: Duration = Duration::from_mins(1);

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Connections of one name of a replica carry nothing.
    Stall(usize, &'static str),
    /// They carry requests, and no replies.
    HoldReplies(usize, &'static str),
    /// They break, and are not let in.
    Cut(usize, &'static str),
    /// A replica's process stands still.
    Pause(usize),
    /// Somebody locks a table.
    Lock(&'static str),
    /// Processes of Postgres end, statements are cancelled, again and again.
    Strike,
    /// Postgres stands still.
    Freeze,
    /// Postgres crashes, and starts anew at the end.
    Crash,
    /// The database takes no writes.
    ReadOnly,
    /// Its defaults are none that anybody could work with.
    Defaults,
    /// An operator begins an epoch.
    Bump,
}

impl Fault {
    fn by(chance: &mut Chance) -> Self {
        let place = chance.below(REPLICAS);
        let name = chance.of(&[ALL, POOL, FEED, LEASE, FLUSHER, FLEET, REFRESH]);
        let table = chance.of(&[
            "log_head",
            "revocation",
            "replica",
            "replica_ack",
            "audit_event",
            "session",
            "client",
        ]);
        match chance.below(11) {
            0 => Self::Stall(place, name),
            1 => Self::HoldReplies(place, name),
            2 => Self::Cut(place, name),
            3 => Self::Pause(place),
            4 => Self::Lock(table),
            5 => Self::Strike,
            6 => Self::Freeze,
            7 => Self::Crash,
            8 => Self::ReadOnly,
            9 => Self::Defaults,
            _ => Self::Bump,
        }
    }
}

struct World {
    postgres: Postgres,
    fleet: Fleet,
    locks: Vec<PgConnection>,
}

impl World {
    /// Lets it go wrong. Where another fault keeps this one from happening, it does not.
    async fn begin(&mut self, fault: Fault, chance: &mut Chance) {
        let Self { postgres, fleet, locks } = self;
        let database = postgres.database();
        match fault {
            Fault::Stall(place, name) => fleet.replicas[place].link.stall(name),
            Fault::HoldReplies(place, name) => fleet.replicas[place].link.hold_replies(name),
            Fault::Cut(place, name) => fleet.replicas[place].link.cut(name),
            Fault::Pause(place) => fleet.replicas[place].server.pause(),
            Fault::Lock(table) => {
                let lock = format!(
                    "begin; set local lock_timeout = '2s'; lock table {table} in access exclusive mode"
                );
                let mut holder = database.connect().await;
                let _taken = holder.execute(AssertSqlSafe(lock)).await;
                locks.push(holder);
            }
            Fault::Strike => {
                for _ in 0..20 {
                    strike(fleet, chance).await;
                }
            }
            Fault::Freeze => postgres.freeze(),
            Fault::Crash => postgres.crash().await,
            Fault::ReadOnly => {
                database.set("default_transaction_read_only", "on").await;
                strike(fleet, chance).await;
            }
            Fault::Defaults => {
                for (setting, value) in [
                    ("synchronous_commit", "off"),
                    ("default_transaction_isolation", "serializable"),
                    ("lock_timeout", "1ms"),
                    ("idle_session_timeout", "300ms"),
                ] {
                    database.set(setting, value).await;
                }
                strike(fleet, chance).await;
            }
            Fault::Bump => {
                let bump = ["epoch", "bump", "--keep-keys", "--database-url", &database.url];
                let _done = Shell::new().run(&bump).await;
            }
        }
    }

    /// All is well again.
    async fn heal(&mut self, faults: &[Fault]) {
        self.locks.clear();
        self.postgres.thaw();
        if faults.iter().any(|fault| matches!(fault, Fault::Crash)) {
            self.postgres.restart();
        }
        for replica in &self.fleet.replicas {
            replica.link.resume(ALL);
            replica.server.resume();
        }
        let reset = "begin read write; alter database postgres reset all; commit";
        until("its defaults are back", async || {
            let Ok(mut connection) = PgConnection::connect(&self.fleet.database.url).await else {
                return false;
            };
            connection.execute(reset).await.is_ok()
        })
        .await;
    }
}

/// Revokes these, wherever somebody takes it, until told to stop; what is refused is asked again.
async fn revoke_somewhere(mut callers: Vec<Caller>, tokens: Vec<Arc<Token>>, stop: CancellationToken) {
    for token in tokens {
        for place in (0..callers.len()).cycle() {
            if stop.is_cancelled() {
                return;
            }
            let answer = callers[place].revoke(Target::Token(Arc::clone(&token))).await;
            if answer.is_ok_and(|revoked| revoked.propagation.is_some_and(|it| it.complete)) {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

#[expect(clippy::print_stdout, reason = "what a failing test shows beside its failure")]
async fn rounds(rounds: usize) {
    let mut chance = Chance::seeded();
    let postgres = Postgres::start().await;
    let fleet = Fleet::on(postgres.database(), REPLICAS).await;
    let mut world = World { postgres, fleet, locks: Vec::new() };
    let good = world.fleet.caller(0).token("user:good").await;
    let mut all: Vec<Arc<Token>> = Vec::new();
    for round in 1..=rounds {
        let count = 1 + chance.below(3);
        let mut faults: Vec<Fault> = (0..count).map(|_| Fault::by(&mut chance)).collect();
        // What needs a Postgres that answers comes before what takes it away, of which one is enough.
        // An operator who begins an epoch waits for locks, however long.
        faults.sort_by_key(|fault| match fault {
            Fault::Crash => 3,
            Fault::Freeze => 2,
            Fault::Lock(_) => 1,
            Fault::Stall(..)
            | Fault::HoldReplies(..)
            | Fault::Cut(..)
            | Fault::Pause(_)
            | Fault::Strike
            | Fault::ReadOnly
            | Fault::Defaults
            | Fault::Bump => 0,
        });
        let ends = faults.iter().position(|fault| matches!(fault, Fault::Freeze | Fault::Crash));
        faults.truncate(ends.map_or(faults.len(), |place| place + 1));
        let lasting = Duration::from_millis(200 + chance.below(4_000) as u64);
        println!("round {round}: {faults:?} for {lasting:?}");
        let tokens = world.fleet.caller(chance.below(REPLICAS)).tokens("user:7", TOKENS).await;
        let asking: Vec<_> =
            (0..REPLICAS).map(|place| Asking::start([world.fleet.caller(place)], &tokens)).collect();
        let (stop, mut revoking) = (CancellationToken::new(), JoinSet::new());
        for (lane, part) in tokens.chunks(TOKENS / REPLICAS).enumerate() {
            let mut callers = world.fleet.callers();
            callers.rotate_left(lane % REPLICAS);
            revoking.spawn(revoke_somewhere(callers, part.to_vec(), stop.clone()));
        }
        for fault in &faults {
            world.begin(*fault, &mut chance).await;
        }
        sleep(lasting).await;
        world.heal(&faults).await;
        for place in 0..REPLICAS {
            let mut caller = world.fleet.caller(place);
            let back = async || caller.validate(&good).await == Answer::ACTIVE;
            until_within(HEALED, &format!("replica {place} is back after {faults:?}"), back).await;
        }
        let revoked = async {
            while let Some(done) = revoking.join_next().await {
                done.unwrap();
            }
        };
        tokio::time::timeout(HEALED, revoked)
            .await
            .unwrap_or_else(|_| panic!("revocations go on after {faults:?}"));
        for each in asking {
            each.end().await;
        }
        world.fleet.history.assert_no_stale_answer();
        all.extend(tokens);
        for place in 0..REPLICAS {
            let mut caller = world.fleet.caller(place);
            for token in &all {
                let dead = async || caller.validate(token).await == Answer::REVOKED;
                until(&format!("what was acknowledged is revoked on replica {place} after {faults:?}"), dead)
                    .await;
            }
        }
    }
    let held = world.fleet.database.number("select count(*) from revocation").await;
    assert_eq!(held, all.len() as i64, "each is on disk, once");
}

#[tokio::test]
async fn k1_a_few_faults_together_make_no_answer_stale_and_lose_nothing() {
    rounds(2).await;
}

#[tokio::test]
#[ignore = "minutes: make faults"]
async fn k1_many_faults_together_make_no_answer_stale_and_lose_nothing() {
    let given = std::env::var("JETON_FAULTS_ROUNDS").ok();
    rounds(given.map_or(25, |rounds| rounds.parse().expect("JETON_FAULTS_ROUNDS is a number"))).await;
}
