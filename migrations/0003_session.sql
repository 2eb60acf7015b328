-- One row per refreshable session, however often it is refreshed. Partitioned by the week of its
-- id (a UUIDv7, so by creation). No index covers a column that Refresh writes and partitions keep
-- room on each page, so that a refresh is a HOT update.
create table session (
    id                     uuid        primary key,
    subject                text        not null,
    client_id              text        not null,
    audiences              text[]      not null,
    scopes                 text[]      not null,
    -- JSON text; jsonb would refuse what JSON allows (\u0000) and rewrite numbers.
    claims                 bytea       not null,
    certificate_thumbprint bytea,
    secret_hash            bytea       not null check (length(secret_hash) = 32),
    mac_key_id             bytea       not null,
    -- The log's revision at opening: marks above it end the session.
    revision               bigint      not null,
    create_time            timestamptz not null,
    generation             bigint      not null default 0,
    refresh_time           timestamptz not null,
    idle_expire_time       timestamptz not null,
    expire_time            timestamptz not null,
    revoke_time            timestamptz,
    revoke_reason          smallint    not null default 0
) partition by range (id);
create index session_subject on session (subject, id);
create index session_client on session (client_id, id);
create table session_default partition of session default with (fillfactor = 80);

-- Returns whether a subject has fewer than `most` live sessions for any of these audiences. Holds a lock for the
-- subject until the transaction ends: so callers that open sessions for it at the same time count each other's.
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

-- The strictest of the rules of a session's audiences. `rules` maps an audience, or "*" for those
-- without rules of their own, to {name: number}.
create function session_rule(audiences text[], rules jsonb, name text) returns bigint
language sql immutable parallel safe as $$
    select min((coalesce(rules -> a, rules -> '*') ->> name)::bigint) from unnest(audiences) a
$$;

-- Sessions that the log revokes and whose rows do not say so yet, at most `most`, with the reason: revoked by their id,
-- or by a mark on their subject or client that is above their revision, or whose cutoff is after their opening. Found
-- from the few entries, not from the many sessions.
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
           and (s.revision < m.position or s.create_time < to_timestamp(m.cutoff_s))) hit
     group by hit.id order by hit.id limit most
$$;
