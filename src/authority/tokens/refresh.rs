//! Refresh: spends a refresh token for its successor and a new access token.

use std::sync::Arc;

use uuid::Uuid;

use crate::{
    authority::{
        Authority, Caller, Denied, Error, Issued, Presence, RefreshCredential, RefreshRefused,
        admin::lock::refuse_if_locked,
        tokens::{
            mint::Draft,
            refresh_request::{Call, RefreshRequest},
            refresh_rules::{refuse_by_rules, rules},
        },
    },
    mint::{ParsedRefresh, RefreshToken},
    replica::Reach,
    state::{LockKind, Permission, REFRESH_ABSOLUTE_MAX_S, Reason, Signers, Snapshot},
    store::{AppendTarget, AuditedAct, NewRevocation, Presented, Presenter, SessionRow},
};
use jeton_token::{UnixSeconds, uuid_time};

/// Looks at a row that moves while it is looked at.
const TRIES_MAX: u32 = 3;
/// Looks at a row to tell whether a token was presented before or after the row moved on.
const LOOKS_MAX: u32 = 8;

/// The time for which entries about sessions and marks are kept after they are sent, seconds: the longest life of a
/// token, the greatest leeway, the spread of clocks, and the time to send.
pub(in crate::authority) const WIDE_KEPT_S: i64 = 86_400 + 130;

/// A session's row, and the time between its latest rotation and the presentation: within these bounds, in
/// microseconds. Negative if the presentation came first.
struct Seen {
    row: Box<SessionRow>,
    least_us: i64,
    most_us: i64,
}

impl Seen {
    /// Returns whether the session is unchanged.
    fn is_spent_as(&self, before: &Self) -> bool {
        self.row.generation == before.row.generation && self.row.revoke_time.is_none()
    }
}

/// The result of a presentation.
enum Found {
    /// The session moved on.
    Advanced(Box<SessionRow>),
    /// It was the immediate predecessor, within the grace: the same successor again.
    Replayed(Box<SessionRow>),
    /// The row had lost history: it was moved up to the token, which may now be spent.
    Recovered,
    /// The row moved meanwhile.
    Moved,
}

impl Authority {
    /// Spends a refresh token, by one statement that all presentations of the moment share.
    pub async fn refresh(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        presence: &Presence,
        request: &RefreshRequest,
    ) -> Result<Issued, Error> {
        let call = Call {
            snapshot,
            caller,
            presence,
            request,
            policies: snapshot.root.issuing.policies.load_full(),
        };
        let refreshed = self.spend(&call).await;
        self.metrics.refreshed(match &refreshed {
            Ok((_, outcome)) => outcome,
            Err(Error::RefreshRefused(RefreshRefused::Reused { .. })) => "REUSED",
            Err(Error::RefreshRefused(RefreshRefused::Expired { .. })) => "EXPIRED",
            Err(Error::RefreshRefused(RefreshRefused::Revoked { .. })) => "REVOKED",
            Err(Error::RefreshRefused(RefreshRefused::Invalid)) => "INVALID",
            Err(_) => "REFUSED",
        });
        let (issued, _) = refreshed?;
        self.metrics.issued("Refresh");
        Ok(issued)
    }

    async fn spend(&self, call: &Call<'_>) -> Result<(Issued, &'static str), Error> {
        let &Call { snapshot, caller, request, .. } = call;
        caller.must(Permission::Issue)?;
        refuse_if_locked(snapshot, caller, None)?;
        request.check(snapshot.issue_time())?;
        // One HMAC in every case, and no query for a token that jeton did not make.
        let signers = snapshot.root.issuing.signers.load_full();
        let Some(token) = RefreshToken::open(&request.refresh_token, |id| signers.mac(id)) else {
            let unusable = unusable_mac(&signers, &request.refresh_token);
            return Err(unusable.unwrap_or_else(|| caller.forged().into()));
        };
        if let Some(reason) = snapshot.root.sessions.get(&token.session_id) {
            return Err(self.revoked(call, &token, reason).await);
        }
        let presented = Presented {
            id: token.session_id,
            generation: token.generation,
            secret_hash: token.secret.hash(),
            presenter: Arc::new(Presenter {
                client_id: caller.client.client_id.clone(),
                subjects: caller.client.subjects.clone(),
                scopes: request.scopes.clone(),
                rules: rules(call),
            }),
        };
        let mut outcome = "ROTATED";
        for _ in 0..TRIES_MAX {
            let row = match self.present(call, &presented).await? {
                Found::Advanced(row) => row,
                Found::Replayed(row) => {
                    outcome = "REPLAYED";
                    self.audit_session(call, "RefreshReplayed", &row, "OK").await?;
                    row
                }
                Found::Recovered => {
                    outcome = "RECOVERED";
                    continue;
                }
                Found::Moved => continue,
            };
            refuse_if_lock_was_lost(call, &row)?;
            let snapshot = self.snapshot_of(snapshot, &row).await?;
            self.refuse_if_revoked(&row).await?;
            let issued = self.succeed(call, &snapshot, &token, &row)?;
            // The age counts from the first snapshot: a later one does not begin another call.
            self.check_age(call.snapshot)?;
            return Ok((issued, outcome));
        }
        Err(Error::StoreUnavailable)
    }

    /// The snapshot whose (rev, iat) the next token bears: the call's. If the session was opened at a later revision
    /// than this replica had reached, a later snapshot: otherwise a mark from before the session would hit the token.
    /// It is taken before the marks are looked up.
    async fn snapshot_of(&self, snapshot: &Snapshot, row: &SessionRow) -> Result<Snapshot, Error> {
        if row.revision > snapshot.revision { self.renewed_snapshot().await } else { Ok(snapshot.clone()) }
    }

    async fn present(&self, call: &Call<'_>, presented: &Presented) -> Result<Found, Error> {
        let advanced = tokio::select! {
            advanced = self.refresher.advance(presented.clone()) => advanced??,
            // A token that was not sent to the database is not spent. If it was sent, nobody waits for the result.
            () = call.presence.gone() => return Err(Error::StoreUnavailable),
        };
        if let Some(row) = advanced {
            return Ok(Found::Advanced(row));
        }
        match self.look_at(call, presented.id).await? {
            Some(seen) => self.why_refused(call, presented, seen).await,
            None => Err(absent(presented.id, call.snapshot.now()).into()),
        }
    }

    /// The session's row now, and the time from its latest rotation to the presentation.
    async fn look_at(&self, call: &Call<'_>, id: Uuid) -> Result<Option<Seen>, Error> {
        let before_us = call.presence.waited_us(&self.clock);
        let Some(row) = self.store.session(id).await? else { return Ok(None) };
        let after_us = call.presence.waited_us(&self.clock);
        let since_us = row.since_rotation_us;
        let (least_us, most_us) = (since_us.saturating_sub(after_us), since_us.saturating_sub(before_us));
        Ok(Some(Seen { row: Box::new(row), least_us, most_us }))
    }

    /// The reason why the session did not move on, by its row.
    async fn why_refused(&self, call: &Call<'_>, presented: &Presented, seen: Seen) -> Result<Found, Error> {
        let Seen { row, .. } = &seen;
        if row.secret_hash != presented.secret_hash {
            return Err(call.caller.forged().into());
        }
        self.refuse_others(call, row).await?;
        self.refuse_if_revoked(row).await?;
        refuse_if_locked(&self.snapshot().await?, call.caller, Some(&row.subject))?;
        refuse_if_expired(row)?;
        let terms = call.policies.terms(&row.audiences, &row.client_id);
        let generation = i64::from(presented.generation);
        if generation > row.generation {
            if self.store.recover_session(row.id, generation).await? {
                tracing::warn!(jeton.session_id = %row.id, "a session had lost history and was moved past it");
                self.audit_session(call, "RefreshHistoryLost", row, "OK").await?;
            }
            return Ok(Found::Recovered);
        }
        if generation == row.generation {
            refuse_by_rules(call, &terms, row)?;
            // The statement knew of a lock that this replica had not applied.
            refuse_if_locked(&self.renewed_snapshot().await?, call.caller, Some(&row.subject))?;
            return Ok(Found::Moved);
        }
        let grace_us = terms.refresh_grace_s().saturating_mul(1_000_000);
        if generation.saturating_add(1) == row.generation && seen.least_us.max(0) < grace_us {
            refuse_by_rules(call, &terms, row)?;
            return Ok(Found::Replayed(seen.row));
        }
        self.refuse_spent(call, seen).await
    }

    /// A spent token is reuse if it was presented after the latest rotation and its caller still waits. Otherwise it
    /// may belong to a call that was given up and repeated, which is no proof of theft.
    async fn refuse_spent(&self, call: &Call<'_>, mut seen: Seen) -> Result<Found, Error> {
        for _ in 0..LOOKS_MAX {
            if call.presence.has_gone() || seen.most_us < 0 {
                break;
            }
            if seen.least_us >= 0 {
                return Err(self.reused(call.snapshot, call.caller, &seen.row).await);
            }
            // The presentation came about when the session moved on: a faster look can tell which was first.
            match self.look_at(call, seen.row.id).await? {
                Some(next) if next.is_spent_as(&seen) => seen = next,
                Some(_) | None => return Ok(Found::Moved),
            }
        }
        self.audit_session(call, "Refresh", &seen.row, "REFRESH_TOKEN_INVALID").await?;
        Err(RefreshRefused::Invalid.into())
    }

    /// A session in the denylist. Only its row knows its client, and no other client is told.
    async fn revoked(&self, call: &Call<'_>, token: &RefreshToken, reason: Reason) -> Error {
        let row = match self.store.session(token.session_id).await {
            Ok(row) => row.filter(|row| row.secret_hash == token.secret.hash()),
            Err(error) => return error.into(),
        };
        let Some(row) = row else { return absent(token.session_id, call.snapshot.issue_time()).into() };
        match self.refuse_others(call, &row).await {
            Ok(()) => RefreshRefused::Revoked { session_id: row.id, reason }.into(),
            Err(error) => error,
        }
    }

    /// Refuses every client but the one that opened the session, which lives on.
    async fn refuse_others(&self, call: &Call<'_>, row: &SessionRow) -> Result<(), Error> {
        if row.client_id == call.caller.client.client_id {
            return Ok(());
        }
        self.audit_session(call, "Refresh", row, "REFRESH_TOKEN_INVALID").await?;
        Err(RefreshRefused::Invalid.into())
    }

    /// A spent token was presented: it was stolen, or its successor was. The session and all its tokens are revoked
    /// before the refusal is answered.
    async fn reused(&self, snapshot: &Snapshot, caller: &Caller, row: &SessionRow) -> Error {
        let mut audit = self.audit(caller, "RefreshReuseDetected");
        audit.subject = Some(row.subject.clone());
        audit.session_id = Some(row.id);
        audit.client_id = Some(row.client_id.clone());
        let item = NewRevocation {
            target: AppendTarget::Session(row.id),
            reason: Reason::RefreshReuse,
            expire_time: self.wide_end(snapshot),
            audit,
        };
        match self.flusher.append(item).await {
            Ok(Ok(appended)) => {
                if let Err(over) = self.barrier.wait(appended.revision, Reach::Replicas, None).await {
                    return over.into();
                }
                tracing::warn!(jeton.session_id = %row.id, "a spent refresh token was presented: session revoked");
                RefreshRefused::Reused { session_id: row.id }.into()
            }
            Ok(Err(error)) => error.into(),
            Err(full) => full.into(),
        }
    }

    /// Refuses if the session is revoked in a new snapshot, which has the marks that came during the statement.
    async fn refuse_if_revoked(&self, row: &SessionRow) -> Result<(), Error> {
        let held = self.snapshot().await?.root.session_revoked(row.facts());
        let written = row.revoke_time.map(|_| row.revoke_reason);
        if held.is_some() && written.is_none() {
            self.store.end_session(row.id, held.unwrap_or_default()).await?;
        }
        match held.or(written) {
            Some(reason) => Err(RefreshRefused::Revoked { session_id: row.id, reason }.into()),
            None => Ok(()),
        }
    }

    fn succeed(
        &self,
        call: &Call<'_>,
        snapshot: &Snapshot,
        token: &RefreshToken,
        row: &SessionRow,
    ) -> Result<Issued, Error> {
        let Call { caller, request, policies, .. } = call;
        let generation =
            u32::try_from(row.generation).map_err(|_| Error::Internal("generation".to_owned()))?;
        let signers = snapshot.root.issuing.signers.load();
        let mac = signers.mac(token.key_id).ok_or(Error::SigningKeyUnavailable(None))?;
        let terms = policies.terms(&row.audiences, &row.client_id);
        // Scopes that the policy has lost since are left out.
        let asked = if request.scopes.is_empty() { row.scopes.clone() } else { request.scopes.clone() };
        let minted = self.mint(
            snapshot,
            &terms,
            Draft {
                subject: row.subject.clone(),
                audiences: row.audiences.clone(),
                scopes: terms.allowed_of(asked),
                client_id: caller.client.client_id.clone(),
                custom: row.claims.clone(),
                certificate_thumbprint: row.certificate_thumbprint,
                identity_provider: row.identity_provider.clone(),
                actor: None,
                session_id: Some(row.id),
                session_end: Some(row.expire_time),
                ask: request.ask,
            },
        )?;
        let refresh = RefreshCredential {
            refresh_token: RefreshToken::mint(mac, row.id, generation, &token.secret),
            idle_expire_time: row.idle_expire_time,
            session_expire_time: row.expire_time,
        };
        Ok(Issued::new(minted, Some(row.id), Some(refresh)))
    }

    async fn audit_session(
        &self,
        call: &Call<'_>,
        action: &'static str,
        row: &SessionRow,
        outcome: &str,
    ) -> Result<(), Error> {
        let mut audit = self.audit(call.caller, action);
        audit.subject = Some(row.subject.clone());
        audit.session_id = Some(row.id);
        audit.client_id = Some(row.client_id.clone());
        let act = AuditedAct { audit, known: call.snapshot.revision, outcome: outcome.to_owned() };
        Ok(self.auditor.audit(act).await??)
    }
}

/// Refuses if the session's subject was locked when the call began, and the statement that spent the token did not know it:
/// the tables have lost the lock, and will have it again. A lock that came during the call does not refuse it: a spent
/// token whose successor was kept back would count as stolen when it is presented again.
fn refuse_if_lock_was_lost(call: &Call<'_>, row: &SessionRow) -> Result<(), Denied> {
    let snapshot = call.snapshot;
    let lock = snapshot.root.issuing.locks.held(LockKind::Subject, &row.subject, snapshot.now());
    match lock.filter(|lock| lock.revision <= snapshot.revision) {
        Some(lock) => {
            Err(call.caller.denied(Denied::Locked { kind: LockKind::Subject, until: lock.end_time }))
        }
        None => Ok(()),
    }
}

/// The refusal of a text that names a MAC key which cannot be used here: the token may be good, so it is neither called
/// bad nor spent.
pub(in crate::authority) fn unusable_mac(signers: &Signers, text: &str) -> Option<Error> {
    let record = signers.unusable_mac(ParsedRefresh::parse(text)?.key_id())?;
    Some(Error::MacKeyUnavailable { id: record.id, refused: record.refused })
}

/// The refusal for a session without a row: it never existed, or was dropped after the longest life that a session can
/// have.
fn absent(id: Uuid, now: UnixSeconds) -> RefreshRefused {
    let end = uuid_time(id).saturating_add(REFRESH_ABSOLUTE_MAX_S);
    if now >= end {
        RefreshRefused::Expired { limit: "absolute", expire_time: end }
    } else {
        RefreshRefused::Invalid
    }
}

fn refuse_if_expired(row: &SessionRow) -> Result<(), RefreshRefused> {
    if row.now >= row.expire_time {
        return Err(RefreshRefused::Expired { limit: "absolute", expire_time: row.expire_time });
    }
    if row.now >= row.idle_expire_time {
        return Err(RefreshRefused::Expired { limit: "idle", expire_time: row.idle_expire_time });
    }
    Ok(())
}
