//! Targets that hit one token or one session.

use std::sync::Arc;

use uuid::Uuid;

use crate::{
    authority::{
        Authority, Caller, Denied, Error, Invalid,
        tokens::{
            refresh::{WIDE_KEPT_S, unusable_mac},
            resolved::{Resolved, Standing},
            target_form::not_uuid,
        },
    },
    mint::RefreshToken,
    state::{KnownToken, Permission, Snapshot},
    store::{AppendTarget, Hit, SessionRow},
};
use jeton_token::{LIFETIME_CAP_S, UnixSeconds, Verified, parse_uuid_v7, uuid_time};

/// The time for which a token known by its text is kept past its `exp`, seconds: the greatest leeway and the spread of
/// clocks.
const PAST_EXP_S: i64 = 120;
/// The greatest time by which a bare jti may be ahead of our clock, seconds.
const JTI_AHEAD_S: i64 = 60;

impl Authority {
    /// The time until which an entry about a session or a mark is kept.
    pub(in crate::authority) fn wide_end(&self, snapshot: &Snapshot) -> UnixSeconds {
        let now = UnixSeconds::new(self.clock.now_s());
        now.saturating_add(WIDE_KEPT_S).saturating_add(snapshot.root.behind_s())
    }

    /// A token of ours, acceptable or not: keyed by its jti, so every spelling of it dies.
    pub(in crate::authority) fn access_token(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        text: &str,
    ) -> Result<Option<Resolved>, Error> {
        let Some((verified, standing)) = self.token_of_ours(snapshot, text) else { return Ok(None) };
        must_own(caller, verified.client_id())?;
        let (now, end) = (snapshot.now(), end_of(&verified));
        // A token from a clock ahead of ours is kept no longer than a token can live from now.
        let expire_time =
            end.min(now.saturating_add(LIFETIME_CAP_S + JTI_AHEAD_S)).saturating_add(PAST_EXP_S);
        Ok(Some(of_token(&verified, standing, expire_time)))
    }

    /// The token in a text whose signature is ours, and its state.
    pub(in crate::authority) fn token_of_ours(
        &self,
        snapshot: &Snapshot,
        text: &str,
    ) -> Option<(Arc<KnownToken>, Standing)> {
        let judge = self.judge(&snapshot.root);
        let now = snapshot.now();
        let verified = judge.verify(text, || now).ok()?;
        let keys = snapshot.root.keys.load();
        let key = keys.find(&verified.key_id, now)?;
        let end = end_of(&verified);
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
        Some((verified, standing))
    }

    pub(in crate::authority) async fn refresh_token(
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
        self.session_of_token(snapshot, caller, &token, row)
    }

    /// The session of a refresh token that this issuer made, with its row.
    pub(in crate::authority) fn session_of_token(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        token: &RefreshToken,
        row: Option<SessionRow>,
    ) -> Result<Option<Resolved>, Error> {
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

    /// A bare id: the session that has it, with its row; otherwise the token that may have it.
    pub(in crate::authority) fn session_or_jti(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        id: Uuid,
        row: Option<SessionRow>,
    ) -> Result<Resolved, Error> {
        if row.is_some() || snapshot.root.sessions.get(&id).is_some() {
            return self.session(snapshot, caller, id, row);
        }
        jti_alone(snapshot, caller, "target.id", id)
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

    pub(in crate::authority) fn session(
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
        let standing = standing_of(snapshot, &row);
        Ok(Resolved::of_session(id, row, standing, self.wide_end(snapshot)))
    }
}

/// The state of a session with this row.
pub(in crate::authority) fn standing_of(snapshot: &Snapshot, row: &SessionRow) -> Standing {
    if row.revoke_time.is_some() || snapshot.root.session_revoked(row.facts()).is_some() {
        Standing::Revoked
    } else if row.is_live() {
        Standing::Live
    } else {
        Standing::Expired
    }
}

/// The end of a token, whatever it says: no token lives longer than the cap.
fn end_of(verified: &Verified) -> UnixSeconds {
    verified.expire_time.min(verified.issue_time.saturating_add(LIFETIME_CAP_S))
}

/// A token by its jti.
pub(in crate::authority) fn bare_jti(
    snapshot: &Snapshot,
    caller: &Caller,
    text: &str,
) -> Result<Resolved, Error> {
    if text.is_empty() {
        return Err(Invalid::required("target.jti").into());
    }
    let jti = parse_uuid_v7(text).ok_or_else(|| not_uuid("target.jti", text))?;
    jti_alone(snapshot, caller, "target.jti", jti)
}

/// A token of which nothing but its jti is known.
fn jti_alone(snapshot: &Snapshot, caller: &Caller, field: &str, jti: Uuid) -> Result<Resolved, Error> {
    let now = snapshot.now();
    let made = uuid_time(jti);
    if made.since(now) > JTI_AHEAD_S {
        return Err(Invalid::field(field, "its time is not more than 60 s ahead of the server's").into());
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

pub(in crate::authority) fn of_token(
    verified: &Verified,
    standing: Standing,
    expire_time: UnixSeconds,
) -> Resolved {
    // A cutoff hits by the time of the session, too.
    let opened = verified.session_id.map_or(verified.issue_time, uuid_time);
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
            identity_provider: Some(verified.identity_provider().to_owned()).filter(|idp| !idp.is_empty()),
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
