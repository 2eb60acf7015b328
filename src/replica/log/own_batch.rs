//! A batch that this replica has appended, applied to memory without reading it from the log.

use crate::{
    state::Entry,
    store::{AppendTarget, Appended, NewRevocation},
};
use jeton_token::Revision;

/// A batch of this replica. If everything before it is applied, it need not be read.
pub(in crate::replica) struct OwnBatch {
    /// The revision before its first entry.
    pub(in crate::replica) after: Revision,
    /// The revision of its last entry.
    pub(in crate::replica) revision: Revision,
    pub(in crate::replica) entries: Vec<Entry>,
}

impl OwnBatch {
    /// `None` if the batch holds marks or locks: the database merges them by maximum, so the result must be read back.
    pub(in crate::replica) fn of(appended: Appended, batch: &[NewRevocation]) -> Option<Self> {
        let Appended { revision, .. } = appended;
        let size = i64::try_from(batch.len()).ok()?;
        let after = Revision::new(revision.epoch(), revision.seq().checked_sub(size)?)?;
        let mut entries = Vec::with_capacity(batch.len());
        for &NewRevocation { ref target, reason, expire_time, .. } in batch {
            match *target {
                AppendTarget::Nothing => {}
                AppendTarget::Token(id) => entries.push(Entry::Token { id, expire_time, reason }),
                AppendTarget::Session(id) => entries.push(Entry::Session { id, expire_time, reason }),
                AppendTarget::Wide { .. } | AppendTarget::Lock { .. } => return None,
            }
        }
        Some(Self { after, revision, entries })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::{
        state::{LockKind, MarkKind, Reason},
        store::NewAudit,
    };
    use jeton_token::UnixSeconds;

    fn item(target: AppendTarget) -> NewRevocation {
        let audit = NewAudit::new(Uuid::nil(), "client", "Revoke");
        NewRevocation { target, reason: Reason::Leaked, expire_time: UnixSeconds::new(500), audit }
    }

    fn at(sequence: i64) -> Appended {
        let revision = Revision::new(3, sequence).unwrap();
        Appended { revision, commit_time: Timestamp::UNIX_EPOCH, backend: 7 }
    }

    #[test]
    fn a_batch_of_ids_says_itself_what_it_appended_and_where() {
        let (token, session) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let batch =
            [AppendTarget::Token(token), AppendTarget::Nothing, AppendTarget::Session(session)].map(item);
        let own = OwnBatch::of(at(10), &batch).unwrap();
        assert_eq!((own.after, own.revision), (at(7).revision, at(10).revision));
        let (expire_time, reason) = (UnixSeconds::new(500), Reason::Leaked);
        let entries = [
            Entry::Token { id: token, expire_time, reason },
            Entry::Session { id: session, expire_time, reason },
        ];
        assert_eq!(own.entries, entries);
    }

    #[test]
    fn a_batch_with_a_mark_or_a_lock_is_read_since_the_database_takes_them_by_maximum() {
        let wide = AppendTarget::Wide {
            kind: MarkKind::Subject,
            target: "user:7".to_owned(),
            audience: String::new(),
            cutoff: UnixSeconds::new(0),
        };
        assert!(OwnBatch::of(at(10), &[item(AppendTarget::Token(Uuid::nil())), item(wide)]).is_none());
        let lock = AppendTarget::Lock { kind: LockKind::Subject, target: "user:7".to_owned(), note: None };
        assert!(OwnBatch::of(at(10), &[item(lock)]).is_none());
    }

    #[test]
    fn a_batch_that_is_longer_than_the_log_is_read() {
        assert!(OwnBatch::of(at(1), &[item(AppendTarget::Nothing), item(AppendTarget::Nothing)]).is_none());
    }
}
