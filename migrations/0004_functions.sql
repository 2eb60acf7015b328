-- Appends to the log: one call, one transaction, one notification. All of them take locks in one
-- order: tables, mark rows, log_head; whoever removes keeps the same order.

-- Moves the head by `n` and gives the new head's revision. Refuses when the log was written
-- elsewhere (`log_is_here`).
create function log_advance(n bigint) returns bigint
language plpgsql as $$
declare head bigint;
begin
    update log_head set seq = seq + n where log_is_here(log_head)
    returning epoch * 1099511627776 + seq into head;
    if head is null then
        raise exception 'the database is not the one that the log was written in' using errcode = 'JT001';
    end if;
    perform pg_notify('jeton_log', '');
    return head;
end $$;

-- One batch of revocations. Item i acts only if this call inserts its audit row, so a batch may be
-- sent again. kind: 0 nothing new (the head moves all the same), 1 jti, 2 session, 3 subject,
-- 4 client, 5 key. Answers the head's revision and the time of the commit.
create function append_revocations(
    audit_ids uuid[], kinds smallint[], ids uuid[], targets text[], mark_audiences text[], cutoffs_s bigint[],
    reasons smallint[], expires_s bigint[], actors text[], actions text[], subjects text[], jtis uuid[],
    session_ids uuid[], client_ids text[], notes text[], trace_ids text[],
    out head bigint, out commit_time timestamptz)
language plpgsql as $$
declare base bigint;
begin
    lock table only audit_event, only revocation, only mark, only signing_key, only change in row exclusive mode;
    perform 1 from mark m
       join unnest(kinds, targets, mark_audiences) i(kind, target, audience)
         on (m.kind, m.target, m.audience) = (i.kind, i.target, i.audience)
      where i.kind >= 3
      order by m.kind, m.target, m.audience for update of m;
    head := log_advance(cardinality(kinds));
    base := head - cardinality(kinds);
    commit_time := clock_timestamp();

    with item as (
        select * from unnest(audit_ids, kinds, ids, targets, mark_audiences, cutoffs_s, reasons, expires_s, actors,
                             actions, subjects, jtis, session_ids, client_ids, notes, trace_ids) with ordinality
          i(audit_id, kind, id, target, audience, cutoff_s, reason, expire_s, actor,
            action, subject, jti, session_id, client_id, note, trace_id, ordinal)
    ), audited as (
        insert into audit_event (id, revision, event_time, actor, action, subject, jti, session_id, client_id,
                                 outcome, reason, note, trace_id)
        select audit_id, base + ordinal, commit_time, actor, action, subject, jti, session_id, client_id,
               'OK', reason, note, trace_id from item
        on conflict do nothing returning id
    ), fresh as (
        select item.* from item join audited on audited.id = item.audit_id
    ), narrow as (
        insert into revocation (id, kind, expire_time, revision, reason)
        select id, kind, to_timestamp(expire_s), base + ordinal, reason from fresh where kind in (1, 2)
        on conflict do nothing
    ), wide as (
        insert into mark (kind, target, audience, revision, position, cutoff_s, reason, expire_time)
        select kind, target, audience, base + max(ordinal),
               coalesce(max(base + ordinal) filter (where cutoff_s = 0), 0), max(cutoff_s),
               (array_agg(reason order by ordinal desc))[1], to_timestamp(max(expire_s))
          from fresh where kind >= 3 group by kind, target, audience
        on conflict (kind, target, audience) do update
           set revision = excluded.revision, position = greatest(mark.position, excluded.position),
               cutoff_s = greatest(mark.cutoff_s, excluded.cutoff_s), reason = excluded.reason,
               expire_time = greatest(mark.expire_time, excluded.expire_time)
    ), revoked as (
        update signing_key k
           set revoke_time = commit_time, expire_time = to_timestamp(fresh.expire_s)
          from fresh where fresh.kind = 5 and k.key_id = fresh.target and k.revoke_time is null
    )
    insert into change (revision, kind, name)
    select base + ordinal, 3, target from fresh where kind = 5;
end $$;

-- "Something changed": moves the head by one, notes the change and audits it. The caller writes
-- the row itself, in the same transaction.
create function append_change(
    change_kind smallint, change_name text, audit_id uuid, audit_actor text, audit_action text,
    audit_client text, audit_note text, audit_trace text) returns bigint
language plpgsql as $$
declare head bigint;
begin
    head := log_advance(1);
    insert into change (revision, kind, name) values (head, change_kind, change_name);
    insert into audit_event (id, revision, event_time, actor, action, client_id, outcome, note, trace_id, key_id)
    values (audit_id, head, clock_timestamp(), audit_actor, audit_action, audit_client, 'OK', audit_note, audit_trace,
            case when change_kind = 3 then nullif(change_name, '') end);
    return head;
end $$;

-- Writes a policy if it still is at `expected` (0: absent). Answers the revision of the change, or null and nothing
-- written when somebody else was first. The policy takes that revision; or `as_of`, where a replica carries over what
-- was written before: whoever knows of a later change must not take it for news.
create function put_policy(
    expected bigint, p_audience text, p_client_id text, p_default_ttl_s bigint, p_max_ttl_s bigint, p_clamp boolean,
    p_leeway_s bigint, p_idle_s bigint, p_absolute_s bigint, p_grace_s bigint, p_hours smallint, p_minutes smallint,
    p_zone text, p_scopes text[], p_algorithm text,
    as_of bigint, audit_id uuid, audit_actor text, audit_trace text,
    out new_revision bigint, out new_update_time timestamptz)
language plpgsql as $$
begin
    lock table only policy, only change, only audit_event in row exclusive mode;
    -- The head's lock comes first: it orders writers of a policy that does not exist yet.
    perform 1 from log_head for update;
    if coalesce((select revision from policy where audience = p_audience and client_id = p_client_id), 0) <> expected then
        return;
    end if;
    new_revision := append_change(1::smallint, p_audience || ' ' || p_client_id, audit_id, audit_actor, 'UpdatePolicy',
                                  p_client_id, p_audience, audit_trace);
    new_update_time := clock_timestamp();
    insert into policy values (p_audience, p_client_id, coalesce(as_of, new_revision), new_update_time, p_default_ttl_s,
        p_max_ttl_s, p_clamp, p_leeway_s, p_idle_s, p_absolute_s, p_grace_s, p_hours, p_minutes, p_zone, p_scopes, p_algorithm)
    on conflict (audience, client_id) do update set
        revision = excluded.revision, update_time = excluded.update_time, default_ttl_s = excluded.default_ttl_s,
        max_ttl_s = excluded.max_ttl_s, clamp = excluded.clamp, leeway_s = excluded.leeway_s,
        refresh_idle_s = excluded.refresh_idle_s, refresh_absolute_s = excluded.refresh_absolute_s,
        refresh_grace_s = excluded.refresh_grace_s, boundary_hours = excluded.boundary_hours,
        boundary_minutes = excluded.boundary_minutes, boundary_zone = excluded.boundary_zone,
        allowed_scopes = excluded.allowed_scopes, algorithm = excluded.algorithm;
end $$;

-- Removes a policy if it still is at `expected`, and notes that it was removed at the revision of the change, or before
-- `as_of`, where a replica carries over a removal. Null: somebody else was first.
create function delete_policy(
    expected bigint, p_audience text, p_client_id text, as_of bigint, audit_id uuid, audit_actor text, audit_trace text)
returns bigint
language plpgsql as $$
declare head bigint;
begin
    lock table only policy, only removed_policy, only change, only audit_event in row exclusive mode;
    perform 1 from log_head for update;
    delete from policy where audience = p_audience and client_id = p_client_id and revision = expected;
    if not found then
        return null;
    end if;
    head := append_change(1::smallint, p_audience || ' ' || p_client_id, audit_id, audit_actor, 'DeletePolicy',
                          p_client_id, p_audience, audit_trace);
    insert into removed_policy (audience, client_id, revision)
    values (p_audience, p_client_id, coalesce(as_of, head))
    on conflict (audience, client_id) do update
       set revision = greatest(removed_policy.revision, excluded.revision), remove_time = excluded.remove_time;
    return head;
end $$;

-- Registers a client, or changes its registration, and adds an API key unless it is there.
-- `only_first`: null and nothing written when some client that is not disabled administers already, or
-- there is one of this name: keys that it has must not gain what this one is given.
create function put_client(
    p_client_id text, p_display_name text, p_permissions smallint[], p_audiences text[], p_subjects text[],
    p_api_key_id text, p_secret_hash bytea, only_first boolean, audit_id uuid, audit_actor text,
    audit_action text) returns bigint
language plpgsql as $$
declare
    admin_write constant smallint := 7;
    head bigint;
begin
    lock table only client, only api_key, only change, only audit_event in row exclusive mode;
    perform 1 from log_head for update;
    if only_first and exists (select from client
                               where client_id = p_client_id or (admin_write = any(permissions) and not disabled)) then
        return null;
    end if;
    head := append_change(2::smallint, p_client_id, audit_id, audit_actor, audit_action, p_client_id, '', '');
    insert into client (client_id, revision, display_name, permissions, audiences, subjects, create_time)
    values (p_client_id, head, p_display_name, p_permissions, p_audiences, p_subjects, clock_timestamp())
    on conflict (client_id) do update set
        revision = excluded.revision, display_name = excluded.display_name, permissions = excluded.permissions,
        audiences = excluded.audiences, subjects = excluded.subjects, disabled = false;
    insert into api_key (api_key_id, client_id, secret_hash, create_time)
    values (p_api_key_id, p_client_id, p_secret_hash, clock_timestamp())
    on conflict do nothing;
    return head;
end $$;

-- Adds a signing key. `active`: it signs at once, and the active key of its algorithm is retired
-- (it verifies until `retired_expire`); unless `only_if_none`, where an active key stays and null
-- is answered. Not active: it only verifies, until `retired_expire`.
create function put_signing_key(
    p_key_id text, p_algorithm text, p_public_jwk text, p_sealed bytea, active boolean, only_if_none boolean,
    verify_for interval, audit_id uuid, audit_actor text, audit_action text) returns bigint
language plpgsql as $$
declare
    head bigint;
    moment timestamptz;
begin
    lock table only signing_key, only change, only audit_event in row exclusive mode;
    perform 1 from log_head for update;
    if only_if_none and exists (select from signing_key
                                 where algorithm = p_algorithm and retire_time is null and revoke_time is null) then
        return null;
    end if;
    head := append_change(3::smallint, p_key_id, audit_id, audit_actor, audit_action, null, p_key_id, '');
    moment := clock_timestamp();
    if active then
        update signing_key set retire_time = moment, expire_time = moment + verify_for
         where algorithm = p_algorithm and retire_time is null and revoke_time is null;
        insert into signing_key (key_id, algorithm, public_jwk, sealed, create_time, activate_time)
        values (p_key_id, p_algorithm, p_public_jwk, p_sealed, moment, moment);
    else
        insert into signing_key (key_id, algorithm, public_jwk, sealed, create_time, activate_time, retire_time, expire_time)
        values (p_key_id, p_algorithm, p_public_jwk, p_sealed, moment, moment, moment, moment + verify_for);
    end if;
    return head;
end $$;

-- Adds the first MAC key; null when there is one.
create function put_mac_key(p_mac_key_id bytea, p_sealed bytea, audit_id uuid, audit_actor text) returns bigint
language plpgsql as $$
begin
    lock table only mac_key, only change, only audit_event in row exclusive mode;
    perform 1 from log_head for update;
    if exists (select from mac_key where retire_time is null) then
        return null;
    end if;
    insert into mac_key (mac_key_id, sealed, create_time) values (p_mac_key_id, p_sealed, clock_timestamp());
    return append_change(3::smallint, encode(p_mac_key_id, 'hex'), audit_id, audit_actor, 'CreateMacKey', null, '', '');
end $$;

-- Makes one partition unless it is there. Waits at most 50 ms for its lock, so that it never
-- queues before an append; the caller tries again later.
create function make_partition(parent text, child text, lower_bound text, upper_bound text, options text) returns boolean
language plpgsql set lock_timeout = '50ms' as $$
begin
    if to_regclass(child) is not null then
        return false;
    end if;
    execute format('create table %I partition of %I for values from (%L) to (%L) %s',
                   child, parent, lower_bound, upper_bound, options);
    return true;
end $$;

-- Drops one partition, if it is there; likewise. As its owner: the server's own role need not own the tables.
create function drop_partition(child text) returns boolean
language plpgsql security definer set lock_timeout = '50ms' as $$
begin
    if child !~ '^(revocation|session|audit_event)_[0-9]+$' then
        raise exception '% is no partition', child using errcode = 'invalid_parameter_value';
    end if;
    if to_regclass(child) is null then
        return false;
    end if;
    execute format('drop table %I', child);
    return true;
end $$;

-- Removes marks that a full pass over the sessions has outlived, through the log. Answers how many.
create function remove_marks(p_kinds smallint[], p_targets text[], p_audiences text[]) returns bigint
language plpgsql as $$
declare
    removed bigint;
    head bigint;
begin
    lock table only mark, only change in row exclusive mode;
    perform 1 from mark m
       join unnest(p_kinds, p_targets, p_audiences) i(kind, target, audience)
         on (m.kind, m.target, m.audience) = (i.kind, i.target, i.audience)
      where m.expire_time < now()
      order by m.kind, m.target, m.audience for update of m;
    select count(*) into removed from mark m
       join unnest(p_kinds, p_targets, p_audiences) i(kind, target, audience)
         on (m.kind, m.target, m.audience) = (i.kind, i.target, i.audience)
      where m.expire_time < now();
    if removed = 0 then
        return 0;
    end if;
    head := log_advance(removed);
    with gone as (
        delete from mark m using unnest(p_kinds, p_targets, p_audiences) i(kind, target, audience)
         where (m.kind, m.target, m.audience) = (i.kind, i.target, i.audience) and m.expire_time < now()
        returning m.kind, m.target, m.audience
    )
    insert into change (revision, kind, name)
    select head - removed + row_number() over (), 4, json_build_array(kind, target, audience)::text from gone;
    return removed;
end $$;

-- Removes notes of changes older than `age`, and says so by the floor: a reader below it loads anew. The notes of
-- removed policies go with them.
create function purge_changes(age interval) returns bigint
language plpgsql as $$
declare purged bigint;
begin
    lock table only removed_policy, only change in row exclusive mode;
    update log_head set floor = old.revision
      from (select max(revision) as revision from change where change_time < now() - age) old
     where floor < old.revision;
    delete from removed_policy where remove_time < now() - age;
    delete from change where change_time < now() - age;
    get diagnostics purged = row_count;
    return purged;
end $$;
