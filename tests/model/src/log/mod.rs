//! The leased log: revocations, leases, barriers, roots and epochs. Timers count down; there is no
//! absolute time, hence a finite number of states. A process that is paused is one whose actions come
//! late, while time goes on.

mod actions;
mod database;
mod revoke;
mod state;
mod steps;
mod validate;
mod world;

use stateright::{Model, Property};

pub use actions::Action;
pub use state::State;
pub use world::{Clocks, Loss, Promise, World};

use crate::check::PROMISE;

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        // States after a violation tell nothing new.
        if !self.is_broken(state) {
            actions::enabled(self, state, actions);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        steps::take(self, &mut state, action);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![Property::<Self>::always(PROMISE, |world, state| !world.is_broken(state))];
        if self.witnesses {
            let mut must_happen = |name, happens: fn(&Self, &State) -> bool| {
                properties.push(Property::<Self>::sometimes(name, happens));
            };
            must_happen("Revoke returns by acknowledgements", |_, s| {
                s.witnessed.returned_by_acknowledgements
            });
            must_happen("Revoke returns by waiting", |_, s| s.witnessed.returned_by_waiting);
            must_happen("ACTIVE is answered", |_, s| s.witnessed.answered_active);
            must_happen("REVOKED is answered", |_, s| s.witnessed.answered_revoked_after_revoke);
            if self.mishaps.crashes > 0 {
                must_happen("REVOKED is answered after a restart", |_, s| {
                    s.witnessed.answered_revoked_after_restart
                });
            }
            if self.mishaps.failovers > 0 {
                must_happen("REVOKED is answered in a later epoch", |_, s| {
                    s.witnessed.answered_revoked_in_a_later_epoch
                });
            }
        }
        properties
    }
}
