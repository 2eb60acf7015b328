//! The database: its contents, its failover, and the beginning of an epoch after that.

use super::{
    state::{Database, Entry, Registration, Renewal, Revision, Revoke, Root, Stage, State, Tokens},
    world::{Promise, World},
};
use crate::rule::Rule;

impl Database {
    /// Appends a revocation under the next number.
    pub(super) fn append(&mut self, token: u8) -> Revision {
        self.head.number += 1;
        self.entries.push(Entry { revision: self.head, token });
        self.head
    }

    pub(super) fn has(&self, token: u8) -> bool {
        self.entries.iter().any(|entry| entry.token == token)
    }

    /// A root of all that is in the tables, without a lease.
    pub(super) fn load(&self) -> Root {
        let mut denied = Tokens::NONE;
        self.entries.iter().for_each(|entry| denied.add(entry.token));
        Root { applied: self.head, denied, lease: 0 }
    }
}

impl State {
    /// The connections are lost, with whatever was under way.
    pub(super) fn lose_statements(&mut self) {
        for replica in &mut self.replicas {
            if let Renewal::Sent { .. } | Renewal::HeadRead { .. } = replica.renewal {
                replica.renewal = Renewal::None;
            }
        }
        for revoke in &mut self.revokes {
            if let Revoke::Numbered { .. } = revoke {
                *revoke = Revoke::Idle;
            }
        }
    }

    pub(super) fn fail_over(&mut self, world: &World, commit_lost: bool, registrations_lost: bool) {
        self.mishaps.failovers -= 1;
        self.lose_statements();
        if commit_lost && let Some(lost) = self.database.entries.pop() {
            let last = self.database.entries.last().map(|entry| entry.revision);
            let first = Revision { number: 0, ..self.database.head };
            self.database.head = last.unwrap_or(first).max(first);
            self.give_up_what_nobody_can_restore(world, lost.token);
        }
        if registrations_lost {
            self.database.registrations.fill(Registration::NONE);
        }
        // A replica that was loading for the first time begins again.
        for replica in self.replicas.iter_mut().filter(|replica| !replica.joined) {
            replica.root = Root::EMPTY;
        }
        self.database.same_log = world.loss.silent || !world.keeps(Rule::BeginANewEpoch);
    }

    /// Nothing is promised of a lost commit unless every replica with state held it.
    fn give_up_what_nobody_can_restore(&mut self, world: &World, token: u8) {
        let mut holders = self.replicas.iter().filter(|replica| replica.joined).peekable();
        let is_held = holders.peek().is_some() && holders.all(|replica| replica.root.denied.has(token));
        if is_held || world.promise == Promise::DespiteLoss || !world.keeps(Rule::BeginANewEpoch) {
            return;
        }
        self.lost.add(token);
        if let Some(call) = self.call.as_mut().filter(|call| call.token == token) {
            call.after_revoke = false;
        }
    }

    pub(super) fn begin_epoch(&mut self, world: &World, at: usize) {
        let database = &mut self.database;
        database.head = Revision { epoch: self.replicas[at].epoch + 1, number: 0 };
        database.same_log = true;
        database.settled = false;
        database.fresh_for = if world.starters_lose_patience { world.wait_ticks() } else { 0 };
        // The replica that begins an epoch takes its state for all that can be known.
        self.replicas[at].joined = true;
    }

    /// A replica learns of an epoch: it appends entries that the tables lack, builds a root, and has to register again.
    pub(super) fn move_on(&mut self, world: &World, at: usize) {
        self.append_again(world, at);
        let mut root = self.database.load();
        let replica = &mut self.replicas[at];
        replica.epoch = self.database.head.epoch;
        replica.unsettled_for = if self.database.settled { 0 } else { world.wait_ticks() };
        replica.next_root = None;
        replica.early_head = None;
        if world.leases_outlive_epochs {
            root.lease = replica.root.lease;
        } else {
            replica.renewal = Renewal::None;
        }
        self.swap_root(at, root);
    }

    fn append_again(&mut self, world: &World, at: usize) {
        let replica = &self.replicas[at];
        if !replica.joined || !world.keeps(Rule::AppendAgain) {
            return;
        }
        for token in world.revokes.iter().filter(|token| replica.root.denied.has(**token)) {
            if !self.database.has(*token) {
                self.database.append(*token);
            }
        }
    }

    /// Puts another root in force. The call that holds the former one keeps it.
    pub(super) fn swap_root(&mut self, at: usize, next: Root) {
        let former = std::mem::replace(&mut self.replicas[at].root, next);
        if let Some(call) = &mut self.call
            && usize::from(call.replica) == at
            && !matches!(call.stage, Stage::LookedUp { .. })
            && call.former_root.is_none()
        {
            call.former_root = Some(Root { lease: 0, ..former });
        }
    }
}
