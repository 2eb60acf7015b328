-- Sessions: functions for the statements that open and sweep them. Their rows are written by statements of
-- src/store/sessions/session.rs and src/store/sessions/refresh.rs.

-- Returns whether a subject has fewer than `most` live sessions for any of these audiences (rule K11 of
-- docs/internals/behaviour.md). It takes an advisory lock for the subject until the transaction ends, so that callers
-- that open sessions for one subject at the same time count each other's.
create function subject_has_room(p_subject text, p_audiences text[], most bigint) returns boolean
language plpgsql as $$
begin
    perform pg_advisory_xact_lock(1, hashtext(p_subject));
    -- A separate statement: it sees everything that was committed while it waited for the lock.
    return (select count(*) < most from (
        select 1 from session
         where subject = p_subject and audiences && p_audiences and revoke_time is null
           and idle_expire_time > now() and expire_time > now()
         limit most) live);
end $$;

-- Returns the strictest of the rules of a session's audiences. `rules` maps an audience, or "*" for those without rules
-- of their own, to {name: number}. Only the measurements of crates/jeton-bench/benches/suite/bare.rs call it.
create function session_rule(audiences text[], rules jsonb, name text) returns bigint
language sql immutable parallel safe as $$
    select min((coalesce(rules -> a, rules -> '*') ->> name)::bigint) from unnest(audiences) a
$$;

-- Returns sessions that the log revokes and whose rows do not say so yet, at most `most`, with the reason. They are
-- revoked by their id, or by a mark on their subject, client, audience or issuer that is above their revision, or whose
-- cutoff is after their opening. They are found from the few entries, not from the many sessions. It only reads: the sweep locks the
-- sessions, in the order of their ids (docs/internals/protocol.md, "Sessions").
create function revoked_sessions(most bigint) returns table (id uuid, reason smallint)
language sql stable as $$
    select hit.id, min(hit.reason) from (
        select s.id, r.reason from revocation r join session s on s.id = r.id
         where r.kind = 2 and s.revoke_time is null
        union all
        select s.id, m.reason from mark m join session s on s.subject = m.target
         where m.kind = 3 and s.revoke_time is null and (m.audience = '' or m.audience = any(s.audiences))
           and (s.revision < m.position or s.create_time < to_timestamp(m.cutoff_s))
        union all
        select s.id, m.reason from mark m join session s on s.client_id = m.target
         where m.kind = 4 and s.revoke_time is null and (m.audience = '' or m.audience = any(s.audiences))
           and (s.revision < m.position or s.create_time < to_timestamp(m.cutoff_s))
        union all
        select s.id, m.reason from mark m join session s on s.audiences @> array[m.target]
         where m.kind = 6 and s.revoke_time is null
           and (s.revision < m.position or s.create_time < to_timestamp(m.cutoff_s))
        union all
        select s.id, m.reason from mark m join session s on s.idp = m.target and s.idp <> ''
         where m.kind = 11 and s.revoke_time is null and (m.audience = '' or m.audience = any(s.audiences))
           and (s.revision < m.position or s.create_time < to_timestamp(m.cutoff_s))) hit
     group by hit.id order by hit.id limit most
$$;
