-- Begins the next epoch on behalf of an operator. `revoke_keys`: every signing key and every MAC key is revoked and
-- every session ended, because revocations since the backup are unknown; marks on the keys are kept until `mark_end`.
-- Returns the new head's revision. Sessions are ended while nobody refreshes any: a statement that refreshes many locks
-- them in the order of their ids, which this one does not keep, so that each could wait for the other.
create function bump_epoch(revoke_keys boolean, mark_end timestamptz, act jsonb) returns bigint
language plpgsql as $$
declare
    compromised constant smallint := 3;
    current_epoch bigint;
    head bigint;
begin
    if revoke_keys then
        lock table only session in share row exclusive mode;
    end if;
    lock table only audit_event, only mark, only signing_key, only mac_key, only session, only change in row exclusive mode;
    select epoch into current_epoch from log_head for update;
    head := begin_epoch(current_epoch, current_epoch + 1, act);
    -- By this the operator vouches for the contents of the tables.
    perform end_carry_over(current_epoch + 1);
    if not revoke_keys then
        return head;
    end if;
    head := log_advance(1);
    insert into mark (kind, target, audience, revision, position, cutoff_s, reason, expire_time)
    select 5, key_id, '', head, head, 0, compromised, mark_end from signing_key where revoke_time is null
    on conflict (kind, target, audience) do update
       set revision = excluded.revision, position = greatest(mark.position, excluded.position),
           expire_time = greatest(mark.expire_time, excluded.expire_time);
    update signing_key set revoke_time = clock_timestamp(), expire_time = mark_end where revoke_time is null;
    delete from mac_key;
    update session set revoke_time = clock_timestamp(), revoke_reason = compromised where revoke_time is null;
    insert into change (revision, kind, name) values (head, 3, '');
    return head;
end $$;
