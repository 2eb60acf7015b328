-- Appends to the log: one call, one transaction, one notification. All of them take locks in one order: tables, mark
-- rows, log_head; removals keep the same order.

-- Moves the head by `n` and returns the new head's revision. Fails if the log was written elsewhere (`log_is_here`).
create function log_advance(n bigint) returns bigint
language plpgsql as $$
declare head bigint;
begin
    update log_head set seq = seq + n, written_by = pg_current_xact_id() where log_is_here(log_head, xmin)
    returning epoch * 1099511627776 + seq into head;
    if head is null then
        raise exception 'the database is not the one that the log was written in' using errcode = 'JT001';
    end if;
    perform pg_notify('jeton_log', '');
    return head;
end $$;

-- Writes an act into the audit trail. `act`: its columns as JSON, except those that are set here.
create function audit(act jsonb, at_revision bigint) returns void
language sql as $$
    insert into audit_event (id, revision, event_time, actor, action, subject, jti, session_id, client_id, outcome, reason,
                             note, trace_id, key_id, audience, cutoff_s, chain_id, chain_number, chain_tag)
    select a.id, at_revision, clock_timestamp(), a.actor, a.action, a.subject, a.jti, a.session_id, a.client_id, a.outcome,
           a.reason, a.note, a.trace_id, a.key_id, a.audience, a.cutoff_s, a.chain_id, a.chain_number, a.chain_tag
      from jsonb_populate_record(null::audit_event, act) a
$$;

-- "Something changed": moves the head by one and notes the change. The caller writes the row itself, in the same
-- transaction.
create function log_change(change_kind smallint, change_name text) returns bigint
language plpgsql as $$
declare head bigint;
begin
    head := log_advance(1);
    insert into change (revision, kind, name) values (head, change_kind, change_name);
    return head;
end $$;

-- The same, and audits it.
create function append_change(change_kind smallint, change_name text, act jsonb) returns bigint
language plpgsql as $$
declare head bigint;
begin
    head := log_change(change_kind, change_name);
    perform audit(act, head);
    return head;
end $$;

-- Writes a policy if it is still at `expected` (0: absent). Returns the revision of the change, or null, and nothing is
-- written, if another write was first. The policy gets that revision; or `as_of`, if a replica carries over an earlier
-- state: a replica that knows of a later change must not take it for news.
create function put_policy(
    expected bigint, p_audience text, p_client_id text, p_default_ttl_s bigint, p_max_ttl_s bigint, p_clamp boolean,
    p_leeway_s bigint, p_idle_s bigint, p_absolute_s bigint, p_grace_s bigint, p_hours smallint, p_minutes smallint,
    p_zone text, p_scopes text[], p_algorithm text, p_audit_issue boolean, p_subject_sessions bigint, as_of bigint, act jsonb,
    out new_revision bigint, out new_update_time timestamptz)
language plpgsql as $$
begin
    lock table only policy, only change, only audit_event in row exclusive mode;
    -- The head's lock comes first: it orders writers of a policy that does not exist yet.
    perform 1 from log_head for update;
    if coalesce((select revision from policy where audience = p_audience and client_id = p_client_id), 0) <> expected then
        return;
    end if;
    new_revision := append_change(1::smallint, p_audience || ' ' || p_client_id, act);
    new_update_time := clock_timestamp();
    insert into policy values (p_audience, p_client_id, coalesce(as_of, new_revision), new_update_time, p_default_ttl_s,
        p_max_ttl_s, p_clamp, p_leeway_s, p_idle_s, p_absolute_s, p_grace_s, p_hours, p_minutes, p_zone, p_scopes, p_algorithm,
        p_audit_issue, p_subject_sessions)
    on conflict (audience, client_id) do update set
        revision = excluded.revision, update_time = excluded.update_time, default_ttl_s = excluded.default_ttl_s,
        max_ttl_s = excluded.max_ttl_s, clamp = excluded.clamp, leeway_s = excluded.leeway_s,
        refresh_idle_s = excluded.refresh_idle_s, refresh_absolute_s = excluded.refresh_absolute_s,
        refresh_grace_s = excluded.refresh_grace_s, boundary_hours = excluded.boundary_hours,
        boundary_minutes = excluded.boundary_minutes, boundary_zone = excluded.boundary_zone,
        allowed_scopes = excluded.allowed_scopes, algorithm = excluded.algorithm, audit_issue = excluded.audit_issue,
        subject_sessions = excluded.subject_sessions;
end $$;

-- Removes a policy if it is still at `expected`, and records the revision of its removal: that of the change, or before
-- `as_of`, if a replica carries over a removal. Null: another write was first.
create function delete_policy(
    expected bigint, p_audience text, p_client_id text, as_of bigint, act jsonb) returns bigint
language plpgsql as $$
declare head bigint;
begin
    lock table only policy, only removed_policy, only change, only audit_event in row exclusive mode;
    perform 1 from log_head for update;
    delete from policy where audience = p_audience and client_id = p_client_id and revision = expected;
    if not found then
        return null;
    end if;
    head := append_change(1::smallint, p_audience || ' ' || p_client_id, act);
    insert into removed_policy (audience, client_id, revision)
    values (p_audience, p_client_id, coalesce(as_of, head))
    on conflict (audience, client_id) do update
       set revision = greatest(removed_policy.revision, excluded.revision), remove_time = excluded.remove_time;
    return head;
end $$;

-- Drops one partition, if it exists. Waits at most 50 ms for its lock, so that it never queues before an append; the
-- caller tries again later. Runs as its owner, because the server's own role need not own the tables.
create function drop_partition(child text) returns boolean
language plpgsql security definer set lock_timeout = '50ms' as $$
declare gone oid;
begin
    if child !~ '^(revocation|session|audit_event)_[0-9]+$' then
        raise exception '% is no partition', child using errcode = 'invalid_parameter_value';
    end if;
    gone := to_regclass(child);
    if gone is null then
        return false;
    end if;
    execute format('drop table %I', child);
    if child !~ '^audit_event' then
        perform log_changes_parts(gone, null);
    end if;
    return true;
end $$;

-- Removes marks, through the log, after a full sweep of the sessions that followed their end. Returns their number.
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

-- Removes notes of changes older than `age`, and moves the floor: a reader below it loads all tables again. The notes
-- of removed policies are removed with them.
create function purge_changes(age interval) returns bigint
language plpgsql as $$
declare purged bigint;
begin
    lock table only removed_policy, only change in row exclusive mode;
    update log_head set floor = old.revision, written_by = pg_current_xact_id()
      from (select max(revision) as revision from change where change_time < now() - age) old
     where floor < old.revision and log_is_here(log_head, log_head.xmin);
    delete from removed_policy where remove_time < now() - age;
    delete from change where change_time < now() - age;
    get diagnostics purged = row_count;
    return purged;
end $$;
