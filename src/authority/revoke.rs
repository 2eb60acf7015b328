//! Revoke: when it answers OK, what it hit is dead on every replica.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    Authority, Caller, Error, Findings, Invalid, RevokeTarget,
    findings::read_foreign,
    target::{Resolved, Standing, earlier_of_both_clocks},
};
use crate::{
    replica::{Propagation, Reach},
    state::{MarkKind, Reason, Snapshot},
    store::{AppendTarget, Appended, CANARY, Held, NewAudit, NewRevocation, SessionRow},
    token::{Revision, UnixSeconds},
};

/// Sessions shown when asked what would happen.
const SAMPLE_MAX: i64 = 100;
/// Characters of a remark.
const NOTE_CHARS_MAX: usize = 500;

/// What is asked of Revoke.
#[derive(Clone, Debug)]
pub struct RevokeRequest {
    /// What to revoke.
    pub target: RevokeTarget,
    /// Why. Required for a wide target.
    pub reason: Reason,
    /// Incident number or remark.
    pub note: String,
    /// Answer what would happen, change nothing.
    pub validate_only: bool,
    /// Refuse when more live sessions than this would be hit.
    pub max_affected_sessions: Option<i64>,
    /// How far it must have travelled before the answer.
    pub reach: Reach,
    /// Longest wait for that.
    pub wait: Option<Duration>,
    /// Whether the caller has more than a few calls in flight: then others do not wait for it.
    pub asks_for_much: bool,
}

/// What became of a revocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RevokeOutcome {
    /// It took effect now.
    Revoked,
    /// An earlier one covered it.
    AlreadyRevoked,
    /// It had expired by itself.
    AlreadyExpired,
    /// Not ours; nothing was recorded.
    Foreign,
    /// It would take effect.
    WouldRevoke,
}

/// The answer of Revoke.
#[derive(Debug)]
pub struct Revoked {
    /// What happened.
    pub outcome: RevokeOutcome,
    /// Live sessions hit, where that was asked.
    pub affected_sessions: i64,
    /// Some of them.
    pub sample: Vec<SessionRow>,
    /// Commit instant, by the database's clock, of the revocation that holds.
    pub revoke_time: Option<Timestamp>,
    /// Why that was made.
    pub reason: Reason,
    /// Reflect at least this to see it.
    pub revision: Revision,
    /// Who has applied it.
    pub propagation: Option<Propagation>,
    /// The whole target as it was understood; nothing where it is not ours.
    pub target: AppendTarget,
    /// What else was found out about it.
    pub findings: Findings,
}

impl Authority {
    /// Revokes. Durable, and as far as asked, when it returns.
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
                RevokeTarget::Jti(_) | RevokeTarget::Session(_) | RevokeTarget::Wide { .. } => {
                    Findings::default()
                }
            };
            return Ok(Revoked { findings, ..Revoked::nothing(RevokeOutcome::Foreign, snapshot.revision) });
        };
        let affected_sessions = self.affected(request, &resolved).await?;
        let earlier = self.earlier(&resolved).await?;
        if request.validate_only {
            return self.would_revoke(snapshot, resolved, affected_sessions, earlier).await;
        }
        let (outcome, target) = resolved.act(earlier_of_both_clocks(snapshot));
        let holds = Holds::of(outcome, &target, request.reason, earlier);
        if resolved.is_bare() && target != AppendTarget::Nothing {
            self.check_bare_quota(&caller.client.client_id).await?;
        }
        let audit = resolved.audit(self.audit(caller, "Revoke"), &request.note, outcome);
        let line = self.line_of(&audit);
        let item = NewRevocation { target, reason: request.reason, expire_time: resolved.expire_time, audit };
        let append = async {
            let appended = self.flusher.append(item).await??;
            let propagation = self.barrier.wait(appended.revision, request.reach, request.wait).await?;
            Ok::<_, Error>((appended, propagation))
        };
        // Asked for first, and waited for last: sessions are swept once they are revoked.
        let (findings, done) = tokio::join!(self.look(&resolved, outcome == RevokeOutcome::Revoked), append);
        let (appended, propagation) = done?;
        if let Some((audit, left_out)) = line {
            audit.log(Some(appended.revision), left_out);
        }
        if matches!(request.target, RevokeTarget::Wide { kind: MarkKind::Key, .. }) {
            // On the heap: every other revocation would have the room for it.
            Box::pin(self.replace_revoked(caller)).await;
        }
        self.metrics.revoked(outcome.name());
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
        })
    }

    /// What is to be logged of it once it is done. A probe every few seconds would hide all else.
    fn line_of(&self, audit: &NewAudit) -> Option<(NewAudit, u64)> {
        if audit.subject.as_deref() == Some(CANARY) {
            return None;
        }
        Some((audit.clone(), self.revocation_lines.turn(self.clock.now_s())?))
    }

    /// The revocation that holds already.
    async fn earlier(&self, resolved: &Resolved) -> Result<Option<Held>, Error> {
        if resolved.standing != Standing::Revoked {
            return Ok(None);
        }
        Ok(self.store.held(&resolved.hit).await?.or(resolved.written))
    }

    /// Counts only when asked: an emergency never waits for a count.
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
    /// An earlier one; none where it is not on record any more.
    Earlier(Option<Held>),
    /// This one, with its reason.
    This(Reason),
    /// None: what has expired for every clock was not recorded.
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

    /// When it was made, and why.
    fn since(self, appended: Appended) -> (Option<Timestamp>, Reason) {
        match self {
            Self::Earlier(Some(earlier)) => (Some(earlier.revoke_time), earlier.reason),
            Self::Earlier(None) | Self::Nothing => (None, Reason::Unspecified),
            Self::This(reason) => (Some(appended.commit_time), reason),
        }
    }
}

impl Resolved {
    /// Whether nothing is known of the token but its id.
    pub(super) fn is_bare(&self) -> bool {
        matches!(self.target, AppendTarget::Token(_)) && self.client_id.is_none()
    }

    /// The audit row: the whole target, and what became of it.
    fn audit(&self, act: NewAudit, note: &str, outcome: RevokeOutcome) -> NewAudit {
        let (key_id, audience, cutoff) = match &self.target {
            AppendTarget::Wide { kind, target, audience, cutoff } => (
                (*kind == MarkKind::Key).then(|| target.clone()),
                (!audience.is_empty()).then(|| audience.clone()),
                (cutoff.get() > 0).then_some(*cutoff),
            ),
            AppendTarget::Nothing | AppendTarget::Token(_) | AppendTarget::Session(_) => (None, None, None),
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
            note: note.to_owned(),
            ..act
        }
    }

    /// What is answered, and what is written. What is dead already moves the head all the same: the
    /// barrier is the same.
    fn act(&self, now: UnixSeconds) -> (RevokeOutcome, AppendTarget) {
        match self.standing {
            Standing::Live => (RevokeOutcome::Revoked, self.target.clone()),
            Standing::Revoked => (RevokeOutcome::AlreadyRevoked, AppendTarget::Nothing),
            // Some clock may still take it for alive.
            Standing::Expired if now < self.expire_time => {
                (RevokeOutcome::AlreadyExpired, self.target.clone())
            }
            Standing::Expired => (RevokeOutcome::AlreadyExpired, AppendTarget::Nothing),
        }
    }
}

impl RevokeOutcome {
    /// The name that metrics use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Revoked => "REVOKED",
            Self::AlreadyRevoked => "ALREADY_REVOKED",
            Self::AlreadyExpired => "ALREADY_EXPIRED",
            Self::Foreign => "FOREIGN",
            Self::WouldRevoke => "WOULD_REVOKE",
        }
    }
}

impl Revoked {
    fn nothing(outcome: RevokeOutcome, revision: Revision) -> Self {
        Self {
            outcome,
            affected_sessions: 0,
            sample: Vec::new(),
            revoke_time: None,
            reason: Reason::Unspecified,
            revision,
            propagation: None,
            target: AppendTarget::Nothing,
            findings: Findings::default(),
        }
    }
}

impl RevokeRequest {
    fn check(&self) -> Result<(), Invalid> {
        if self.note.chars().count() > NOTE_CHARS_MAX {
            return Err(Invalid::field("note", "at most 500 characters"));
        }
        if self.note.contains('\0') {
            return Err(Invalid::field("note", "no NUL"));
        }
        if self.reason == Reason::RefreshReuse {
            return Err(Invalid::field("reason", "not REFRESH_REUSE: the server alone sets it"));
        }
        if self.max_affected_sessions.is_some_and(|max| max < 0) {
            return Err(Invalid::field("max_affected_sessions", "not negative"));
        }
        let wide = matches!(self.target, RevokeTarget::Wide { .. });
        if wide && self.reason == Reason::Unspecified && !self.validate_only {
            return Err(Invalid::required("reason"));
        }
        Ok(())
    }
}
