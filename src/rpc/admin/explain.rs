//! Explain and `ListRevocations`: wire ↔ domain.

use crate::{
    authority::{Cause, Explained, Explanation, Invalid, Question, State, Thing, TokenFacts},
    proto::{
        v1 as pb,
        v1::{explain_request, explanation},
    },
    rpc::{
        convert::{audit_event, lock, seconds, session, timestamp},
        tokens::service::understood,
    },
    store::InForce,
};
use jeton_token::{Revision, uuid_time};

pub(in crate::rpc) fn question(request: pb::ExplainRequest) -> Result<Question, Invalid> {
    Ok(match request.question.ok_or_else(|| Invalid::required("question"))? {
        explain_request::Question::Token(text) => Question::Token(text),
        explain_request::Question::Id(text) => Question::Id(text),
        explain_request::Question::Jti(text) => Question::Jti(text),
        explain_request::Question::SessionId(text) => Question::Session(text),
        explain_request::Question::Subject(text) => Question::Subject(text),
    })
}

/// `in_full`: with the actors and notes of locks.
pub(in crate::rpc) fn answer(explained: Explained, in_full: bool) -> pb::ExplainResponse {
    pb::ExplainResponse {
        explanations: explained
            .explanations
            .into_iter()
            .map(|it| one(it, &explained.applied, in_full))
            .collect(),
        readable_jti: explained.readable_jti.map_or_else(String::new, |jti| jti.to_string()),
        actors_withheld: explained.actors_withheld,
    }
}

fn one(explanation: Explanation, applied: &[Revision], in_full: bool) -> pb::Explanation {
    let state = match explanation.state {
        State::Live => explanation::State::Live,
        State::Revoked => explanation::State::Revoked,
        State::Expired => explanation::State::Expired,
        State::Unknown => explanation::State::Unknown,
        State::None => explanation::State::Unspecified,
    };
    pb::Explanation {
        state: state.into(),
        causes: explanation.causes.into_iter().map(|it| cause(it, applied)).collect(),
        locks: explanation.locks.iter().map(|it| lock(it, in_full)).collect(),
        ..thing(explanation.thing)
    }
}

fn thing(thing: Thing) -> pb::Explanation {
    match thing {
        Thing::Token(facts) => token(*facts),
        Thing::Jti(jti) => pb::Explanation {
            kind: explanation::Kind::Token.into(),
            jti: jti.to_string(),
            issue_time: Some(seconds(uuid_time(jti))),
            ..pb::Explanation::default()
        },
        Thing::Session(id, row) => {
            let row = row.map(|row| session(*row));
            let row = row.unwrap_or_else(|| pb::Session { session_id: id.to_string(), ..Default::default() });
            pb::Explanation {
                kind: explanation::Kind::Session.into(),
                subject: row.subject.clone(),
                client_id: row.client_id.clone(),
                audiences: row.audiences.clone(),
                scopes: row.scopes.clone(),
                issue_time: row.create_time,
                expire_time: row.expire_time,
                session: Some(row),
                ..pb::Explanation::default()
            }
        }
        Thing::Subject(subject, live_sessions, sample) => pb::Explanation {
            kind: explanation::Kind::Subject.into(),
            subject,
            live_sessions,
            sample_sessions: sample.into_iter().map(session).collect(),
            ..pb::Explanation::default()
        },
    }
}

fn token(facts: TokenFacts) -> pb::Explanation {
    pb::Explanation {
        kind: explanation::Kind::Token.into(),
        jti: facts.jti.to_string(),
        subject: facts.subject,
        client_id: facts.client_id,
        audiences: facts.audiences,
        scopes: facts.scopes,
        key_id: facts.key_id,
        issue_time: Some(seconds(facts.issue_time)),
        expire_time: Some(seconds(facts.expire_time)),
        session: facts.session.map(session),
        ..pb::Explanation::default()
    }
}

fn cause(cause: Cause, applied: &[Revision]) -> explanation::Cause {
    explanation::Cause {
        target: understood(cause.held.target),
        reason: cause.held.held.reason.number().into(),
        revoke_time: Some(timestamp(cause.held.held.revoke_time)),
        revision: cause.held.revision.to_string(),
        audit_event: cause.act.map(|act| audit_event(act, applied)),
    }
}

pub(in crate::rpc) fn in_force(revocation: InForce) -> pb::Revocation {
    pb::Revocation {
        revision: revocation.revision.to_string(),
        target: understood(revocation.target),
        position: revocation.position,
        expire_time: Some(timestamp(revocation.expire_time)),
        reason: revocation.reason.number().into(),
        revoke_time: Some(timestamp(revocation.revoke_time)),
    }
}
