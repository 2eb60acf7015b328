//! Wide revocations: one entry each, whatever they hit. Marks are merged by maximum, never by precedence.

use uuid::Uuid;

use jeton_token::{Revision, UnixSeconds, Verified, uuid_unix_ms};

use super::{Reason, sharded::Sharded};

/// The kind of target of a mark. The numbers are those of the table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MarkKind {
    /// Every token and session of a subject.
    Subject,
    /// Every token and session that a client obtained.
    Client,
    /// Every token that a key signed.
    Key,
    /// Every token and session that names an audience.
    Audience,
    /// Every token and session that was obtained by an assertion of a trusted issuer.
    Issuer,
}

impl MarkKind {
    /// The kind with this number.
    #[must_use]
    pub fn from_number(number: i16) -> Option<Self> {
        match number {
            3 => Some(Self::Subject),
            4 => Some(Self::Client),
            5 => Some(Self::Key),
            6 => Some(Self::Audience),
            11 => Some(Self::Issuer),
            _ => None,
        }
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> i16 {
        match self {
            Self::Subject => 3,
            Self::Client => 4,
            Self::Key => 5,
            Self::Audience => 6,
            Self::Issuer => 11,
        }
    }
}

/// One wide revocation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// The kind of target.
    pub kind: MarkKind,
    /// The subject, the client, the `kid`, the audience or the short id of the issuer.
    pub target: String,
    /// Only tokens and sessions that name this audience; empty: all.
    pub audience: String,
    /// Hits what was issued below this revision.
    pub position: Revision,
    /// Hits what was issued before this second; `UnixSeconds::new(0)`: by position alone.
    pub cutoff: UnixSeconds,
    /// Why.
    pub reason: Reason,
    /// No token that it hits can be live from then on; sessions are left to the sweep.
    pub expire_time: UnixSeconds,
}

/// The facts of a session that marks are compared with.
#[derive(Clone, Copy, Debug)]
pub struct SessionFacts<'a> {
    /// Its id; a UUIDv7, so it tells when the session was opened.
    pub id: Uuid,
    /// Its subject.
    pub subject: &'a str,
    /// Its client.
    pub client_id: &'a str,
    /// The short id of the trusted issuer by whose assertion it was opened; empty: by none.
    pub identity_provider: &'a str,
    /// The audiences of its tokens.
    pub audiences: &'a [String],
    /// The log's revision at its opening.
    pub revision: Revision,
}

/// The facts of a token or session that marks are compared with.
#[derive(Clone, Copy)]
struct Issued<'a> {
    revision: Revision,
    /// Seconds; absent for a session, which has only the time in its id.
    issue_time: Option<UnixSeconds>,
    session_id: Option<Uuid>,
    audiences: Audiences<'a>,
}

/// The audiences of a session or of a token.
#[derive(Clone, Copy)]
enum Audiences<'a> {
    Session(&'a [String]),
    Token(&'a Verified),
}

impl Audiences<'_> {
    /// The reason why a mark on one of them hits.
    fn hit(self, marks: &ByTarget, issued: Issued<'_>) -> Option<Reason> {
        match self {
            Self::Session(audiences) => audiences.iter().find_map(|named| hit(marks, named, issued)),
            Self::Token(token) => token.audiences().find_map(|named| hit(marks, named, issued)),
        }
    }

    fn contain(self, audience: &str) -> bool {
        match self {
            Self::Session(audiences) => audiences.iter().any(|named| named == audience),
            Self::Token(token) => token.audiences().any(|named| named == audience),
        }
    }
}

impl Mark {
    fn hits(&self, issued: Issued<'_>) -> bool {
        if !self.audience.is_empty() && !issued.audiences.contain(&self.audience) {
            return false;
        }
        let opened_before = |id| uuid_unix_ms(id) < self.cutoff.get().saturating_mul(1000);
        issued.revision < self.position
            || issued.issue_time.is_some_and(|time| time < self.cutoff)
            || issued.session_id.is_some_and(opened_before)
    }

    fn merge(&mut self, newer: &Self) {
        self.position = self.position.max(newer.position);
        self.cutoff = self.cutoff.max(newer.cutoff);
        self.expire_time = self.expire_time.max(newer.expire_time);
        self.reason = newer.reason;
    }
}

type ByTarget = Sharded<Box<str>, Vec<Mark>>;

/// All marks, by target.
#[derive(Default)]
pub struct Marks {
    subjects: ByTarget,
    clients: ByTarget,
    keys: ByTarget,
    audiences: ByTarget,
    issuers: ByTarget,
}

impl Marks {
    /// Adds a mark to those of its target: one per audience, by maximum.
    pub fn insert(&self, mark: Mark) {
        self.of(mark.kind).change(mark.target.as_str().into(), |old| {
            let mut marks = old.unwrap_or_default();
            match marks.iter_mut().find(|held| held.audience == mark.audience) {
                Some(held) => held.merge(&mark),
                None => marks.push(mark),
            }
            Some(marks)
        });
    }

    /// Removes one mark.
    pub fn remove(&self, kind: MarkKind, target: &str, audience: &str) {
        self.of(kind).change(target.into(), |old| {
            let mut marks = old?;
            marks.retain(|mark| mark.audience != audience);
            (!marks.is_empty()).then_some(marks)
        });
    }

    /// The reason why a mark revokes a token, if one does. `revision` is the token's `rev`, or zero if it claims a
    /// revision that the log has not reached.
    #[must_use]
    pub fn hit_token(&self, token: &Verified, revision: Revision) -> Option<Reason> {
        let issued = Issued {
            revision,
            issue_time: Some(token.issue_time),
            session_id: token.session_id,
            audiences: Audiences::Token(token),
        };
        hit(&self.subjects, token.subject(), issued)
            .or_else(|| hit(&self.clients, token.client_id(), issued))
            .or_else(|| issued.audiences.hit(&self.audiences, issued))
            .or_else(|| self.hit_issuer(token.identity_provider(), issued))
            // Whatever the token claims: a thief of the key writes its claims.
            .or_else(|| {
                self.keys.get(token.key_id.as_ref(), |marks| marks.first().map(|mark| mark.reason)).flatten()
            })
    }

    /// The reason why a mark ends a session, if one does.
    #[must_use]
    pub fn hit_session(&self, session: SessionFacts<'_>) -> Option<Reason> {
        let issued = Issued {
            revision: session.revision,
            issue_time: None,
            session_id: Some(session.id),
            audiences: Audiences::Session(session.audiences),
        };
        hit(&self.subjects, session.subject, issued)
            .or_else(|| hit(&self.clients, session.client_id, issued))
            .or_else(|| issued.audiences.hit(&self.audiences, issued))
            .or_else(|| self.hit_issuer(session.identity_provider, issued))
    }

    /// Most tokens were obtained by no assertion.
    fn hit_issuer(&self, identity_provider: &str, issued: Issued<'_>) -> Option<Reason> {
        if identity_provider.is_empty() { None } else { hit(&self.issuers, identity_provider, issued) }
    }

    /// The mark of exactly this target and audience.
    #[must_use]
    pub fn get(&self, kind: MarkKind, target: &str, audience: &str) -> Option<Mark> {
        self.of(kind)
            .get(target, |marks| marks.iter().find(|mark| mark.audience == audience).cloned())
            .flatten()
    }

    /// Calls `see` with every mark.
    pub fn for_each(&self, mut see: impl FnMut(&Mark)) {
        for marks in [&self.subjects, &self.clients, &self.keys, &self.audiences, &self.issuers] {
            marks.for_each(|_, marks| marks.iter().for_each(&mut see));
        }
    }

    /// Number of targets that have a mark.
    #[must_use]
    pub fn len(&self) -> usize {
        [&self.subjects, &self.clients, &self.keys, &self.audiences, &self.issuers]
            .into_iter()
            .map(Sharded::len)
            .sum()
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn of(&self, kind: MarkKind) -> &ByTarget {
        match kind {
            MarkKind::Subject => &self.subjects,
            MarkKind::Client => &self.clients,
            MarkKind::Key => &self.keys,
            MarkKind::Audience => &self.audiences,
            MarkKind::Issuer => &self.issuers,
        }
    }
}

fn hit(marks: &ByTarget, target: &str, issued: Issued<'_>) -> Option<Reason> {
    marks.get(target, |marks| marks.iter().find(|mark| mark.hits(issued)).map(|mark| mark.reason)).flatten()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn mark(position: i64, cutoff: i64, audience: &str) -> Mark {
        Mark {
            kind: MarkKind::Subject,
            target: "svc:a".into(),
            audience: audience.into(),
            position: Revision::from_i64(position).unwrap(),
            cutoff: UnixSeconds::new(cutoff),
            reason: Reason::Leaked,
            expire_time: UnixSeconds::new(i64::MAX),
        }
    }

    fn session(revision: i64, opened_ms: u64, audiences: &[String]) -> SessionFacts<'_> {
        SessionFacts {
            id: uuid::Builder::from_unix_timestamp_millis(opened_ms, &[0; 10]).into_uuid(),
            subject: "svc:a",
            client_id: "c",
            identity_provider: "github",
            audiences,
            revision: Revision::from_i64(revision).unwrap(),
        }
    }

    #[test]
    fn a_mark_hits_what_was_issued_below_its_position_and_nothing_else() {
        let marks = Marks::default();
        marks.insert(mark(10, 0, ""));
        let audiences = ["api".to_owned()];
        assert!(marks.hit_session(session(9, 5000, &audiences)).is_some());
        assert!(marks.hit_session(session(10, 5000, &audiences)).is_none());
    }

    #[test]
    fn a_mark_never_moves_back() {
        let marks = Marks::default();
        marks.insert(mark(10, 0, ""));
        marks.insert(mark(3, 0, ""));
        assert!(marks.hit_session(session(9, 5000, &[])).is_some());
    }

    #[test]
    fn a_mark_narrowed_to_an_audience_spares_the_others() {
        let marks = Marks::default();
        marks.insert(mark(10, 0, "api"));
        assert!(marks.hit_session(session(9, 5000, &["api".to_owned()])).is_some());
        assert!(marks.hit_session(session(9, 5000, &["web".to_owned()])).is_none());
    }

    #[test]
    fn a_mark_on_an_audience_hits_what_names_it_whoever_s_it_is() {
        let marks = Marks::default();
        marks.insert(Mark { kind: MarkKind::Audience, target: "api".into(), ..mark(10, 0, "") });
        let both = ["web".to_owned(), "api".to_owned()];
        assert!(marks.hit_session(session(9, 5000, &both)).is_some());
        assert!(marks.hit_session(session(10, 5000, &both)).is_none());
        assert!(marks.hit_session(session(9, 5000, &["web".to_owned()])).is_none());
        marks.remove(MarkKind::Audience, "api", "");
        assert!(marks.is_empty());
    }

    #[test]
    fn k23_a_mark_on_an_issuer_hits_what_was_opened_by_its_assertions() {
        let marks = Marks::default();
        marks.insert(Mark { kind: MarkKind::Issuer, target: "github".into(), ..mark(10, 0, "") });
        let by_none = SessionFacts { identity_provider: "", ..session(9, 5000, &[]) };
        let by_another = SessionFacts { identity_provider: "gitlab", ..session(9, 5000, &[]) };
        assert!(marks.hit_session(session(9, 5000, &[])).is_some());
        assert!(marks.hit_session(session(10, 5000, &[])).is_none());
        assert!(marks.hit_session(by_none).is_none() && marks.hit_session(by_another).is_none());
        // A mark whose target is empty, whatever wrote it, hits nothing.
        marks.insert(Mark { kind: MarkKind::Issuer, target: String::new(), ..mark(10, 0, "") });
        assert!(marks.hit_session(by_none).is_none());
    }

    #[test]
    fn a_cutoff_ends_sessions_opened_before_it() {
        let marks = Marks::default();
        marks.insert(mark(0, 5, ""));
        assert!(marks.hit_session(session(99, 4999, &[])).is_some());
        assert!(marks.hit_session(session(99, 5000, &[])).is_none());
    }

    #[test]
    fn a_removed_mark_is_gone() {
        let marks = Marks::default();
        marks.insert(mark(10, 0, ""));
        marks.remove(MarkKind::Subject, "svc:a", "");
        assert!(marks.is_empty());
    }
}
