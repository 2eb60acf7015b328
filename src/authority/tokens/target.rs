//! The target of a revocation: resolves it to a token, session or mark, and finds its client and its state.

use jiff::Timestamp;
use tokio::task::yield_now;
use uuid::Uuid;

use crate::{
    authority::{
        Authority, Caller, Denied, Error, Invalid,
        tokens::{
            refresh::{WIDE_KEPT_S, unusable_mac},
            revocation::RevokeRequest,
            target_form::{check_wide, effective_cutoff, not_uuid},
        },
    },
    mint::RefreshToken,
    state::{KeyState, MarkKind, Permission, Snapshot},
    store::{AppendTarget, Held, Hit, SessionFilter, SessionRow},
};
use jeton_token::{
    LIFETIME_CAP_S, UnixSeconds, Verified, looks_like_refresh_token, parse_uuid_v7,
    pasted::{bare, candidates},
    uuid_unix_ms,
};

/// The time for which a token known by its text is kept past its `exp`, seconds: the greatest leeway and the spread of
/// clocks.
const PAST_EXP_S: i64 = 120;
/// The greatest time by which a bare jti may be ahead of our clock, seconds.
const JTI_AHEAD_S: i64 = 60;

/// The target of a request. The texts are unchecked.
#[derive(Clone, Debug)]
pub enum RevokeTarget {
    /// One token, or a refresh token's session, by its text.
    Token(String),
    /// One token by its `jti`.
    Jti(String),
    /// One session.
    Session(String),
    /// A wide target.
    Wide {
        /// The kind.
        kind: MarkKind,
        /// The subject, client or `kid`.
        target: String,
        /// Only tokens for this audience.
        audience: Option<String>,
        /// Only what was issued before this time.
        cutoff: Option<Timestamp>,
    },
}

/// The state of a target before the revocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::authority) enum Standing {
    /// It is in force, as far as this replica knows.
    Live,
    /// An earlier revocation covers it.
    Revoked,
    /// It has expired by itself.
    Expired,
}

/// A target, resolved.
#[derive(Debug)]
pub(in crate::authority) struct Resolved {
    pub(in crate::authority) target: AppendTarget,
    pub(in crate::authority) standing: Standing,
    pub(in crate::authority) expire_time: UnixSeconds,
    /// For the audit.
    pub(in crate::authority) subject: Option<String>,
    pub(in crate::authority) jti: Option<Uuid>,
    pub(in crate::authority) session_id: Option<Uuid>,
    pub(in crate::authority) client_id: Option<String>,
    /// Live sessions that it hits; `None` if there can be none.
    pub(in crate::authority) sessions: Option<SessionFilter>,
    /// The earlier revocations that may have hit it.
    pub(in crate::authority) hit: Hit,
    /// The earlier revocation in its row.
    pub(in crate::authority) written: Option<Held>,
}

impl Resolved {
    fn new(target: AppendTarget, standing: Standing, expire_time: UnixSeconds) -> Self {
        Self {
            target,
            standing,
            expire_time,
            subject: None,
            jti: None,
            session_id: None,
            client_id: None,
            sessions: None,
            hit: Hit::default(),
            written: None,
        }
    }

    /// The session of a row, with the revocations that may have hit it.
    fn of_session(id: Uuid, row: SessionRow, standing: Standing, expire_time: UnixSeconds) -> Self {
        let written = row.revoke_time.map(|revoke_time| Held { revoke_time, reason: row.revoke_reason });
        Self {
            hit: Hit {
                session_id: Some(id),
                subject: Some(row.subject.clone()),
                client_id: Some(row.client_id.clone()),
                audiences: row.audiences,
                revision: row.revision,
                issue_time: UnixSeconds::new(uuid_unix_ms(id).div_euclid(1000)),
                ..Hit::default()
            },
            written,
            subject: Some(row.subject),
            client_id: Some(row.client_id),
            session_id: Some(id),
            sessions: Some(SessionFilter { id: Some(id), ..SessionFilter::default() }),
            ..Self::new(AppendTarget::Session(id), standing, expire_time)
        }
    }
}

impl Authority {
    /// The time until which an entry about a session or a mark is kept.
    pub(in crate::authority) fn wide_end(&self, snapshot: &Snapshot) -> UnixSeconds {
        let now = UnixSeconds::new(self.clock.now_s());
        now.saturating_add(WIDE_KEPT_S).saturating_add(snapshot.root.behind_s())
    }

    /// Resolves the target, if the caller may revoke it. `None`: foreign.
    pub(in crate::authority) async fn resolve(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        request: &RevokeRequest,
    ) -> Result<Option<Resolved>, Error> {
        match &request.target {
            RevokeTarget::Token(text) if bare(text).is_empty() => {
                Err(Invalid::required("target.token").into())
            }
            RevokeTarget::Token(text) => self.text(snapshot, caller, text, request.asks_for_much).await,
            RevokeTarget::Jti(text) => bare_jti(snapshot, caller, text).map(Some),
            RevokeTarget::Session(text) => {
                let id = parse_uuid_v7(text).ok_or_else(|| not_uuid("target.session_id", text))?;
                let row = self.store.session(id).await?;
                self.session(snapshot, caller, id, row).map(Some)
            }
            RevokeTarget::Wide { kind, target, audience, cutoff } => {
                caller.must(Permission::RevokeWide)?;
                let resolved = self.wide(snapshot, *kind, target, audience.as_deref(), *cutoff)?;
                match kind {
                    MarkKind::Client => self.must_be_known(snapshot, target).await?,
                    MarkKind::Key => self.key_must_be_known(snapshot, target).await?,
                    MarkKind::Subject => {}
                }
                Ok(Some(resolved))
            }
        }
    }

    /// The token in a text. The text is tried as it stands first, then the candidates within it.
    async fn text(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        text: &str,
        asks_for_much: bool,
    ) -> Result<Option<Resolved>, Error> {
        let mut found = self.exact_text(snapshot, caller, text, asks_for_much).await?;
        if found.is_some() {
            return Ok(found);
        }
        for candidate in candidates(text).iter().filter(|candidate| *candidate != text) {
            yield_now().await;
            let resolved = self.exact_text(snapshot, caller, candidate, asks_for_much).await?;
            let Some(resolved) = resolved else { continue };
            if found.as_ref().is_some_and(|found| found.target != resolved.target) {
                return Err(Invalid::field("target.token", "one token: this text holds several").into());
            }
            found = Some(resolved);
        }
        Ok(found)
    }

    async fn exact_text(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        text: &str,
        asks_for_much: bool,
    ) -> Result<Option<Resolved>, Error> {
        if looks_like_refresh_token(text) {
            return self.refresh_token(snapshot, caller, text).await;
        }
        // Signatures are verified on the threads that keep the lease: one at a time, and one for clients with many
        // calls in flight, for whom nobody else waits.
        let [texts, texts_of_many] = &self.texts;
        let turn = if asks_for_much { texts_of_many } else { texts };
        let _turn = turn.acquire().await.map_err(|_closed| Error::Draining)?;
        self.access_token(snapshot, caller, text)
    }

    /// Refuses a client that was never registered, as far as can be known. A deleted one may have left tokens.
    async fn must_be_known(&self, snapshot: &Snapshot, client_id: &str) -> Result<(), Error> {
        let marked = snapshot.root.marks.get(MarkKind::Client, client_id, "").is_some();
        if marked || snapshot.root.issuing.clients.load().get(client_id).is_some() {
            return Ok(());
        }
        let filter =
            SessionFilter { client_id: Some(client_id.to_owned()), ended: true, ..SessionFilter::default() };
        // Even if its row cannot be trusted: its tokens may be live.
        let is_stored = self.store.client(client_id).await?.is_some();
        if !is_stored && self.store.sessions(&filter, 1).await?.is_empty() {
            return Err(Error::NotFound { resource_type: "client", name: client_id.to_owned() });
        }
        Ok(())
    }

    /// Refuses a key that is not in the database. One whose row cannot be trusted is revoked like any other.
    async fn key_must_be_known(&self, snapshot: &Snapshot, key_id: &str) -> Result<(), Error> {
        let now = UnixSeconds::new(self.clock.now_s());
        if snapshot.root.keys.load().find(key_id, now).is_some() {
            return Ok(());
        }
        let stored = self.store.keys().await?.signing;
        if stored.iter().any(|row| row.refused.is_some() && row.key_id == key_id) {
            return Ok(());
        }
        Err(Error::NotFound { resource_type: "key", name: key_id.to_owned() })
    }

    /// A token of ours, acceptable or not: keyed by its jti, so every spelling of it dies.
    fn access_token(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        text: &str,
    ) -> Result<Option<Resolved>, Error> {
        let judge = self.judge(&snapshot.root);
        let now = snapshot.now();
        let Ok(verified) = judge.verify(text, || now) else { return Ok(None) };
        let keys = snapshot.root.keys.load();
        let Some(key) = keys.find(&verified.key_id, now) else { return Ok(None) };
        must_own(caller, verified.client_id())?;
        let end = verified.expire_time.min(verified.issue_time.saturating_add(LIFETIME_CAP_S));
        // Its own `rev` counts even if it is ahead of us: to count the token as revoked by an older mark would leave it
        // unrecorded, and live where its `rev` is known.
        let revision = snapshot.revision.max(verified.revision);
        let standing = if judge.revocation(&verified, Some(key.as_ref()), revision).is_some() {
            Standing::Revoked
        } else if earlier_of_both_clocks(snapshot) >= end.saturating_add(judge.leeway_s(&verified)) {
            Standing::Expired
        } else {
            Standing::Live
        };
        // A token from a clock ahead of ours is kept no longer than a token can live from now.
        let expire_time =
            end.min(now.saturating_add(LIFETIME_CAP_S + JTI_AHEAD_S)).saturating_add(PAST_EXP_S);
        Ok(Some(of_token(&verified, standing, expire_time)))
    }

    async fn refresh_token(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        text: &str,
    ) -> Result<Option<Resolved>, Error> {
        let signers = snapshot.root.issuing.signers.load_full();
        let Some(token) = RefreshToken::open(text, |id| signers.mac(id)) else {
            // The token may be good: to call it foreign would leave it alive.
            return unusable_mac(&signers, text).map_or(Ok(None), Err);
        };
        let row = self.store.session(token.session_id).await?;
        // The MAC key alone cannot make a token: the row knows the secret.
        if row.as_ref().is_some_and(|row| row.secret_hash != token.secret.hash()) {
            return Ok(None);
        }
        if row.is_none() {
            // The token is ours, and its row may have been lost with a restore: its access tokens may be live.
            return self.lost_session(snapshot, caller, token.session_id).map(Some);
        }
        self.session(snapshot, caller, token.session_id, row).map(Some)
    }

    /// A session without a row: nothing tells whose it is.
    fn lost_session(&self, snapshot: &Snapshot, caller: &Caller, id: Uuid) -> Result<Resolved, Error> {
        caller.must(Permission::RevokeAny)?;
        let held = snapshot.root.sessions.get(&id).is_some();
        let standing = if held { Standing::Revoked } else { Standing::Live };
        Ok(Resolved {
            session_id: Some(id),
            hit: Hit { session_id: Some(id), ..Hit::default() },
            ..Resolved::new(AppendTarget::Session(id), standing, self.wide_end(snapshot))
        })
    }

    fn session(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        id: Uuid,
        row: Option<SessionRow>,
    ) -> Result<Resolved, Error> {
        let held = snapshot.root.sessions.get(&id).is_some();
        let Some(row) = row else {
            // Its entry still tells the state.
            let resolved = self.lost_session(snapshot, caller, id)?;
            let missing = || Error::NotFound { resource_type: "session", name: id.to_string() };
            return if held { Ok(resolved) } else { Err(missing()) };
        };
        must_own(caller, &row.client_id)?;
        let standing =
            if held || row.revoke_time.is_some() || snapshot.root.marks.hit_session(row.facts()).is_some() {
                Standing::Revoked
            } else if row.is_live() {
                Standing::Live
            } else {
                Standing::Expired
            };
        Ok(Resolved::of_session(id, row, standing, self.wide_end(snapshot)))
    }

    fn wide(
        &self,
        snapshot: &Snapshot,
        kind: MarkKind,
        target: &str,
        audience: Option<&str>,
        cutoff: Option<Timestamp>,
    ) -> Result<Resolved, Error> {
        check_wide(kind, target, audience, cutoff)?;
        let now = UnixSeconds::new(self.clock.now_s());
        let cutoff = cutoff
            .map(|cutoff| effective_cutoff(cutoff, self.clock.now()))
            .transpose()?
            .unwrap_or(UnixSeconds::new(0));
        let audience = audience.unwrap_or_default();
        let held = snapshot.root.marks.get(kind, target, audience);
        let standing = match kind {
            MarkKind::Key => {
                let keys = snapshot.root.keys.load();
                let is_revoked =
                    keys.find(target, now).is_some_and(|key| key.life.state == KeyState::Revoked);
                if is_revoked || held.is_some() { Standing::Revoked } else { Standing::Live }
            }
            // Without a cutoff it always hits more than before: everything issued since.
            MarkKind::Subject | MarkKind::Client => match held {
                Some(mark) if cutoff.get() > 0 && mark.cutoff >= cutoff => Standing::Revoked,
                _ => Standing::Live,
            },
        };
        let (subject, client_id) = match kind {
            MarkKind::Subject => (Some(target.to_owned()), None),
            MarkKind::Client => (None, Some(target.to_owned())),
            MarkKind::Key => (None, None),
        };
        // A key mark ends no session: its next token is signed by another key.
        let sessions = (kind != MarkKind::Key).then(|| SessionFilter {
            subject: subject.clone(),
            client_id: client_id.clone(),
            audience: (!audience.is_empty()).then(|| audience.to_owned()),
            opened_before: (cutoff.get() > 0).then(|| cutoff.into()),
            ..SessionFilter::default()
        });
        // The earlier marks that hit as much.
        let hit = Hit {
            subject: subject.clone(),
            client_id: client_id.clone(),
            key_id: (kind == MarkKind::Key).then(|| target.to_owned()),
            audiences: (!audience.is_empty()).then(|| audience.to_owned()).into_iter().collect(),
            issue_time: cutoff.saturating_add(-1),
            ..Hit::default()
        };
        let wide =
            AppendTarget::Wide { kind, target: target.to_owned(), audience: audience.to_owned(), cutoff };
        let expire_time = self.wide_end(snapshot);
        Ok(Resolved { subject, client_id, sessions, hit, ..Resolved::new(wide, standing, expire_time) })
    }
}

fn bare_jti(snapshot: &Snapshot, caller: &Caller, text: &str) -> Result<Resolved, Error> {
    if text.is_empty() {
        return Err(Invalid::required("target.jti").into());
    }
    let jti = parse_uuid_v7(text).ok_or_else(|| not_uuid("target.jti", text))?;
    let now = snapshot.now();
    let made = UnixSeconds::new(uuid_unix_ms(jti).div_euclid(1000));
    if made.since(now) > JTI_AHEAD_S {
        return Err(
            Invalid::field("target.jti", "its time is not more than 60 s ahead of the server's").into()
        );
    }
    // Nothing stored tells whose it is.
    caller.must(Permission::RevokeAny)?;
    let expire_time = made.min(now).saturating_add(LIFETIME_CAP_S + PAST_EXP_S);
    let standing = if snapshot.root.tokens.get(&jti).is_some() {
        Standing::Revoked
    } else if earlier_of_both_clocks(snapshot) >= expire_time {
        Standing::Expired
    } else {
        Standing::Live
    };
    Ok(Resolved {
        jti: Some(jti),
        hit: Hit { jti: Some(jti), ..Hit::default() },
        ..Resolved::new(AppendTarget::Token(jti), standing, expire_time)
    })
}

fn of_token(verified: &Verified, standing: Standing, expire_time: UnixSeconds) -> Resolved {
    // A cutoff hits by the time of the session, too.
    let opened = verified
        .session_id
        .map_or(verified.issue_time, |id| UnixSeconds::new(uuid_unix_ms(id).div_euclid(1000)));
    Resolved {
        subject: Some(verified.subject().to_owned()),
        jti: Some(verified.jti),
        session_id: verified.session_id,
        client_id: Some(verified.client_id().to_owned()),
        hit: Hit {
            jti: Some(verified.jti),
            session_id: verified.session_id,
            subject: Some(verified.subject().to_owned()),
            client_id: Some(verified.client_id().to_owned()),
            key_id: Some(verified.key_id.to_string()),
            audiences: verified.audiences().map(str::to_owned).collect(),
            revision: verified.revision,
            issue_time: verified.issue_time.min(opened),
        },
        ..Resolved::new(AppendTarget::Token(verified.jti), standing, expire_time)
    }
}

/// The server's or the database's clock, whichever is behind: so a token counts as expired only if it has expired by
/// both, however far apart they are.
pub(in crate::authority) fn earlier_of_both_clocks(snapshot: &Snapshot) -> UnixSeconds {
    let database_ms = snapshot.now_ms.saturating_add(snapshot.root.clock_offset_ms());
    UnixSeconds::new(snapshot.now_ms.min(database_ms).div_euclid(1000))
}

/// Any client may revoke its own tokens; those of others need a permission.
fn must_own(caller: &Caller, client_id: &str) -> Result<(), Denied> {
    if caller.client.client_id == client_id { Ok(()) } else { caller.must(Permission::RevokeAny) }
}
