//! K1, K9: faults together, by a seed: whatever goes wrong at once, no answer is stale, and nothing that was acknowledged
//! is lost.

mod acts;
mod fault;

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use self::{
    acts::{Acts, administer},
    fault::{Fault, World},
};
use crate::world::{Answer, Asking, Caller, Chance, Ready, Shell, Target, Token, until, until_within};

const REPLICAS: usize = 3;
const TOKENS: usize = 60;
/// After it everything answers again, however much went wrong.
const HEALED: Duration = Duration::from_mins(1);

/// Revokes these at any server that accepts it, until `stop`; refused calls are repeated.
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
    let mut world = World::start().await;
    let mut acts = Acts::default();
    let good = world.fleet.caller(0).token("user:good").await;
    let mut all: Vec<Arc<Token>> = Vec::new();
    for round in 1..=rounds {
        let count = 1 + chance.below(3);
        let mut faults: Vec<Fault> = (0..count).map(|_| Fault::by(&mut chance)).collect();
        // Faults that need a running Postgres come before one that takes it away, of which one is enough. An operator
        // who begins an epoch waits for locks, however long.
        faults.sort_by_key(|fault| match fault {
            Fault::Crash => 3,
            Fault::Freeze => 2,
            Fault::Lock(_) => 1,
            Fault::Stall(..)
            | Fault::HoldReplies(..)
            | Fault::Cut(..)
            | Fault::Pause(_)
            | Fault::HalfRequest(..)
            | Fault::HalfReply(..)
            | Fault::Strike
            | Fault::Starve
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
        let ready: Vec<Ready> = world.fleet.replicas.iter().map(|it| it.server.ready.clone()).collect();
        let administering =
            tokio::spawn(administer(world.fleet.callers(), ready.clone(), round, stop.clone()));
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
        stop.cancel();
        acts.extend(administering.await.unwrap());
        world.fleet.history.assert_no_stale_answer();
        acts.hold(&ready, &format!("{faults:?}")).await;
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
    let audited =
        "select count(distinct jti) from audit_event where action = 'Revoke' and outcome = 'REVOKED'";
    assert_eq!(world.fleet.database.number(audited).await, held, "and has an audit row");
    let verify = ["audit", "verify", "--database-url", &world.fleet.database.url];
    Shell::new().run(&verify).await.with_code(0);
    println!("{} removals and reductions held", acts.count());
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
