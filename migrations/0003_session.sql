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

-- The strictest of the rules of a session's audiences. `rules` maps an audience, or "*" for those
-- without rules of their own, to {name: number}.
create function session_rule(audiences text[], rules jsonb, name text) returns bigint
language sql immutable parallel safe as $$
    select min((coalesce(rules -> a, rules -> '*') ->> name)::bigint) from unnest(audiences) a
$$;

-- Why the log revokes this session, if it does: by its id, or by a mark on its subject or client
-- that is above its revision, or whose cutoff is after its opening.
create function session_hit(s session) returns table (reason smallint)
language sql stable as $$
    select reason from (
        select r.reason from revocation r where r.kind = 2 and r.id = s.id
        union all
        select m.reason from mark m
         where ((m.kind = 3 and m.target = s.subject) or (m.kind = 4 and m.target = s.client_id))
           and (m.audience = '' or m.audience = any(s.audiences))
           and (s.revision < m.position or s.create_time < to_timestamp(m.cutoff_s))) hit
     limit 1
$$;

-- Sessions that the log may revoke: found by its entries, few, rather than by the sessions, many.
create function session_candidates() returns table (id uuid)
language sql stable as $$
    select s.id from session s join revocation r on r.kind = 2 and r.id = s.id where s.revoke_time is null
    union
    select s.id from session s join mark m on m.kind = 3 and m.target = s.subject where s.revoke_time is null
    union
    select s.id from session s join mark m on m.kind = 4 and m.target = s.client_id where s.revoke_time is null
$$;
