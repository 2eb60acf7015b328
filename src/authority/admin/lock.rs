//! Locks: for a time nothing is issued for a subject, or to a client. A revocation ends what was issued before; without a
//! lock a compromised caller has its next token a second later.

use std::{sync::Arc, time::Duration};

use crate::{
    authority::{
        Authority, Caller, Denied, Error, Invalid,
        admin::page::{Page, page},
        tokens::revocation::{RevokeRequest, check_note},
    },
    replica::{Propagation, Reach},
    state::{Lock, LockKind, Permission, Reason, Snapshot},
    store::{AppendTarget, NewAudit, NewRevocation},
};
use jeton_token::{Revision, UnixSeconds, text};

/// The longest lock, seconds: a client that is to stay out longer is disabled or deleted.
const LOCK_TTL_MAX_S: i64 = 30 * 86_400;

/// A request of Lock. The target is unchecked.
#[derive(Clone, Debug)]
pub struct LockRequest {
    /// The kind of target.
    pub kind: LockKind,
    /// The subject or the client.
    pub target: String,
    /// For so long, seconds.
    pub ttl_s: i64,
    /// Incident number or note.
    pub note: String,
    /// The longest wait for the replicas.
    pub wait: Option<Duration>,
}

/// A request of Unlock. The target is unchecked.
#[derive(Clone, Debug)]
pub struct UnlockRequest {
    /// The kind of target.
    pub kind: LockKind,
    /// The subject or the client.
    pub target: String,
    /// Incident number or note.
    pub note: String,
    /// The longest wait for the replicas.
    pub wait: Option<Duration>,
}

/// The answer of Lock and of Unlock.
#[derive(Debug)]
pub struct LockChanged {
    /// The lock as it holds now. `None` after Unlock.
    pub lock: Option<Arc<Lock>>,
    /// The lock that held before, as it stood. `None`: there was none.
    pub earlier: Option<Arc<Lock>>,
    /// The replicas that have applied the change.
    pub propagation: Propagation,
}

impl Authority {
    /// Locks. In effect on every replica when it returns.
    pub async fn lock(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        request: &LockRequest,
    ) -> Result<LockChanged, Error> {
        caller.must(Permission::RevokeWide)?;
        check_note(&request.note)?;
        self.check_lock(snapshot, request, ("", "ttl")).await?;
        let earlier = snapshot.root.issuing.locks.held(request.kind, &request.target, self.now());
        let revision = self.append_lock(caller, request).await?;
        let propagation = self.barrier.wait(revision, Reach::Replicas, request.wait).await?;
        let lock = self.lock_of(request.kind, &request.target).await?;
        Ok(LockChanged { lock, earlier, propagation })
    }

    /// Ends a lock. In effect on every replica when it returns.
    pub async fn unlock(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        request: &UnlockRequest,
    ) -> Result<LockChanged, Error> {
        caller.must(Permission::RevokeWide)?;
        check_note(&request.note)?;
        check_target(request.kind, &request.target, "")?;
        let earlier = snapshot.root.issuing.locks.held(request.kind, &request.target, self.now());
        if request.kind == LockKind::Client && earlier.is_none() {
            self.must_be_known(snapshot, &request.target).await?;
        }
        // Appended even if this replica knows of no lock: the database may have one that is not applied here yet.
        let outcome = if earlier.is_some() { "OK" } else { "NOT_LOCKED" };
        let audit =
            NewAudit { outcome: Some(outcome), note: request.note.clone(), ..self.audit(caller, "Unlock") };
        let revision = self.append(request.kind, &request.target, None, audit).await?;
        let propagation = self.barrier.wait(revision, Reach::Replicas, request.wait).await?;
        Ok(LockChanged { lock: None, earlier, propagation })
    }

    /// A page of the locks that hold, newest first.
    pub fn list_locks(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        page_size: i32,
        page_token: &str,
    ) -> Result<(Vec<Arc<Lock>>, String), Error> {
        if !caller.client.may(Permission::RevokeWide) {
            caller.must(Permission::AdminRead)?;
        }
        let page = page("locks", page_size, page_token)?;
        let mut locks = snapshot.root.issuing.locks.all_held(self.now());
        locks.sort_by_key(|lock| std::cmp::Reverse(lock.revision));
        if let Some(before) = page.after_revision()? {
            locks.retain(|lock| lock.revision < before);
        }
        let next = page.cut(&mut locks, |lock| Page::place_of(lock.revision));
        Ok((locks, next))
    }

    /// The locks that hold on a subject and on a client.
    pub(in crate::authority) fn locks_on(
        &self,
        snapshot: &Snapshot,
        subject: &str,
        client_id: &str,
    ) -> Vec<Arc<Lock>> {
        let held = |kind, target| snapshot.root.issuing.locks.held(kind, target, self.now());
        held(LockKind::Subject, subject).into_iter().chain(held(LockKind::Client, client_id)).collect()
    }

    /// The lock that a revocation makes as well, if its request asks for one that may be made.
    pub(in crate::authority) async fn lock_beside(
        &self,
        snapshot: &Snapshot,
        request: &RevokeRequest,
    ) -> Result<Option<LockRequest>, Error> {
        let Some(lock) = request.lock_beside()? else { return Ok(None) };
        self.check_lock(snapshot, &lock, ("target.", "lock_ttl")).await?;
        Ok(Some(lock))
    }

    /// Refuses a lock that may not be made. Refusals name the fields of the target with this prefix, and the time by this
    /// name.
    async fn check_lock(
        &self,
        snapshot: &Snapshot,
        request: &LockRequest,
        (prefix, ttl): (&str, &str),
    ) -> Result<(), Error> {
        check_target(request.kind, &request.target, prefix)?;
        if !(1..=LOCK_TTL_MAX_S).contains(&request.ttl_s) {
            return Err(Invalid::field(ttl, "from 1 s to 30 days").into());
        }
        if request.kind == LockKind::Client {
            self.must_be_known(snapshot, &request.target).await?;
            self.must_leave_an_administrator(snapshot, &request.target, prefix)?;
        }
        Ok(())
    }

    /// Refuses to lock the last administrator that is not locked (C6).
    fn must_leave_an_administrator(
        &self,
        snapshot: &Snapshot,
        client_id: &str,
        prefix: &str,
    ) -> Result<(), Invalid> {
        let now = self.now();
        let clients = snapshot.root.issuing.clients.load();
        let is_free = |it: &str| snapshot.root.issuing.locks.held(LockKind::Client, it, now).is_none();
        let is_administrator = clients.administrators(now).any(|it| it == client_id);
        if is_administrator && !clients.administrators(now).any(|it| it != client_id && is_free(it)) {
            let rule = "another client. This one is the last administrator that is not locked, and nobody could unlock it";
            return Err(Invalid::field(format!("{prefix}client_id"), rule));
        }
        Ok(())
    }

    /// Appends a lock, and returns its revision. It is not in effect everywhere yet.
    pub(in crate::authority) async fn append_lock(
        &self,
        caller: &Caller,
        request: &LockRequest,
    ) -> Result<Revision, Error> {
        let end = self.now().saturating_add(request.ttl_s);
        let until = format!("until {}", jiff::Timestamp::from(end));
        let note = request.note.clone();
        let audit_note = if note.is_empty() { until } else { format!("{until}: {note}") };
        let audit = NewAudit { note: audit_note, ..self.audit(caller, "Lock") };
        self.append(request.kind, &request.target, Some((end, note)), audit).await
    }

    /// Appends a lock with its end and its note, or the end of one.
    async fn append(
        &self,
        kind: LockKind,
        target: &str,
        lock: Option<(UnixSeconds, String)>,
        act: NewAudit,
    ) -> Result<Revision, Error> {
        let name = Some(target.to_owned());
        let audit = match kind {
            LockKind::Subject => NewAudit { subject: name, ..act },
            LockKind::Client => NewAudit { client_id: name, ..act },
        };
        let line = audit.clone();
        let (expire_time, note) = lock.map_or((UnixSeconds::new(0), None), |(end, note)| (end, Some(note)));
        let target = AppendTarget::Lock { kind, target: target.to_owned(), note };
        let item = NewRevocation { target, reason: Reason::Unspecified, expire_time, audit };
        let appended = self.flusher.append(item).await??;
        line.log(Some(appended.revision), 0);
        Ok(appended.revision)
    }

    /// The lock of a target, as it holds after a change that this replica has applied.
    pub(in crate::authority) async fn lock_of(
        &self,
        kind: LockKind,
        target: &str,
    ) -> Result<Option<Arc<Lock>>, Error> {
        Ok(self.snapshot().await?.root.issuing.locks.get(kind, target))
    }
}

fn check_target(kind: LockKind, target: &str, prefix: &str) -> Result<(), Invalid> {
    let (field, rule) = match kind {
        LockKind::Subject => ("subject", text::check_subject(target)),
        LockKind::Client => ("client_id", text::check_client_id(target)),
    };
    let field = format!("{prefix}{field}");
    if target.is_empty() {
        return Err(Invalid::required(field));
    }
    rule.map_err(|rule| Invalid::field(field, rule))
}

/// Refuses to issue for a locked subject, or to a locked client.
pub(in crate::authority) fn refuse_if_locked(
    snapshot: &Snapshot,
    caller: &Caller,
    subject: Option<&str>,
) -> Result<(), Denied> {
    let client_id = Some(caller.client.client_id.as_str());
    for (kind, target) in [(LockKind::Client, client_id), (LockKind::Subject, subject)] {
        let Some(target) = target else { continue };
        if let Some(lock) = snapshot.root.issuing.locks.held(kind, target, snapshot.now()) {
            return Err(caller.denied(Denied::Locked { kind, until: lock.end_time }));
        }
    }
    Ok(())
}

impl RevokeRequest {
    /// The lock that it asks for.
    fn lock_beside(&self) -> Result<Option<LockRequest>, Invalid> {
        use crate::authority::RevokeTarget::Wide;
        let Some(ttl_s) = self.lock_ttl_s else { return Ok(None) };
        let refused = || Invalid::field("lock_ttl", "with a subject or a client, and without an audience");
        let Wide { kind, target, audience: None, .. } = &self.target else { return Err(refused()) };
        let kind = LockKind::of(*kind).ok_or_else(refused)?;
        let (target, note) = (target.clone(), self.note.clone());
        Ok(Some(LockRequest { kind, target, ttl_s, note, wait: None }))
    }
}
