//! Validate: one call at a time, whose every step may come late.

use super::{
    state::{Call, Root, Stage, State},
    world::World,
};
use crate::rule::Rule;

impl State {
    pub(super) fn start_call(&mut self, replica: usize, token: u8) {
        self.call = Some(Call {
            stage: Stage::Started,
            replica: u8::try_from(replica).unwrap_or_default(),
            token,
            former_root: None,
            after_revoke: self.is_promised(token),
            after_revoked_seen: self.seen.has(token),
        });
    }

    /// The root that the call holds.
    fn root_of(&self, call: &Call) -> Root {
        call.former_root.unwrap_or(self.replicas[usize::from(call.replica)].root)
    }

    fn holds_lease(&self, world: &World, call: &Call) -> bool {
        !world.keeps(Rule::CheckTheLease) || self.root_of(call).lease > 0
    }

    pub(super) fn check_lease(&mut self, world: &World) {
        let Some(mut call) = self.call.take() else { return };
        if self.holds_lease(world, &call) {
            call.stage = Stage::Checked;
        } else if world.calls_join {
            call.stage = Stage::Joined;
        } else {
            // UNAVAILABLE.
            return;
        }
        self.call = Some(call);
    }

    /// A renewal was adopted: the call that waited for one goes on.
    pub(super) fn go_on_with_call(&mut self, world: &World, replica: usize, lease: u8) {
        let Some(call) = self.call.as_mut().filter(|call| usize::from(call.replica) == replica) else {
            return;
        };
        if !world.keeps(Rule::LeaseOneRoot)
            && let Some(former) = &mut call.former_root
        {
            former.lease = former.lease.max(lease);
        }
        if call.stage != Stage::Joined {
            return;
        }
        if world.keeps(Rule::TakeTheRootAgain) {
            call.stage = Stage::Started;
            call.former_root = None;
        } else {
            call.stage = Stage::Checked;
        }
    }

    pub(super) fn look_up(&mut self, world: &World) {
        let Some(call) = &self.call else { return };
        let denied = self.root_of(call).denied.has(call.token);
        let stable = self.replicas[usize::from(call.replica)].stable.has(call.token);
        if world.revoked_waits_for_barrier && denied && !stable {
            return;
        }
        if let Some(call) = &mut self.call {
            call.stage = Stage::LookedUp { active: !denied };
        }
    }

    pub(super) fn answer(&mut self, world: &World) {
        let Some(call) = self.call.take() else { return };
        let Stage::LookedUp { active } = call.stage else { return };
        let checked = world.keeps(Rule::CheckBeforeLookingUp) || self.holds_lease(world, &call);
        if checked {
            self.tell(world, &call, active);
        }
    }

    pub(super) fn ask_database(&mut self, world: &World) {
        let Some(call) = self.call.take() else { return };
        let denied = self.database.has(call.token);
        if world.revoked_waits_for_barrier && denied && !self.returned.has(call.token) {
            self.call = Some(call);
            return;
        }
        self.tell(world, &call, !denied);
    }

    fn tell(&mut self, world: &World, call: &Call, active: bool) {
        if active {
            self.violated |= call.after_revoke;
            self.inverted |= call.after_revoked_seen;
        } else if world.promises_what_was_seen() {
            self.seen.add(call.token);
        }
        if !world.witnesses {
            return;
        }
        let replica = &self.replicas[usize::from(call.replica)];
        let witnessed = &mut self.witnessed;
        witnessed.answered_active |= active;
        if !active && call.after_revoke {
            witnessed.answered_revoked_after_revoke = true;
            witnessed.answered_revoked_after_restart |= replica.restarts > 0;
            witnessed.answered_revoked_in_a_later_epoch |= replica.epoch > super::state::FIRST_EPOCH;
        }
    }
}
