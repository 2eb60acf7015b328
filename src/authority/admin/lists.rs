//! Lists for people: sessions, acts and replicas.

use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    authority::{
        Authority, Caller, Error, Invalid,
        admin::page::{Page, page},
        tokens::target_form::not_uuid,
    },
    state::{FAMILY_ANY, Permission, Snapshot},
    store::{AuditFilter, AuditRow, InForce, ReplicaRow, SessionFilter, SessionRow},
};
use jeton_token::{
    Revision, parse_uuid_v7,
    text::{self, Rule},
};

/// The sessions to list.
#[derive(Clone, Debug, Default)]
pub struct SessionQuery {
    /// Their subject; empty: any.
    pub subject: String,
    /// The client that opened them; empty: any.
    pub client_id: String,
    /// Ended sessions, too.
    pub show_ended: bool,
    /// Rows; 0: 50.
    pub page_size: i32,
    /// From the page before.
    pub page_token: String,
}

/// The acts to list. Empty fields match any.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Subject.
    pub subject: String,
    /// Token.
    pub jti: String,
    /// Session.
    pub session_id: String,
    /// Caller.
    pub actor: String,
    /// Inclusive.
    pub start_time: Option<Timestamp>,
    /// Exclusive.
    pub end_time: Option<Timestamp>,
    /// Client concerned.
    pub client_id: String,
    /// Key concerned.
    pub key_id: String,
    /// The action.
    pub action: String,
    /// A part of the note.
    pub note: String,
    /// The prober's canaries, too.
    pub show_canaries: bool,
    /// Rows; 0: 50.
    pub page_size: i32,
    /// From the page before.
    pub page_token: String,
}

/// A page of a list.
#[derive(Debug)]
pub struct Listed<T> {
    /// Newest first.
    pub rows: Vec<T>,
    /// Empty at the end.
    pub next_page_token: String,
    /// If a subject has no rows: subjects of live sessions that are spelled nearly the same.
    pub similar_subjects: Vec<String>,
}

impl Authority {
    /// Every replica, the one with the greatest lag first, and the most that there were within a day.
    pub async fn list_replicas(&self, caller: &Caller) -> Result<(Vec<ReplicaRow>, i32), Error> {
        caller.must(Permission::AdminRead)?;
        let mut replicas = self.store.replicas().await?;
        replicas
            .sort_by(|a, b| a.applied.cmp(&b.applied).then_with(|| a.identity.name.cmp(&b.identity.name)));
        Ok((replicas, self.store.most_replicas().await?))
    }

    /// The revision that each replica has applied.
    pub async fn applied_by_replicas(&self) -> Result<Vec<Revision>, Error> {
        Ok(self.store.replicas().await?.into_iter().map(|row| row.applied).collect())
    }

    /// A page of the revocations in force, newest first.
    pub async fn list_revocations(
        &self,
        caller: &Caller,
        wide_only: bool,
        page_size: i32,
        page_token: &str,
    ) -> Result<(Vec<InForce>, String), Error> {
        caller.must(Permission::AdminRead)?;
        let page = page(&format!("revocations\0{wide_only}"), page_size, page_token)?;
        let mut rows = self.store.in_force(wide_only, page.after_revision()?, page.limit()).await?;
        let next = page.cut(&mut rows, |row| Page::place_of(row.revision));
        Ok((rows, next))
    }

    /// A page of sessions, newest first.
    pub async fn list_sessions(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        query: &SessionQuery,
    ) -> Result<Listed<SessionRow>, Error> {
        caller.must(Permission::AdminRead)?;
        if query.subject.is_empty() && query.client_id.is_empty() {
            return Err(Invalid::required("subject").into());
        }
        let subject = set_name("subject", &query.subject, text::check_subject)?;
        let client_id = set_name("client_id", &query.client_id, text::check_client_id)?;
        let name = format!("sessions\0{}\0{}\0{}", query.subject, query.client_id, query.show_ended);
        let page = page(&name, query.page_size, &query.page_token)?;
        let before = page.after_id()?;
        let filter =
            SessionFilter { subject, client_id, ended: query.show_ended, before, ..SessionFilter::default() };
        let mut rows = self.store.sessions(&filter, page.limit()).await?;
        let next_page_token = page.cut(&mut rows, |row| row.id);
        // A session counts as ended also if the log revokes it and the sweep has not written that yet.
        for row in &mut rows {
            if let Some(reason) =
                snapshot.root.session_revoked(row.facts()).filter(|_| row.revoke_time.is_none())
            {
                row.revoke_time = Some(self.clock.now());
                row.revoke_reason = reason;
            }
        }
        rows.retain(|row| query.show_ended || row.is_live());
        let found = !rows.is_empty() || !next_page_token.is_empty();
        let similar_subjects = self.similar_unless(found, &query.subject).await;
        Ok(Listed { rows, next_page_token, similar_subjects })
    }

    /// A page of the audit trail, newest first.
    pub async fn list_audit_events(
        &self,
        caller: &Caller,
        query: &AuditQuery,
    ) -> Result<Listed<AuditRow>, Error> {
        caller.must(Permission::AdminRead)?;
        // Everything that decides which rows there are.
        let name =
            format!("audit\0{:?}", AuditQuery { page_size: 0, page_token: String::new(), ..query.clone() });
        let page = page(&name, query.page_size, &query.page_token)?;
        let filter = AuditFilter {
            subject: set_name("subject", &query.subject, text::check_subject)?,
            jti: set_id("jti", &query.jti)?,
            session_id: set_id("session_id", &query.session_id)?,
            // An actor may also be a verb on the database, or an address.
            actor: set_name("actor", &query.actor, text::check_subject)?,
            client_id: set_name("client_id", &query.client_id, check_policy_client)?,
            key_id: set_name("key_id", &query.key_id, text::check_subject)?,
            action: set_name("action", &query.action, text::check_subject)?,
            note: set("note", &query.note)?,
            without_canaries: !query.show_canaries && query.subject.is_empty() && query.jti.is_empty(),
            start_time: query.start_time,
            end_time: query.end_time,
            before: page.after_id()?,
            id: None,
        };
        let mut rows = self.store.audit_events(&filter, page.limit()).await?;
        let next_page_token = page.cut(&mut rows, |row| row.id);
        let found = !rows.is_empty() || !query.page_token.is_empty();
        let similar_subjects = self.similar_unless(found, &query.subject).await;
        Ok(Listed { rows, next_page_token, similar_subjects })
    }

    /// If nothing was found for a subject: subjects of live sessions that are spelled nearly the same.
    async fn similar_unless(&self, found: bool, subject: &str) -> Vec<String> {
        if found || subject.is_empty() {
            return Vec::new();
        }
        self.similar_subjects(subject).await.unwrap_or_default()
    }
}

/// The client of a policy; `*` stands for any.
fn check_policy_client(client_id: &str) -> Result<(), Rule> {
    if client_id == FAMILY_ANY { Ok(()) } else { text::check_client_id(client_id) }
}

/// A name that rows must have. A name that nothing can have is refused: an empty list would look like an answer.
fn set_name(
    field: &str,
    name: &str,
    check: impl Fn(&str) -> Result<(), Rule>,
) -> Result<Option<String>, Invalid> {
    if name.is_empty() {
        return Ok(None);
    }
    check(name).map_err(|rule| Invalid::field(field, rule))?;
    Ok(Some(name.to_owned()))
}

fn set(field: &str, text: &str) -> Result<Option<String>, Invalid> {
    if text.contains('\0') {
        return Err(Invalid::field(field, "no NUL"));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

fn set_id(field: &str, text: &str) -> Result<Option<Uuid>, Invalid> {
    if text.is_empty() {
        return Ok(None);
    }
    parse_uuid_v7(text).map(Some).ok_or_else(|| not_uuid(field, text))
}
