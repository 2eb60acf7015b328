//! Explain: all that is known about a token, a session or a subject, in one answer.

use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    authority::{
        Authority, Caller, Error, Invalid,
        tokens::{
            narrow::{earlier_of_both_clocks, of_token, standing_of},
            resolved::{Standing, hit_of_session},
            target_form::not_uuid,
        },
    },
    mint::RefreshToken,
    state::{Lock, Permission, Snapshot},
    store::{AuditRow, HeldBy, Hit, SessionFilter, SessionRow},
};
use jeton_token::{
    LIFETIME_CAP_S, Revision, UnixSeconds, looks_like_refresh_token, parse_uuid_v7,
    pasted::{bare, candidates, named_jti},
    text, uuid_time,
};

/// The most sessions of a subject that are shown.
const SAMPLE_MAX: usize = 20;
/// Up to so many sessions of a subject are looked at one by one; more are counted as their rows say.
const COUNTED_MAX: i64 = 1_000;

/// The question. The texts are unchecked.
#[derive(Clone, Debug)]
pub enum Question {
    /// An access token or a refresh token, by its text.
    Token(String),
    /// A token or a session.
    Id(String),
    /// A token, by its `jti`.
    Jti(String),
    /// A session.
    Session(String),
    /// A subject.
    Subject(String),
}

/// Whether a thing is in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It is.
    Live,
    /// A revocation hits it.
    Revoked,
    /// Its time is over.
    Expired,
    /// No row per token is kept.
    Unknown,
    /// A subject has none.
    None,
}

/// What is explained.
#[derive(Clone, Debug)]
pub enum Thing {
    /// An access token whose text is known.
    Token(Box<TokenFacts>),
    /// A token of which only the `jti` is known.
    Jti(Uuid),
    /// A session; `None`: nothing but its revocation is on record.
    Session(Uuid, Option<Box<SessionRow>>),
    /// A subject, with the number of its live sessions, and some of them.
    Subject(String, i64, Vec<SessionRow>),
}

/// What an access token says.
#[derive(Clone, Debug)]
pub struct TokenFacts {
    /// `jti`.
    pub jti: Uuid,
    /// `sub`.
    pub subject: String,
    /// `client_id`.
    pub client_id: String,
    /// `aud`.
    pub audiences: Vec<String>,
    /// `scope`.
    pub scopes: Vec<String>,
    /// The key that signed it.
    pub key_id: String,
    /// `iat`.
    pub issue_time: UnixSeconds,
    /// `exp`.
    pub expire_time: UnixSeconds,
    /// Its session, if that is on record.
    pub session: Option<SessionRow>,
}

/// A revocation that hits a thing, and its act.
#[derive(Clone, Debug)]
pub struct Cause {
    /// The revocation.
    pub held: HeldBy,
    /// Who, and with which note; `None`: the caller may not know, or the trail does not reach back so far.
    pub act: Option<AuditRow>,
}

/// One explanation.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What it is.
    pub thing: Thing,
    /// Whether it is in force.
    pub state: State,
    /// The earliest first.
    pub causes: Vec<Cause>,
    /// Locks that hold on its subject and on its client.
    pub locks: Vec<Arc<Lock>>,
}

/// The answer.
#[derive(Clone, Debug, Default)]
pub struct Explained {
    /// What the question may mean.
    pub explanations: Vec<Explanation>,
    /// The `jti` in a text that is no token of ours.
    pub readable_jti: Option<Uuid>,
    /// The revision that each replica has applied, if an act is told.
    pub applied: Vec<Revision>,
    /// The caller may not know who revoked and locked.
    pub actors_withheld: bool,
}

impl From<Standing> for State {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Live => Self::Live,
            Standing::Revoked => Self::Revoked,
            Standing::Expired => Self::Expired,
        }
    }
}

impl Authority {
    /// Explains.
    pub async fn explain(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        question: &Question,
    ) -> Result<Explained, Error> {
        // Either will do. The refusal names the one that can change nothing.
        if !caller.client.may(Permission::RevokeAny) {
            caller.must(Permission::AdminRead)?;
        }
        let id = |field: &str, text: &str| parse_uuid_v7(text).ok_or_else(|| not_uuid(field, text));
        let explanations = match question {
            Question::Token(text) => return self.explain_text(snapshot, caller, text).await,
            Question::Jti(text) => vec![self.explain_jti(snapshot, caller, id("jti", text)?).await?],
            Question::Session(text) => {
                let id = id("session_id", text)?;
                let explained = self.explain_session(snapshot, caller, id).await?;
                let missing = || Error::NotFound { resource_type: "session", name: id.to_string() };
                vec![explained.ok_or_else(missing)?]
            }
            Question::Id(text) => {
                let id = id("id", text)?;
                match self.explain_session(snapshot, caller, id).await? {
                    // An id is random enough that no token has it as well.
                    Some(session) => vec![session],
                    None => vec![self.explain_jti(snapshot, caller, id).await?],
                }
            }
            Question::Subject(subject) => vec![self.explain_subject(snapshot, caller, subject).await?],
        };
        self.told(caller, explanations, None).await
    }

    async fn told(
        &self,
        caller: &Caller,
        explanations: Vec<Explanation>,
        readable_jti: Option<Uuid>,
    ) -> Result<Explained, Error> {
        let tells_acts = explanations.iter().flat_map(|it| &it.causes).any(|cause| cause.act.is_some());
        let applied = if tells_acts { self.applied_by_replicas().await? } else { Vec::new() };
        let tells_some = explanations.iter().any(|it| !it.causes.is_empty() || !it.locks.is_empty());
        let actors_withheld = tells_some && !caller.client.may(Permission::AdminRead);
        Ok(Explained { explanations, readable_jti, applied, actors_withheld })
    }

    /// Every token in a text, as it was pasted.
    async fn explain_text(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        text: &str,
    ) -> Result<Explained, Error> {
        let whole = bare(text);
        if whole.is_empty() {
            return Err(Invalid::required("token").into());
        }
        let mut explanations: Vec<Explanation> = Vec::new();
        let others = candidates(text);
        for candidate in [whole].into_iter().chain(others.iter().map(String::as_str)) {
            if let Some(explained) = self.explain_token(snapshot, caller, candidate).await?
                && !explanations.iter().any(|known| known.id() == explained.id())
            {
                explanations.push(explained);
            }
        }
        let readable_jti = if explanations.is_empty() { named_jti(text) } else { None };
        if let Some(jti) = readable_jti {
            explanations.push(self.explain_jti(snapshot, caller, jti).await?);
        }
        self.told(caller, explanations, readable_jti).await
    }

    async fn explain_token(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        text: &str,
    ) -> Result<Option<Explanation>, Error> {
        if looks_like_refresh_token(text) {
            let signers = snapshot.root.issuing.signers.load_full();
            let Some(token) = RefreshToken::open(text, |id| signers.mac(id)) else { return Ok(None) };
            return self.explain_session(snapshot, caller, token.session_id).await;
        }
        let [_, texts_of_many] = &self.texts;
        let turn = texts_of_many.acquire().await.map_err(|_closed| Error::Draining)?;
        let known = self.token_of_ours(snapshot, text);
        drop(turn);
        let Some((verified, standing)) = known else { return Ok(None) };
        let session = match verified.session_id {
            Some(id) => self.store.session(id).await?,
            None => None,
        };
        let hit = of_token(&verified, standing, verified.expire_time).hit;
        let facts = TokenFacts {
            jti: verified.jti,
            subject: verified.subject().to_owned(),
            client_id: verified.client_id().to_owned(),
            audiences: verified.audiences().map(str::to_owned).collect(),
            scopes: verified.scope().split(' ').filter(|it| !it.is_empty()).map(str::to_owned).collect(),
            key_id: verified.key_id.to_string(),
            issue_time: verified.issue_time,
            expire_time: verified.expire_time,
            session,
        };
        let causes = self.causes(caller, &hit, false).await?;
        let locks = self.locks_on(snapshot, &facts.subject, &facts.client_id);
        // What was revoked before its end stays revoked: that is when it died.
        let end = Timestamp::from(facts.expire_time);
        let was_revoked = || causes.iter().any(|cause| cause.held.held.revoke_time < end);
        let state =
            if standing == Standing::Expired && was_revoked() { State::Revoked } else { standing.into() };
        Ok(Some(Explanation { thing: Thing::Token(Box::new(facts)), state, causes, locks }))
    }

    async fn explain_jti(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        jti: Uuid,
    ) -> Result<Explanation, Error> {
        let hit = Hit { jti: Some(jti), ..Hit::default() };
        let causes = self.causes(caller, &hit, false).await?;
        let made = uuid_time(jti);
        let state = if !causes.is_empty() || snapshot.root.tokens.get(&jti).is_some() {
            State::Revoked
        } else if earlier_of_both_clocks(snapshot) >= made.saturating_add(LIFETIME_CAP_S) {
            State::Expired
        } else {
            State::Unknown
        };
        Ok(Explanation { thing: Thing::Jti(jti), state, causes, locks: Vec::new() })
    }

    /// `None`: neither the session nor a revocation of it is on record.
    async fn explain_session(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        id: Uuid,
    ) -> Result<Option<Explanation>, Error> {
        let held = snapshot.root.sessions.get(&id).is_some();
        let Some(row) = self.store.session(id).await? else {
            if !held {
                return Ok(None);
            }
            let hit = Hit { session_id: Some(id), ..Hit::default() };
            let causes = self.causes(caller, &hit, false).await?;
            let thing = Thing::Session(id, None);
            return Ok(Some(Explanation { thing, state: State::Revoked, causes, locks: Vec::new() }));
        };
        let causes = self.causes(caller, &hit_of_session(&row), false).await?;
        let state = standing_of(snapshot, &row).into();
        let locks = self.locks_on(snapshot, &row.subject, &row.client_id);
        Ok(Some(Explanation { thing: Thing::Session(id, Some(Box::new(row))), state, causes, locks }))
    }

    async fn explain_subject(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        subject: &str,
    ) -> Result<Explanation, Error> {
        caller.must(Permission::AdminRead)?;
        text::check_subject(subject).map_err(|rule| Invalid::field("subject", rule))?;
        let filter = SessionFilter { subject: Some(subject.to_owned()), ..SessionFilter::default() };
        let mut sample = self.store.sessions(&filter, COUNTED_MAX).await?;
        let all = i64::try_from(sample.len()).unwrap_or(COUNTED_MAX) < COUNTED_MAX;
        // The log ends sessions before the sweep writes that into their rows.
        sample.retain(|row| snapshot.root.session_revoked(row.facts()).is_none());
        let live = if all {
            i64::try_from(sample.len()).unwrap_or(COUNTED_MAX)
        } else {
            self.store.count_sessions(&filter).await?.ok_or(Error::Overloaded)?
        };
        sample.truncate(SAMPLE_MAX);
        // Every mark on it, whatever it hits.
        let hit =
            Hit { subject: Some(subject.to_owned()), issue_time: UnixSeconds::new(-1), ..Hit::default() };
        let causes = self.causes(caller, &hit, true).await?;
        Ok(Explanation {
            thing: Thing::Subject(subject.to_owned(), live, sample),
            state: State::None,
            causes,
            locks: self.locks_on(snapshot, subject, ""),
        })
    }

    /// The revocations that hit, each with its act if the caller may know that.
    async fn causes(&self, caller: &Caller, hit: &Hit, any_audience: bool) -> Result<Vec<Cause>, Error> {
        let mut causes = Vec::new();
        for held in self.store.held_by(hit, any_audience).await? {
            let act = if caller.client.may(Permission::AdminRead) {
                let id = held.target.id();
                self.store.audit_event_of(held.revision, held.held.revoke_time, id).await?
            } else {
                None
            };
            causes.push(Cause { held, act });
        }
        Ok(causes)
    }
}

impl Explanation {
    /// The id of what it explains.
    fn id(&self) -> Option<Uuid> {
        match &self.thing {
            Thing::Token(facts) => Some(facts.jti),
            Thing::Jti(id) | Thing::Session(id, _) => Some(*id),
            Thing::Subject(..) => None,
        }
    }
}
