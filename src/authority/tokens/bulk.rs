//! `BulkRevoke`: a list of any length, in chunks. A chunk is committed as a unit, once, with one audit row; the barrier is
//! waited for once, at the end.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use crate::{
    authority::{
        Authority, Caller, Error, Invalid, RevokeTarget,
        tokens::{
            narrow::{bare_jti, earlier_of_both_clocks},
            refresh::unusable_mac,
            resolved::Resolved,
            revocation::{RevokeOutcome, check_note, check_reason},
            target_form::not_uuid,
        },
    },
    mint::RefreshToken,
    process::others_first,
    replica::{Propagation, Reach},
    state::{Permission, Reason, Snapshot},
    store::{AppendTarget, BulkChunk, Counts, NewAudit, NewBulkChunk, SessionRow},
};
use jeton_token::{Revision, looks_like_refresh_token, parse_uuid_v7, pasted::bare};

/// The most targets of a chunk.
pub const CHUNK_TARGETS_MAX: usize = 10_000;
/// Targets that are resolved from memory until other work gets its turn: some microseconds each.
const TURN: usize = 256;

/// The opening of a bulk revocation. The texts are unchecked.
#[derive(Clone, Debug)]
pub struct BulkOpening {
    /// A UUIDv7 of the caller's: sent again, it resumes.
    pub bulk_id: String,
    /// The reason of all.
    pub reason: Reason,
    /// Incident number or note.
    pub note: String,
    /// Only returns what would happen.
    pub validate_only: bool,
    /// The number of targets that will follow.
    pub target_count: i64,
    /// Revokes even if the high-water mark is passed.
    pub force: bool,
}

/// A bulk revocation under way.
#[derive(Clone, Debug)]
pub struct Bulk {
    id: Uuid,
    reason: Reason,
    note: String,
    /// Only returns what would happen.
    pub validate_only: bool,
    /// Digests of the committed chunks.
    digests: HashMap<i64, Vec<u8>>,
    /// The number of the last committed chunk; chunks before it are committed, too.
    pub committed: i64,
    /// Targets of the committed chunks by outcome.
    pub outcomes: Counts,
    /// Targets of the committed chunks by what they are.
    pub kinds: Counts,
    /// The revision after the last chunk that was committed.
    pub revision: Option<Revision>,
    /// The epoch in which it was opened.
    epoch: i64,
}

/// A chunk. Its targets are narrow, or were refused by their form.
#[derive(Debug)]
pub struct Chunk {
    /// Its number, from 1.
    pub number: i64,
    /// Its targets.
    pub targets: Vec<Result<RevokeTarget, Error>>,
    /// SHA-256 of its targets, as they were sent.
    pub digest: [u8; 32],
}

/// The refused targets of a chunk, by their place.
pub type Failures = Vec<(usize, Error)>;

/// A target that was looked up.
enum Found {
    Resolved(Box<Resolved>),
    Foreign,
}

impl Authority {
    /// Opens a bulk revocation, or resumes it.
    pub async fn open_bulk(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        opening: BulkOpening,
    ) -> Result<Bulk, Error> {
        caller.must(Permission::RevokeAny)?;
        let id = parse_uuid_v7(&opening.bulk_id).ok_or_else(|| not_uuid("bulk_id", &opening.bulk_id))?;
        check_note(&opening.note)?;
        check_reason(opening.reason)?;
        if opening.target_count < 0 {
            return Err(Invalid::field("target_count", "not negative").into());
        }
        let committed = self.store.bulk_chunks(id).await?;
        if committed.iter().any(|chunk| chunk.client_id != caller.client.client_id) {
            return Err(Invalid::field("bulk_id", "one that no other client has used").into());
        }
        let mut bulk = Bulk {
            id,
            reason: opening.reason,
            note: opening.note,
            validate_only: opening.validate_only,
            digests: HashMap::new(),
            committed: 0,
            outcomes: Counts::new(),
            kinds: Counts::new(),
            revision: None,
            // Before the rows are read: what they say holds in this epoch, or it is noticed at the next chunk.
            epoch: snapshot.revision.epoch(),
        };
        for chunk in committed {
            bulk.committed(chunk);
        }
        let done: i64 = bulk.outcomes.values().sum();
        let rest = opening.target_count.saturating_sub(done).max(0);
        if !bulk.validate_only && !opening.force {
            self.check_high_water(snapshot, rest)?;
        }
        Ok(bulk)
    }

    /// Refuses a list that would take the fleet's memory above its mark. Asked once: a list that was begun is done.
    fn check_high_water(&self, snapshot: &Snapshot, target_count: i64) -> Result<(), Error> {
        let root = &snapshot.root;
        let held = [root.tokens.len(), root.sessions.len(), root.marks.len()];
        let held: usize = held.into_iter().fold(0, usize::saturating_add);
        let held = i64::try_from(held).unwrap_or(i64::MAX);
        let high_water = i64::from(self.metrics.high_water());
        if held.saturating_add(target_count) > high_water {
            return Err(Error::AboveHighWater { held, target_count, high_water });
        }
        Ok(())
    }

    /// Commits a chunk, if it was not committed before, and adds it to the totals. Refused targets keep no other from
    /// being revoked.
    pub async fn bulk_chunk(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        mut bulk: Bulk,
        chunk: Chunk,
    ) -> Result<(Bulk, Failures), Error> {
        caller.must(Permission::RevokeAny)?;
        if chunk.targets.is_empty() {
            return Err(Invalid::required("targets").into());
        }
        if chunk.targets.len() > CHUNK_TARGETS_MAX {
            return Err(
                Invalid::BatchTooLarge { size: chunk.targets.len(), max_size: CHUNK_TARGETS_MAX }.into()
            );
        }
        if let Some(digest) = bulk.digests.get(&chunk.number) {
            if digest.as_slice() != chunk.digest {
                let rule = "the chunk that was committed under its number: this one has other targets";
                return Err(Invalid::field("targets", rule).into());
            }
            return Ok((bulk, Failures::new()));
        }
        if chunk.number != bulk.committed.saturating_add(1) {
            let next = bulk.committed.saturating_add(1);
            return Err(Invalid::field("chunk_number", format!("{next}, the next one")).into());
        }
        let (new, failures) = self.resolve_chunk(snapshot, caller, &bulk, chunk).await?;
        if bulk.validate_only {
            bulk.add(&new);
            return Ok((bulk, failures));
        }
        let audit = NewAudit { note: bulk.note_of(&new), ..self.audit(caller, "BulkRevoke") };
        let Some(revision) = self.store.append_bulk(&new, &audit).await? else {
            // Sent twice at once: the other one was committed, and has been answered.
            let chunks = self.store.bulk_chunks(bulk.id).await?;
            let other = chunks.into_iter().find(|other| other.number == new.number);
            let other = other.filter(|other| other.digest == new.digest);
            let rule = "of one call: another call with this bulk_id is under way";
            bulk.committed(other.ok_or_else(|| Invalid::field("targets", rule))?);
            return Ok((bulk, failures));
        };
        // What was committed in an epoch that is over may be lost; so may its row. Opened again, it tells.
        if revision.epoch() != bulk.epoch {
            return Err(Error::EpochOver);
        }
        bulk.add(&new);
        bulk.revision = Some(revision);
        for (outcome, count) in &new.outcomes {
            self.metrics.revoked_many(outcome, *count);
        }
        if let Some((audit, left_out)) = self.line_of(&audit) {
            audit.log(Some(revision), left_out);
        }
        Ok((bulk, failures))
    }

    /// Waits until all chunks are in force on every replica.
    pub async fn close_bulk(&self, bulk: &Bulk) -> Result<(Revision, Propagation), Error> {
        // Chunks of an earlier call may be of an earlier epoch, which cannot be waited for: this revision is above all.
        let revision = self.store.advance_log().await?;
        if revision.epoch() != bulk.epoch {
            return Err(Error::EpochOver);
        }
        Ok((revision, self.barrier.wait(revision, Reach::Replicas, None).await?))
    }

    /// Looks the targets up: those that the database has to tell, in one statement.
    async fn resolve_chunk(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        bulk: &Bulk,
        chunk: Chunk,
    ) -> Result<(NewBulkChunk, Failures), Error> {
        let asked: HashSet<Uuid> =
            chunk.targets.iter().flatten().filter_map(|target| Self::session_in(snapshot, target)).collect();
        let asked: Vec<Uuid> = asked.into_iter().collect();
        let rows = self.store.sessions_by_id(&asked).await?;
        let rows: HashMap<Uuid, SessionRow> = rows.into_iter().map(|row| (row.id, row)).collect();
        let now = earlier_of_both_clocks(snapshot);
        let mut new = NewBulkChunk {
            bulk_id: bulk.id,
            client_id: caller.client.client_id.clone(),
            number: chunk.number,
            digest: chunk.digest,
            revocations: Vec::new(),
            reason: bulk.reason,
            outcomes: Counts::new(),
            kinds: Counts::new(),
        };
        let (mut failures, mut seen) = (Failures::new(), HashSet::new());
        for (index, target) in chunk.targets.into_iter().enumerate() {
            if index.is_multiple_of(TURN) {
                others_first().await;
            }
            let found = match target {
                Ok(target) => self.find(snapshot, caller, &target, &rows).await,
                Err(error) => Err(error),
            };
            let resolved = match found {
                Ok(Found::Resolved(resolved)) => resolved,
                Ok(Found::Foreign) => {
                    count(&mut new.outcomes, RevokeOutcome::Foreign.name());
                    continue;
                }
                // The next targets would meet the same.
                Err(error) if error.is_for_now() => return Err(error),
                Err(error) => {
                    count(&mut new.outcomes, "FAILED");
                    failures.push((index, error));
                    continue;
                }
            };
            let (mut outcome, target) = resolved.act(now);
            let kind = if matches!(resolved.target, AppendTarget::Session(_)) { "session" } else { "token" };
            count(&mut new.kinds, kind);
            let is_first = seen.insert(resolved.target.clone());
            if !is_first && outcome == RevokeOutcome::Revoked {
                outcome = RevokeOutcome::AlreadyRevoked;
            }
            if bulk.validate_only && outcome == RevokeOutcome::Revoked {
                outcome = RevokeOutcome::WouldRevoke;
            }
            count(&mut new.outcomes, outcome.name());
            if is_first && target != AppendTarget::Nothing {
                new.revocations.push((target, resolved.expire_time));
            }
        }
        Ok((new, failures))
    }

    /// The session that a target may be, of which the database knows.
    fn session_in(snapshot: &Snapshot, target: &RevokeTarget) -> Option<Uuid> {
        match target {
            RevokeTarget::Session(text) | RevokeTarget::Id(text) => parse_uuid_v7(text),
            RevokeTarget::Token(text) if looks_like_refresh_token(bare(text)) => {
                let signers = snapshot.root.issuing.signers.load();
                RefreshToken::open(bare(text), |id| signers.mac(id)).map(|token| token.session_id)
            }
            RevokeTarget::Token(_) | RevokeTarget::Jti(_) | RevokeTarget::Wide { .. } => None,
        }
    }

    async fn find(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        target: &RevokeTarget,
        rows: &HashMap<Uuid, SessionRow>,
    ) -> Result<Found, Error> {
        let resolved = match target {
            RevokeTarget::Jti(text) => bare_jti(snapshot, caller, text)?,
            RevokeTarget::Session(text) => {
                let id = parse_uuid_v7(text).ok_or_else(|| not_uuid("targets.session_id", text))?;
                self.session(snapshot, caller, id, rows.get(&id).cloned())?
            }
            RevokeTarget::Id(text) => {
                let id = parse_uuid_v7(text).ok_or_else(|| not_uuid("targets.id", text))?;
                self.session_or_jti(snapshot, caller, id, rows.get(&id).cloned())?
            }
            RevokeTarget::Token(text) => {
                let found = self.token_in_bulk(snapshot, caller, bare(text), rows).await?;
                let Some(resolved) = found else { return Ok(Found::Foreign) };
                resolved
            }
            RevokeTarget::Wide { .. } => {
                return Err(Invalid::field("targets", "narrow: a token, jti, session_id or id").into());
            }
        };
        Ok(Found::Resolved(Box::new(resolved)))
    }

    async fn token_in_bulk(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        text: &str,
        rows: &HashMap<Uuid, SessionRow>,
    ) -> Result<Option<Resolved>, Error> {
        if !looks_like_refresh_token(text) {
            // A signature: others have their turn between two.
            others_first().await;
            let [_, texts_of_many] = &self.texts;
            let _turn = texts_of_many.acquire().await.map_err(|_closed| Error::Draining)?;
            return self.access_token(snapshot, caller, text);
        }
        let signers = snapshot.root.issuing.signers.load_full();
        let Some(token) = RefreshToken::open(text, |id| signers.mac(id)) else {
            return unusable_mac(&signers, text).map_or(Ok(None), Err);
        };
        self.session_of_token(snapshot, caller, &token, rows.get(&token.session_id).cloned())
    }
}

impl Bulk {
    /// Counts a chunk that was committed before.
    fn committed(&mut self, chunk: BulkChunk) {
        // After a lost end of the log, a chunk may be missing: those behind it are done again, which changes nothing.
        if chunk.number != self.committed.saturating_add(1) {
            return;
        }
        self.committed = chunk.number;
        self.digests.insert(chunk.number, chunk.digest);
        self.revision = self.revision.max(Some(chunk.revision));
        merge(&mut self.outcomes, &chunk.outcomes);
        merge(&mut self.kinds, &chunk.kinds);
    }

    fn add(&mut self, chunk: &NewBulkChunk) {
        self.committed = chunk.number;
        self.digests.insert(chunk.number, chunk.digest.to_vec());
        merge(&mut self.outcomes, &chunk.outcomes);
        merge(&mut self.kinds, &chunk.kinds);
    }

    /// The note in the audit row of a chunk: the operator's, and what the chunk was.
    fn note_of(&self, chunk: &NewBulkChunk) -> String {
        let counts: Vec<_> = chunk.outcomes.iter().map(|(name, count)| format!("{count} {name}")).collect();
        let what = format!("bulk {} chunk {}: {}", self.id, chunk.number, counts.join(", "));
        if self.note.is_empty() { what } else { format!("{} ({what})", self.note) }
    }
}

fn count(counts: &mut Counts, name: &str) {
    let count = counts.entry(name.to_owned()).or_default();
    *count = count.saturating_add(1);
}

fn merge(into: &mut Counts, more: &Counts) {
    for (name, more) in more {
        let count = into.entry(name.clone()).or_default();
        *count = count.saturating_add(*more);
    }
}
