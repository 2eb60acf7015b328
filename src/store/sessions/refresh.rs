//! Refresh, in the table `session`: one statement spends all refresh tokens of a batch.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use jiff_sqlx::Timestamp as SqlTimestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::store::{OwnConnection, STATEMENT_TIMEOUT, SessionRow, StoreError, sessions::session::Row};

/// A refresh token, presented by a client that may refresh.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Presented {
    /// The session it names.
    pub id: Uuid,
    /// Its generation.
    pub generation: u32,
    /// SHA-256 of its secret.
    pub secret_hash: [u8; 32],
    /// The caller and its request.
    pub presenter: Arc<Presenter>,
}

/// The caller of a refresh, its request, and the rules in force for each audience.
#[derive(PartialEq, Eq, Hash, Debug)]
pub struct Presenter {
    /// The caller.
    pub client_id: String,
    /// Subjects the caller is registered for: exact, or a prefix followed by `*`.
    pub subjects: Vec<String>,
    /// Requested scopes; empty: all of the session's.
    pub scopes: Vec<String>,
    /// For each audience, and under `*` for those without rules of their own: `ok` (1 or 0), `idle_s`, `absolute_s`.
    pub rules: Value,
}

/// The row of a session after it has moved on by one generation; `None`: it has not, and its row tells why.
pub type Advance = Result<Option<Box<SessionRow>>, StoreError>;

/// The presentations as arrays: one element each, and one for each of the few presenters.
#[derive(Default)]
struct Columns<'a> {
    ids: Vec<Uuid>,
    generations: Vec<i64>,
    secret_hashes: Vec<&'a [u8]>,
    presenters: Vec<i32>,
    client_ids: Vec<&'a str>,
    rules: Vec<&'a Value>,
    /// The subjects of all presenters in one list. Those of the n-th presenter end at the (n + 1)-th end.
    subjects: Vec<&'a str>,
    subject_ends: Vec<i32>,
    scopes: Vec<&'a str>,
    scope_ends: Vec<i32>,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a [Presented]) -> Self {
        let mut columns = Self { subject_ends: vec![0], scope_ends: vec![0], ..Self::default() };
        let mut known = HashMap::new();
        for presented in batch {
            columns.ids.push(presented.id);
            columns.generations.push(presented.generation.into());
            columns.secret_hashes.push(&presented.secret_hash);
            let number = match known.entry(&*presented.presenter) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => *new.insert(columns.add(&presented.presenter)),
            };
            columns.presenters.push(number);
        }
        columns
    }

    /// The presenter's number, from 1.
    fn add(&mut self, presenter: &'a Presenter) -> i32 {
        self.client_ids.push(&presenter.client_id);
        self.rules.push(&presenter.rules);
        self.subjects.extend(presenter.subjects.iter().map(String::as_str));
        self.subject_ends.push(count(&self.subjects));
        self.scopes.extend(presenter.scopes.iter().map(String::as_str));
        self.scope_ends.push(count(&self.scopes));
        count(&self.client_ids)
    }
}

fn count<T>(of: &[T]) -> i32 {
    i32::try_from(of.len()).unwrap_or(i32::MAX)
}

impl OwnConnection {
    /// Spends refresh tokens, at most one per session, in one statement. Every refusal that can be known beforehand
    /// keeps it from touching the session's row, so that nobody loses a token to a bad request. Returns results in the
    /// order of the input. Rows are locked in the order of their ids, as in the sweep.
    #[expect(clippy::as_conversions, reason = "how sqlx is told an argument's type")]
    pub async fn advance_sessions(&mut self, batch: &[Presented]) -> Result<Vec<Advance>, StoreError> {
        let c = Columns::of(batch);
        let rows = self.run_once(STATEMENT_TIMEOUT, async |connection| {
            // `offset 0`: evaluated once, not at each use.
            let advance = sqlx::query_as!(
                Row,
                r#"with hit as materialized (
                       select s.id, s.generation, rule.idle_s, rule.absolute_s
                         from unnest($1::uuid[], $2::bigint[], $3::bytea[], $4::int[])
                                  item(id, generation, secret_hash, presenter)
                         join session s on s.id = item.id
                        cross join lateral (
                            select min((a.rule ->> 'ok')::bigint) as ok, min((a.rule ->> 'idle_s')::bigint) as idle_s,
                                   min((a.rule ->> 'absolute_s')::bigint) as absolute_s
                              from (select coalesce(p.rules -> audience, p.rules -> '*') as rule
                                      from (select ($6::jsonb[])[item.presenter] as rules offset 0) p,
                                           unnest(s.audiences) audience offset 0) a) rule
                        where s.generation = item.generation and s.secret_hash = item.secret_hash
                          and s.client_id = ($5::text[])[item.presenter]
                          and s.revoke_time is null
                          and s.idle_expire_time > statement_timestamp() and s.expire_time > statement_timestamp()
                          and s.create_time + make_interval(secs => rule.absolute_s) > statement_timestamp()
                          and s.scopes @> ($9::text[])[($10::int[])[item.presenter] + 1:($10::int[])[item.presenter + 1]]
                          and rule.ok = 1
                          and not exists (select from lock l where l.kind = 3 and l.target = s.subject
                                                               and l.end_time > statement_timestamp())
                          and exists (
                              select from unnest(($7::text[])[($8::int[])[item.presenter] + 1:($8::int[])[item.presenter + 1]]) p
                               where case when right(p, 1) = '*' then starts_with(s.subject, left(p, -1))
                                          else s.subject = p end)
                        order by s.id for no key update of s)
                   update session s
                      set generation = s.generation + 1,
                          refresh_time = statement_timestamp(),
                          idle_expire_time = least(
                              date_trunc('second', statement_timestamp()) + make_interval(secs => hit.idle_s),
                              s.create_time + make_interval(secs => hit.absolute_s)),
                          expire_time = s.create_time + make_interval(secs => hit.absolute_s)
                     from hit where s.id = hit.id and s.generation = hit.generation
                   returning s.id, subject, client_id, audiences, scopes, claims, certificate_thumbprint, idp, secret_hash,
                             revision, create_time as "create_time: SqlTimestamp", s.generation,
                             refresh_time as "refresh_time: SqlTimestamp",
                             idle_expire_time as "idle_expire_time: SqlTimestamp",
                             expire_time as "expire_time: SqlTimestamp", revoke_time as "revoke_time: SqlTimestamp",
                             revoke_reason, statement_timestamp() as "now!: SqlTimestamp",
                             0::bigint as "since_rotation_us!""#,
                &c.ids,
                &c.generations,
                &c.secret_hashes as &[&[u8]],
                &c.presenters,
                &c.client_ids as &[&str],
                &c.rules as &[&Value],
                &c.subjects as &[&str],
                &c.subject_ends,
                &c.scopes as &[&str],
                &c.scope_ends
            );
            Ok(advance.fetch_all(connection).await?)
        });
        let mut rows: HashMap<Uuid, Row> = rows.await?.into_iter().map(|row| (row.id, row)).collect();
        let advance =
            |presented: &Presented| rows.remove(&presented.id).map(|row| Ok(Box::new(row.try_into()?)));
        Ok(batch.iter().map(advance).map(Option::transpose).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn presented(client_id: &str, subjects: &[&str], scopes: &[&str]) -> Presented {
        let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        let presenter = Presenter {
            client_id: client_id.to_owned(),
            subjects: owned(subjects),
            scopes: owned(scopes),
            rules: json!({}),
        };
        Presented { id: Uuid::nil(), generation: 3, secret_hash: [7; 32], presenter: Arc::new(presenter) }
    }

    #[test]
    fn what_many_present_alike_is_sent_once() {
        let batch = [
            presented("one", &["user:*", "svc:a"], &[]),
            presented("two", &[], &["read"]),
            presented("one", &["user:*", "svc:a"], &[]),
            presented("one", &["user:*", "svc:a"], &["read", "write"]),
        ];
        let columns = Columns::of(&batch);
        assert_eq!(columns.presenters, [1, 2, 1, 3]);
        assert_eq!(columns.client_ids, ["one", "two", "one"]);
        assert_eq!(columns.subjects, ["user:*", "svc:a", "user:*", "svc:a"]);
        assert_eq!(columns.subject_ends, [0, 2, 2, 4]);
        assert_eq!(columns.scopes, ["read", "read", "write"]);
        assert_eq!(columns.scope_ends, [0, 0, 1, 3]);
    }
}
