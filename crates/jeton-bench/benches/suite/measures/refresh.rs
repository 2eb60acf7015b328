//! P6: Refresh beside its own statement, sent by itself.

use std::time::Duration;

use jeton::proto::v1 as pb;
use serde_json::json;

use crate::{
    bare::{Bare, CONNECTIONS},
    bench::Bench,
    calls::{Calls, answers},
    command::{Command, Mode},
    report::{Bar, Figure, Unit},
    statistics::{Pair, Summary, median},
    target::{IN_FLIGHT, Target},
};

/// Sessions, each of which is refreshed once in a round.
const SESSIONS: usize = 12_000;
/// The number of them that one caller refreshes, one after the other.
const IN_TURN: usize = 500;

/// Sessions, each with its refresh token.
pub struct Sessions {
    tokens: Vec<String>,
}

impl Sessions {
    pub fn open(bench: &mut Bench, target: &Target, count: usize) -> Self {
        let calls = Calls::issue(bench.directory(), count, true);
        let keep = bench.directory().join("issued");
        let command = target.command(&calls, Mode::Each { in_flight: IN_FLIGHT });
        bench.loader.run(&Command { keep: Some(keep.clone()), ..command });
        let issued = answers::<pb::IssueResponse>(&keep);
        Self { tokens: issued.into_iter().map(|it| refresh_token(it.token)).collect() }
    }

    /// Refreshes each once.
    pub fn refresh(&mut self, bench: &mut Bench, target: &Target, mode: Mode) -> crate::command::Outcome {
        let calls = Calls::refresh(bench.directory(), std::mem::take(&mut self.tokens));
        let keep = bench.directory().join("refreshed");
        let outcome = bench.loader.run(&Command { keep: Some(keep.clone()), ..target.command(&calls, mode) });
        let refreshed = answers::<pb::RefreshResponse>(&keep);
        self.tokens = refreshed.into_iter().map(|it| refresh_token(it.token)).collect();
        outcome
    }
}

fn refresh_token(issued: Option<pb::IssuedToken>) -> String {
    issued.unwrap().refresh.unwrap().refresh_token
}

pub fn p6(bench: &mut Bench) {
    let small = bench.small();
    let target = &small.subject.target;
    let floor = bench.issuer("floor");
    let (count, alone) = if bench.quick { (SESSIONS / 4, IN_TURN / 4) } else { (SESSIONS, IN_TURN) };
    let mut bare = bench.runtime.block_on(Bare::rotations(&floor.database_url, count));
    let mut many = Sessions::open(bench, target, count);
    let mut few = Sessions::open(bench, target, alone);
    let (mut rates, mut times) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds() {
        let floor = bench.runtime.block_on(bare.rate(Duration::from_millis(bench.ms())));
        let rate = many.refresh(bench, target, Mode::Each { in_flight: IN_FLIGHT }).rate();
        rates.push(Pair::times(rate, floor));
        let floor = median(bench.runtime.block_on(bare.in_turn(alone)));
        let time = median(few.refresh(bench, target, Mode::Turn).times_us);
        times.push(Pair::times(time, floor));
    }
    let name = format!("Refresh, 256 in flight ÷ its UPDATE over {CONNECTIONS} connections");
    let (summary, beside) = (Summary::of(&rates), json!({}));
    let (bar, unit) = (Bar::AtLeast(2.0), Unit::PerSecond);
    bench.report.add(&Figure { id: "P6.rate", name: &name, bar, unit, summary, beside });
    let name = "Refresh, one caller: p50 ÷ p50 of its UPDATE";
    let (summary, beside) = (Summary::of(&times), json!({}));
    let (bar, unit) = (Bar::AtMost(1.5), Unit::Us);
    bench.report.add(&Figure { id: "P6.p50", name, bar, unit, summary, beside });
}
