//! Revoke: when it answers OK, the targeted tokens are dead on every replica.

use jiff::Timestamp;

use crate::{
    authority::{
        Authority, Caller, Error, Findings, LockRequest, RevokeTarget,
        tokens::{
            findings::read_foreign,
            narrow::earlier_of_both_clocks,
            resolved::{Resolved, Standing},
            revocation::{RevokeOutcome, RevokeRequest, Revoked},
        },
    },
    state::{MarkKind, Permission, Reason, Snapshot},
    store::{AppendTarget, Appended, CANARY, Held, NewAudit, NewRevocation},
};
use jeton_token::UnixSeconds;

/// The most sessions in the answer of `validate_only`.
const SAMPLE_MAX: i64 = 100;

impl Authority {
    /// Revokes. Durable, and as far travelled as requested, when it returns.
    pub async fn revoke(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        request: &RevokeRequest,
    ) -> Result<Revoked, Error> {
        request.check()?;
        let resolved = self.resolve(snapshot, caller, request).await?;
        let Some(resolved) = resolved else {
            self.metrics.revoked("FOREIGN");
            let findings = match &request.target {
                RevokeTarget::Token(text) => read_foreign(snapshot, caller, text),
                RevokeTarget::Jti(_)
                | RevokeTarget::Session(_)
                | RevokeTarget::Id(_)
                | RevokeTarget::Wide { .. } => Findings::default(),
            };
            return Ok(Revoked { findings, ..Revoked::nothing(RevokeOutcome::Foreign, snapshot.revision) });
        };
        let affected_sessions = self.affected(request, &resolved).await?;
        let earlier = self.earlier(&resolved).await?;
        let lock = self.lock_beside(snapshot, request).await?;
        if request.validate_only {
            return self.would_revoke(snapshot, resolved, affected_sessions, earlier).await;
        }
        let (outcome, target) = resolved.act(earlier_of_both_clocks(snapshot));
        let holds = Holds::of(outcome, &target, request.reason, earlier);
        if resolved.is_bare() && target != AppendTarget::Nothing {
            self.check_bare_quota(&caller.client.client_id).await?;
        }
        // The lock first: a token that is issued at the revision of the revocation, and so not hit by it, would have seen
        // the lock (rule LockBeforeItsMark of tests/model/README.md).
        let held = |it: &LockRequest| snapshot.root.issuing.locks.held(it.kind, &it.target, snapshot.now());
        let earlier_lock = lock.as_ref().and_then(held);
        let locked = match &lock {
            Some(lock) => Some(self.append_lock(caller, lock).await?),
            None => None,
        };
        let audit = resolved.audit(self.audit(caller, "Revoke"), &request.note, outcome);
        let line = self.line_of(&audit);
        let item = NewRevocation { target, reason: request.reason, expire_time: resolved.expire_time, audit };
        let append = async {
            let appended = self.flusher.append(item).await??;
            if locked.is_some_and(|locked| locked.epoch() != appended.revision.epoch()) {
                return Err(Error::EpochOver);
            }
            let propagation = self.barrier.wait(appended.revision, request.reach, request.wait).await?;
            Ok::<_, Error>((appended, propagation))
        };
        // The findings are polled first and awaited last: sessions are swept once they are revoked.
        let (findings, done) = tokio::join!(self.look(&resolved, outcome == RevokeOutcome::Revoked), append);
        let (appended, propagation) = done?;
        if let Some((audit, left_out)) = line {
            audit.log(Some(appended.revision), left_out);
        }
        if matches!(request.target, RevokeTarget::Wide { kind: MarkKind::Key, .. }) {
            // On the heap: otherwise every other revocation would keep room for it.
            Box::pin(self.replace_revoked(caller)).await;
        }
        self.metrics.revoked(outcome.name());
        let lock = match &lock {
            Some(lock) => self.lock_of(lock.kind, &lock.target).await?,
            None => None,
        };
        let (revoke_time, reason) = holds.since(appended);
        Ok(Revoked {
            outcome,
            affected_sessions,
            sample: Vec::new(),
            revoke_time,
            reason,
            revision: appended.revision,
            propagation: Some(propagation),
            target: resolved.target,
            findings,
            lock,
            earlier_lock,
            locks_in_full: caller.client.may(Permission::AdminRead),
        })
    }

    /// The log line of a finished revocation. The prober's canaries get none: one every few seconds would hide the
    /// others.
    pub(in crate::authority) fn line_of(&self, audit: &NewAudit) -> Option<(NewAudit, u64)> {
        if audit.subject.as_deref() == Some(CANARY) {
            return None;
        }
        Some((audit.clone(), self.revocation_lines.turn(self.clock.now_s())?))
    }

    /// The earlier revocation that holds.
    async fn earlier(&self, resolved: &Resolved) -> Result<Option<Held>, Error> {
        if resolved.standing != Standing::Revoked {
            return Ok(None);
        }
        Ok(self.store.held(&resolved.hit).await?.or(resolved.written))
    }

    /// Counts only if the request asks for it: an emergency never waits for a count.
    async fn affected(&self, request: &RevokeRequest, resolved: &Resolved) -> Result<i64, Error> {
        let Some(filter) = &resolved.sessions else { return Ok(0) };
        if !request.validate_only && request.max_affected_sessions.is_none() {
            return Ok(0);
        }
        let affected = self.store.count_sessions(filter).await?.ok_or(Error::Overloaded)?;
        match request.max_affected_sessions {
            Some(max) if affected > max => Err(Error::TooManyAffected { affected, max }),
            _ => Ok(affected),
        }
    }

    async fn would_revoke(
        &self,
        snapshot: &Snapshot,
        resolved: Resolved,
        affected_sessions: i64,
        earlier: Option<Held>,
    ) -> Result<Revoked, Error> {
        let outcome = match resolved.standing {
            Standing::Live => RevokeOutcome::WouldRevoke,
            Standing::Revoked => RevokeOutcome::AlreadyRevoked,
            Standing::Expired => RevokeOutcome::AlreadyExpired,
        };
        let sample = match &resolved.sessions {
            Some(filter) => self.store.sessions(filter, SAMPLE_MAX).await?,
            None => Vec::new(),
        };
        let findings = self.look(&resolved, outcome == RevokeOutcome::WouldRevoke).await;
        Ok(Revoked {
            affected_sessions,
            sample,
            revoke_time: earlier.map(|earlier| earlier.revoke_time),
            reason: earlier.map(|earlier| earlier.reason).unwrap_or_default(),
            target: resolved.target,
            findings,
            ..Revoked::nothing(outcome, snapshot.revision)
        })
    }
}

/// The revocation that holds.
enum Holds {
    /// An earlier one; `None` if it is no longer on record.
    Earlier(Option<Held>),
    /// This one, with its reason.
    This(Reason),
    /// None: a target that has expired by every clock is not recorded.
    Nothing,
}

impl Holds {
    fn of(outcome: RevokeOutcome, target: &AppendTarget, reason: Reason, earlier: Option<Held>) -> Self {
        match outcome {
            RevokeOutcome::AlreadyRevoked => Self::Earlier(earlier),
            RevokeOutcome::AlreadyExpired if *target == AppendTarget::Nothing => Self::Nothing,
            RevokeOutcome::Revoked
            | RevokeOutcome::AlreadyExpired
            | RevokeOutcome::Foreign
            | RevokeOutcome::WouldRevoke => Self::This(reason),
        }
    }

    /// Its time and its reason.
    fn since(self, appended: Appended) -> (Option<Timestamp>, Reason) {
        match self {
            Self::Earlier(Some(earlier)) => (Some(earlier.revoke_time), earlier.reason),
            Self::Earlier(None) | Self::Nothing => (None, Reason::Unspecified),
            Self::This(reason) => (Some(appended.commit_time), reason),
        }
    }
}

impl Resolved {
    /// Returns whether nothing but the id of the token is known.
    pub(in crate::authority) fn is_bare(&self) -> bool {
        matches!(self.target, AppendTarget::Token(_)) && self.client_id.is_none()
    }

    /// The audit row: the whole target, and the outcome.
    fn audit(&self, act: NewAudit, note: &str, outcome: RevokeOutcome) -> NewAudit {
        let (key_id, audience, cutoff) = match &self.target {
            AppendTarget::Wide { kind, target, audience, cutoff } => (
                (*kind == MarkKind::Key).then(|| target.clone()),
                match (kind, audience.as_str()) {
                    (MarkKind::Audience, _) => Some(target.clone()),
                    (_, "") => None,
                    (_, audience) => Some(audience.to_owned()),
                },
                (cutoff.get() > 0).then_some(*cutoff),
            ),
            AppendTarget::Nothing
            | AppendTarget::Token(_)
            | AppendTarget::Session(_)
            | AppendTarget::Lock { .. } => (None, None, None),
        };
        // An issuer has no column of its own.
        let note = if let AppendTarget::Wide { kind: MarkKind::Issuer, target, .. } = &self.target {
            format!("issuer {target} {note}").trim_end().to_owned()
        } else {
            note.to_owned()
        };
        NewAudit {
            subject: self.subject.clone(),
            jti: self.jti,
            session_id: self.session_id,
            client_id: self.client_id.clone(),
            key_id,
            audience,
            cutoff,
            outcome: Some(outcome.name()),
            note,
            ..act
        }
    }

    /// The outcome to answer, and the target to write. A dead target also moves the head: the barrier is the same.
    pub(in crate::authority) fn act(&self, now: UnixSeconds) -> (RevokeOutcome, AppendTarget) {
        match self.standing {
            Standing::Live => (RevokeOutcome::Revoked, self.target.clone()),
            Standing::Revoked => (RevokeOutcome::AlreadyRevoked, AppendTarget::Nothing),
            // Some clock may still count it as live.
            Standing::Expired if now < self.expire_time => {
                (RevokeOutcome::AlreadyExpired, self.target.clone())
            }
            Standing::Expired => (RevokeOutcome::AlreadyExpired, AppendTarget::Nothing),
        }
    }
}
