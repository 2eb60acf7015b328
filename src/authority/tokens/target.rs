//! The target of a revocation: resolves it to a token, session or mark, and finds its client and its state.

use jiff::Timestamp;

use crate::{
    authority::{
        Authority, Caller, Error, Invalid,
        tokens::{narrow::bare_jti, resolved::Resolved, revocation::RevokeRequest, target_form::not_uuid},
    },
    process::others_first,
    state::{MarkKind, Permission, Snapshot},
};
use jeton_token::{
    looks_like_refresh_token, parse_uuid_v7,
    pasted::{bare, candidates},
};

/// The target of a request. The texts are unchecked.
#[derive(Clone, Debug)]
pub enum RevokeTarget {
    /// One token, or a refresh token's session, by its text.
    Token(String),
    /// One token by its `jti`.
    Jti(String),
    /// One session.
    Session(String),
    /// One session by its id, or else one token by its `jti`.
    Id(String),
    /// A wide target.
    Wide {
        /// The kind.
        kind: MarkKind,
        /// The subject, client, `kid`, audience or short id of an issuer.
        target: String,
        /// Only tokens for this audience.
        audience: Option<String>,
        /// Only what was issued before this time.
        cutoff: Option<Timestamp>,
    },
}

impl Authority {
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
            RevokeTarget::Id(text) => {
                let id = parse_uuid_v7(text).ok_or_else(|| not_uuid("target.id", text))?;
                let row = self.store.session(id).await?;
                self.session_or_jti(snapshot, caller, id, row).map(Some)
            }
            RevokeTarget::Wide { kind, target, audience, cutoff } => {
                caller.must(Permission::RevokeWide)?;
                let resolved = self.wide(snapshot, *kind, target, audience.as_deref(), *cutoff)?;
                match kind {
                    MarkKind::Client => self.must_be_known(snapshot, target).await?,
                    MarkKind::Key => self.key_must_be_known(snapshot, target).await?,
                    MarkKind::Issuer => self.issuer_must_be_known(snapshot, target).await?,
                    MarkKind::Subject | MarkKind::Audience => {}
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
            others_first().await;
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
}
