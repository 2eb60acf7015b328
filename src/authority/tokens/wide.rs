//! Targets that hit more than one session: subjects, clients, audiences, keys and issuers.

use jiff::Timestamp;

use crate::{
    authority::{
        Authority, Error,
        tokens::{
            resolved::{Resolved, Standing},
            target_form::{check_wide, effective_cutoff},
        },
    },
    state::{KeyState, MarkKind, Snapshot},
    store::{AppendTarget, Hit, SessionFilter},
};
use jeton_token::UnixSeconds;

impl Authority {
    /// Refuses a client that was never registered, as far as can be known. A deleted one may have left tokens.
    pub(in crate::authority) async fn must_be_known(
        &self,
        snapshot: &Snapshot,
        client_id: &str,
    ) -> Result<(), Error> {
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

    /// Refuses a trusted issuer that was never registered, as far as can be known. A deleted one may have left tokens.
    pub(in crate::authority) async fn issuer_must_be_known(
        &self,
        snapshot: &Snapshot,
        issuer_id: &str,
    ) -> Result<(), Error> {
        let marked = snapshot.root.marks.get(MarkKind::Issuer, issuer_id, "").is_some();
        if marked || snapshot.root.issuing.issuers.load().get(issuer_id).is_some() {
            return Ok(());
        }
        let filter = SessionFilter {
            identity_provider: Some(issuer_id.to_owned()),
            ended: true,
            ..SessionFilter::default()
        };
        // Even if its row cannot be trusted: its tokens may be live.
        let is_stored = self.store.issuer(issuer_id).await?.is_some();
        if !is_stored && self.store.sessions(&filter, 1).await?.is_empty() {
            return Err(Error::NotFound { resource_type: "issuer", name: issuer_id.to_owned() });
        }
        Ok(())
    }

    /// Refuses a key that is not in the database. One whose row cannot be trusted is revoked like any other.
    pub(in crate::authority) async fn key_must_be_known(
        &self,
        snapshot: &Snapshot,
        key_id: &str,
    ) -> Result<(), Error> {
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

    pub(in crate::authority) fn wide(
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
            MarkKind::Subject | MarkKind::Client | MarkKind::Audience | MarkKind::Issuer => match held {
                Some(mark) if cutoff.get() > 0 && mark.cutoff >= cutoff => Standing::Revoked,
                _ => Standing::Live,
            },
        };
        let (subject, client_id) = match kind {
            MarkKind::Subject => (Some(target.to_owned()), None),
            MarkKind::Client => (None, Some(target.to_owned())),
            MarkKind::Key | MarkKind::Audience | MarkKind::Issuer => (None, None),
        };
        let identity_provider = (kind == MarkKind::Issuer).then(|| target.to_owned());
        // The audience that sessions must name.
        let named = if kind == MarkKind::Audience { target } else { audience };
        // A key mark ends no session: its next token is signed by another key.
        let sessions = (kind != MarkKind::Key).then(|| SessionFilter {
            subject: subject.clone(),
            client_id: client_id.clone(),
            identity_provider: identity_provider.clone(),
            audience: (!named.is_empty()).then(|| named.to_owned()),
            opened_before: (cutoff.get() > 0).then(|| cutoff.into()),
            ..SessionFilter::default()
        });
        // The earlier marks that hit as much.
        let hit = Hit {
            subject: subject.clone(),
            client_id: client_id.clone(),
            identity_provider,
            key_id: (kind == MarkKind::Key).then(|| target.to_owned()),
            audiences: (!named.is_empty()).then(|| named.to_owned()).into_iter().collect(),
            issue_time: cutoff.saturating_add(-1),
            ..Hit::default()
        };
        let wide =
            AppendTarget::Wide { kind, target: target.to_owned(), audience: audience.to_owned(), cutoff };
        let expire_time = self.wide_end(snapshot);
        Ok(Resolved { subject, client_id, sessions, hit, ..Resolved::new(wide, standing, expire_time) })
    }
}
