//! Findings about the target of a revocation that may show that it is not what the caller meant. They are gathered
//! beside the revocation, which never waits for them for long.

use std::time::Duration;

use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    authority::{Authority, Caller, tokens::resolved::Resolved},
    state::{Permission, Snapshot},
    store::{AppendTarget, SessionFilter},
};
use jeton_token::{
    UnixSeconds,
    pasted::{named_api_key, named_jti},
    uuid_time,
};

/// The most looks at once: with more under way, a replica has other things to do.
pub const LOOKS_MAX: usize = 4;
/// The longest time that a revocation waits for a look.
const LOOK: Duration = Duration::from_millis(250);
/// The most sessions whose subjects are compared with a name: some milliseconds of the database's time.
const SESSIONS_LOOKED_AT: i64 = 5_000;
/// The most similar names that are returned.
const SIMILAR_MAX: usize = 5;
/// The most wrong, missing or additional characters in a similar name.
const DISTANCE_MAX: usize = 2;

/// The findings.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Findings {
    /// The time in a bare jti that was not known here.
    pub unverified_jti_time: Option<UnixSeconds>,
    /// Sessions were not looked for: the server had too much else to do, or the database took too long.
    pub sessions_not_looked_for: bool,
    /// The bare jti is the id of a live session.
    pub is_live_session: bool,
    /// The subject or client has no live session.
    pub no_live_sessions: bool,
    /// Subjects of live sessions that are spelled nearly the same.
    pub similar_subjects: Vec<String>,
    /// The jti that can be read in a foreign text.
    pub readable_jti: Option<Uuid>,
    /// The id of the API key that a foreign text holds.
    pub api_key_id: Option<String>,
    /// The client of that API key.
    pub api_key_client_id: Option<String>,
}

/// The facts that can be read in a text that is no verifiable token of ours.
pub(in crate::authority) fn read_foreign(snapshot: &Snapshot, caller: &Caller, text: &str) -> Findings {
    let api_key_id = named_api_key(text).map(str::to_owned);
    let clients = snapshot.root.issuing.clients.load();
    let told = caller.client.may(Permission::AdminRead);
    let owner = api_key_id.as_deref().filter(|_| told).and_then(|id| clients.api_key(id));
    Findings {
        readable_jti: named_jti(text),
        api_key_client_id: owner.map(|(_, client)| client.client_id.clone()),
        api_key_id,
        ..Findings::default()
    }
}

impl Authority {
    /// The findings that can be gathered in time. `live`: as far as this replica knows, no earlier revocation covers
    /// the target.
    pub(in crate::authority) async fn look(&self, resolved: &Resolved, live: bool) -> Findings {
        let mut findings = Findings::default();
        if let (AppendTarget::Token(jti), true, true) = (&resolved.target, resolved.is_bare(), live) {
            findings.unverified_jti_time = Some(uuid_time(*jti));
        }
        let Some(filter) = sessions_of(resolved) else { return findings };
        let looking = async {
            let _turn = self.looks.acquire().await.ok()?;
            self.look_at_sessions(resolved, &filter).await
        };
        match timeout(LOOK, looking).await {
            Ok(Some(found)) => Findings { unverified_jti_time: findings.unverified_jti_time, ..found },
            Ok(None) | Err(_) => Findings { sessions_not_looked_for: true, ..findings },
        }
    }

    /// `None` if the database did not answer in time; the revocation itself reports that.
    async fn look_at_sessions(&self, resolved: &Resolved, filter: &SessionFilter) -> Option<Findings> {
        let is_there = self.store.has_session_within(filter, LOOK).await.ok()??;
        if matches!(resolved.target, AppendTarget::Token(_)) {
            return Some(Findings { is_live_session: is_there, ..Findings::default() });
        }
        if is_there {
            return Some(Findings::default());
        }
        let similar_subjects = match &resolved.subject {
            Some(subject) => self.similar_subjects(subject).await?,
            None => Vec::new(),
        };
        Some(Findings { no_live_sessions: true, similar_subjects, ..Findings::default() })
    }

    /// Subjects of live sessions that are spelled nearly like this one; `None` if they could not be read in time.
    pub(in crate::authority) async fn similar_subjects(&self, subject: &str) -> Option<Vec<String>> {
        let mut subjects = self.store.recent_subjects(SESSIONS_LOOKED_AT, LOOK).await.ok()??;
        subjects.retain(|other| other != subject && is_near(subject, other));
        subjects.sort_unstable();
        subjects.truncate(SIMILAR_MAX);
        Some(subjects)
    }
}

/// The sessions that the target may have been meant for, if they are to be looked for.
fn sessions_of(resolved: &Resolved) -> Option<SessionFilter> {
    match &resolved.target {
        AppendTarget::Token(jti) if resolved.is_bare() => {
            Some(SessionFilter { id: Some(*jti), ..SessionFilter::default() })
        }
        AppendTarget::Wide { .. } => resolved.sessions.clone(),
        AppendTarget::Token(_)
        | AppendTarget::Session(_)
        | AppendTarget::Nothing
        | AppendTarget::Lock { .. } => None,
    }
}

/// Returns whether one name may be meant by the other: equal in letters and digits, or but for a slip or two.
fn is_near(name: &str, other: &str) -> bool {
    let folded = |text: &str| text.to_lowercase().chars().collect::<Vec<_>>();
    let plain = |text: &[char]| text.iter().copied().filter(|c| c.is_alphanumeric()).collect::<Vec<_>>();
    let (name, other) = (folded(name), folded(other));
    let (short, long) = (name.len().min(other.len()), name.len().max(other.len()));
    plain(&name) == plain(&other)
        || (short > 2 * DISTANCE_MAX
            && long.saturating_sub(short) <= DISTANCE_MAX
            && distance(&name, &other) <= DISTANCE_MAX)
}

/// The number of characters to change, add or leave out (Levenshtein).
fn distance(from: &[char], to: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, a) in from.iter().enumerate() {
        let mut diagonal = index;
        let mut left = index.saturating_add(1);
        let mut next = vec![left];
        for (b, above) in to.iter().zip(row.iter().skip(1)) {
            let changed = diagonal.saturating_add(usize::from(a != b));
            left = changed.min(left.saturating_add(1)).min(above.saturating_add(1));
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_by_case_marks_or_a_slip_are_near() {
        for near in
            ["User:500", "user:50", "usr:500", "user-500", "user:5000", "user:501", "USER 500", "uesr:500"]
        {
            assert!(is_near(near, "user:500"), "{near}");
        }
        for far in ["user:7", "svc:billing", "u", "", "user:12345", "500"] {
            assert!(!is_near(far, "user:500"), "{far}");
        }
        assert!(!is_near("a:1", "a:2"), "short names are all near each other");
        let (long, other) = ("x".repeat(255), "y".repeat(255));
        assert!(!is_near(&long, &other));
    }
}
