//! Revoke: the append, and the barrier behind it.

use super::{
    state::{Entry, Revision, Revoke, State},
    world::World,
};
use crate::rule::Rule;

impl State {
    /// Registrations that have not acknowledged a revision.
    fn behind(&self, revision: Revision) -> u16 {
        let rows = self.database.registrations.iter().enumerate();
        let behind = rows.filter(|(_, row)| row.present && row.acknowledged < revision);
        behind.fold(0, |set, (place, _)| set | 1 << place)
    }

    pub(super) fn read_registrations_early(&mut self, at: usize) {
        let everyone = self.behind(Revision { epoch: u8::MAX, number: u8::MAX });
        self.revokes[at] = Revoke::ReadEarly { awaited: everyone };
    }

    pub(super) fn draw_number(&mut self, at: usize) {
        self.revokes[at] = Revoke::Numbered { number: self.database.next_number };
        self.database.next_number += 1;
    }

    pub(super) fn commit(&mut self, world: &World, at: usize) {
        let token = world.revokes[at];
        let timer = world.wait_ticks();
        let before = self.revokes[at].clone();
        let known = self.database.entries.iter().find(|entry| entry.token == token).copied();
        if known.is_some() && !world.keeps(Rule::RetriesWaitToo) {
            self.revokes[at] = Revoke::Returned;
            self.returned.add(token);
            return;
        }
        let revision = match (known, &before) {
            (Some(entry), _) if entry.revision.epoch == self.database.head.epoch => entry.revision,
            (Some(_), _) => self.database.head,
            (None, Revoke::Numbered { number }) => {
                let revision = Revision { number: *number, ..self.database.head };
                self.database.entries.push(Entry { revision, token });
                self.database.head = self.database.head.max(revision);
                revision
            }
            (None, _) => self.database.append(token),
        };
        self.revokes[at] = match before {
            Revoke::ReadEarly { awaited } => Revoke::Waiting { revision, timer, awaited },
            Revoke::Idle
            | Revoke::Numbered { .. }
            | Revoke::Committed { .. }
            | Revoke::Waiting { .. }
            | Revoke::Returned
            | Revoke::Failed => Revoke::Committed { revision, timer },
        };
    }

    pub(super) fn read_registrations(&mut self, at: usize) {
        if let Revoke::Committed { revision, timer } = self.revokes[at] {
            self.revokes[at] = Revoke::Waiting { revision, timer, awaited: self.behind(revision) };
        }
    }

    pub(super) fn return_revoke(&mut self, world: &World, at: usize) {
        if let Revoke::Waiting { revision, timer, awaited } = self.revokes[at]
            && world.witnesses
        {
            let still_behind = self.behind(revision) & awaited;
            self.witnessed.returned_by_acknowledgements |= awaited != 0 && still_behind == 0;
            self.witnessed.returned_by_waiting |= timer == 0 && still_behind != 0;
        }
        let token = world.revokes[at];
        // A retry restores what a failover had lost; a call from before it does not.
        if let Revoke::Committed { revision, .. } | Revoke::Waiting { revision, .. } = self.revokes[at]
            && revision.epoch == self.database.head.epoch
            && self.database.has(token)
        {
            self.lost.remove(token);
        }
        self.revokes[at] = Revoke::Returned;
        self.returned.add(token);
    }
}
