//! Sessions, for people.

use crate::term::{escape::escape, exit::Failure, output, time};
use jeton_proto::v1::Session;

/// If nothing was found for a subject: the subjects that may have been meant.
pub fn talk_similar(subjects: &[String]) {
    if !subjects.is_empty() {
        let names = subjects.iter().map(|name| escape(name)).collect::<Vec<_>>().join(", ");
        output::talk(&format!(
            "There are none. Subjects of live sessions that are spelled nearly so: {names}"
        ));
    }
}

/// Prints sessions as rows.
pub fn table(sessions: &[Session]) -> Result<(), Failure> {
    let rows = sessions.iter().map(row).collect();
    let header = [
        "SESSION",
        "SUBJECT",
        "CLIENT",
        "AUDIENCES",
        "CREATED",
        "REFRESHED",
        "ENDS IF IDLE",
        "ENDS",
        "REVOKED",
    ];
    output::table(&header, rows)
}

fn row(session: &Session) -> Vec<String> {
    vec![
        session.session_id.clone(),
        session.subject.clone(),
        session.client_id.clone(),
        session.audiences.join(" "),
        time::show(session.create_time.as_ref()),
        time::show(session.refresh_time.as_ref()),
        time::show(session.idle_expire_time.as_ref()),
        time::show(session.expire_time.as_ref()),
        time::show(session.revoke_time.as_ref()),
    ]
}
