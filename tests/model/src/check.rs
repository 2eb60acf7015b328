//! Runs a configuration to its end.

use std::{num::NonZero, thread::available_parallelism, time::Instant};

use stateright::{Checker, Expectation, Model};

/// The promise that every configuration is about.
pub const PROMISE: &str = "no ACTIVE after Revoke has returned";

/// The result of a configuration.
#[derive(Debug)]
pub struct Outcome {
    /// The promise holds in every reachable state.
    pub holds: bool,
    /// Events that should be possible and were not seen. Meaningful only if the promise holds.
    pub unseen: Vec<&'static str>,
    pub states: usize,
    pub seconds: f32,
    /// A shortest way to the violation, step by step.
    pub trace: Vec<String>,
}

/// Explores every state, until the promise is broken.
#[expect(clippy::disallowed_methods, reason = "how long it took; nothing is decided by it")]
pub fn explore<M>(model: M) -> Outcome
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + PartialEq + std::hash::Hash + std::fmt::Debug + Send + Sync + 'static,
    M::Action: Clone + PartialEq + std::fmt::Debug + Send + Sync + 'static,
{
    let started = Instant::now();
    let threads = available_parallelism().map_or(1, NonZero::get);
    let broken = stateright::HasDiscoveries::AnyFailures;
    let checker = model.checker().threads(threads).finish_when(broken).spawn_bfs().join();
    let discoveries = checker.discoveries();
    let trace = discoveries.get(PROMISE).map(|path| {
        let actions = path.clone().into_actions();
        actions.iter().map(|action| format!("{action:?}")).collect::<Vec<_>>()
    });
    let properties = checker.model().properties();
    let unseen = properties
        .iter()
        .filter(|property| property.expectation == Expectation::Sometimes)
        .filter(|property| !discoveries.contains_key(property.name))
        .map(|property| property.name)
        .collect();
    Outcome {
        holds: trace.is_none(),
        unseen,
        states: checker.unique_state_count(),
        seconds: started.elapsed().as_secs_f32(),
        trace: trace.unwrap_or_default(),
    }
}
