-- Policies, written through the log. A change is in force on every replica once its barrier has passed (rule I7 of
-- docs/internals/behaviour.md). Locks of both functions: tables, the head.

-- Writes a policy if it is still at `expected` (0: absent). Returns the revision and the time of the change; null, and
-- nothing is written: another write was first. The policy gets that revision, or `as_of` if a replica carries over an
-- earlier state: a replica that knows of a later change must not take the policy for news (rule CarriedOverIsNoNews of
-- tests/model/README.md).
create function put_policy(
    expected bigint, p_audience text, p_client_id text, p_default_ttl_s bigint, p_max_ttl_s bigint, p_clamp boolean,
    p_leeway_s bigint, p_idle_s bigint, p_absolute_s bigint, p_grace_s bigint, p_hours smallint, p_minutes smallint,
    p_zone text, p_scopes text[], p_algorithm text, p_audit_issue boolean, p_subject_sessions bigint, as_of bigint, act jsonb,
    out new_revision bigint, out new_update_time timestamptz)
language plpgsql as $$
begin
    lock table only policy, only change, only audit_event in row exclusive mode;
    -- Locks the head before the policy is read: this orders writers of a policy that does not exist yet.
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

-- Removes a policy if it is still at `expected`. Returns the revision of the change; null, and nothing is written:
-- another write was first. The note of the removal (`removed_policy`) gets that revision, or `as_of` if a replica
-- carries over a removal.
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
