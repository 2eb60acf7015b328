-- Epochs: a new one begins if the log may have lost its end, on another timeline or after a restore
-- (docs/internals/protocol.md, "Epochs"). These functions begin one, and write back what replicas hold and the tables
-- have lost. The functions that write back policies, clients and keys are in the files of these
-- (`put_policy`, `delete_policy`, `restrict_client`, `remove_mac_keys_again`).

-- Begins the epoch `next` in this place, if the log is still in the epoch `expected`: of several replicas that begin
-- one, a single one does (rule BeginByCompareAndSet of tests/model/README.md). Returns the new head's revision; null,
-- and nothing is written: another epoch has begun. Locks: tables, the head.
create function begin_epoch(expected bigint, next bigint, act jsonb) returns bigint
language plpgsql as $$
declare head bigint;
begin
    lock table only audit_event in row exclusive mode;
    -- Locks the head before the place and the partitions are looked up.
    perform 1 from log_head for update;
    update log_head set epoch = next, seq = 0, epoch_time = clock_timestamp(), written_by = pg_current_xact_id(),
                        timeline = left(pg_walfile_name(pg_current_wal_insert_lsn()), 8),
                        system_identifier = (select system_identifier from pg_control_system()),
                        place = log_place(), parts = log_parts(null, null)
     where epoch = expected
    returning epoch * 1099511627776 + seq into head;
    if head is null then
        return null;
    end if;
    perform audit(act, head);
    perform pg_notify('jeton_log', '');
    return head;
end $$;

-- Records that a replica has carried over its state into this epoch: other servers may start in it (rule
-- StartWhereCarriedOver of tests/model/README.md). Returns nothing; writes nothing if the log is in another epoch. It
-- locks the head.
create function end_carry_over(p_epoch bigint) returns void
language plpgsql as $$
begin
    update log_head set carried_epoch = p_epoch, written_by = pg_current_xact_id()
     where epoch = p_epoch and carried_epoch <> p_epoch and log_is_here(log_head, xmin);
end $$;

-- Begins the next epoch on behalf of an operator, who vouches by this for the contents of the tables. Returns the new
-- head's revision. `revoke_keys` is for a restore, because revocations since the backup are unknown: every signing key
-- is revoked, with a mark that is kept until `mark_end`; every MAC key is removed; every session is ended.
--
-- Locks: tables, the head; with `revoke_keys`, the marks on keys after it. With `revoke_keys` the table `session` is
-- locked against all other writers first: a statement that refreshes many sessions locks them in the order of their
-- ids. This one does not keep that order, so each could wait for the other.
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
    -- The operator vouches for the contents of the tables.
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

-- Appends entries that a replica holds in memory and the tables lack. Returns the new head's revision.
--
-- kind: 1 jti, 2 session, 3 subject, 4 client, 5 key, 6 audience, 11 trusted issuer. Present entries of ids stay as they are. Marks are merged by
-- maximum; a mark keeps its position, which alone is compared with `rev`, so it must not move forward. If an entry is
-- given twice it is taken once. A signing key that the tables do not know as revoked is revoked (rules AppendAgain and
-- CarryOverOnce of tests/model/README.md).
--
-- Locks: tables, the marks that it touches, the head.
create function reappend_revocations(
    kinds smallint[], ids uuid[], targets text[], mark_audiences text[], positions bigint[], cutoffs_s bigint[],
    reasons smallint[], expires_s bigint[], act jsonb) returns bigint
language plpgsql as $$
declare
    head bigint;
    base bigint;
begin
    lock table only audit_event, only revocation, only mark, only signing_key, only change in row exclusive mode;
    perform 1 from mark m
       join unnest(kinds, targets, mark_audiences) i(kind, target, audience)
         on (m.kind, m.target, m.audience) = (i.kind, i.target, i.audience)
      where i.kind >= 3
      order by m.kind, m.target, m.audience for update of m;
    head := log_advance(cardinality(kinds));
    base := head - cardinality(kinds);

    perform audit(act, head);

    with item as (
        select * from unnest(kinds, ids, targets, mark_audiences, positions, cutoffs_s, reasons, expires_s)
          with ordinality i(kind, id, target, audience, place, cutoff_s, reason, expire_s, ordinal)
    ), narrow as (
        insert into revocation (id, kind, expire_time, revision, reason)
        select id, kind, to_timestamp(expire_s), base + ordinal, reason from item where kind in (1, 2)
        on conflict do nothing
    ), wide as (
        insert into mark (kind, target, audience, revision, position, cutoff_s, reason, expire_time)
        select kind, target, audience, base + max(ordinal), max(place), max(cutoff_s),
               (array_agg(reason order by ordinal desc))[1], to_timestamp(max(expire_s))
          from item where kind >= 3 group by kind, target, audience
        on conflict (kind, target, audience) do update
           set revision = excluded.revision, position = greatest(mark.position, excluded.position),
               cutoff_s = greatest(mark.cutoff_s, excluded.cutoff_s), reason = excluded.reason,
               expire_time = greatest(mark.expire_time, excluded.expire_time)
    ), revoked as (
        update signing_key k
           set revoke_time = clock_timestamp(), expire_time = to_timestamp(item.expire_s)
          from (select target, max(expire_s) as expire_s from item where kind = 5 group by target) item
         where k.key_id = item.target and k.revoke_time is null
    )
    insert into change (revision, kind, name)
    select base + ordinal, 3, target from item where kind = 5;
    return head;
end $$;

-- Writes a lock back that a replica holds in memory and the tables have lost. Returns the new head's revision. If the
-- tables have another lock of the same target, the later end holds. Locks: tables, the head.
create function reappend_lock(
    p_kind smallint, p_target text, p_lock_time timestamptz, p_end_time timestamptz, p_actor text, p_note text, act jsonb)
returns bigint
language plpgsql as $$
declare head bigint;
begin
    lock table only audit_event, only lock in row exclusive mode;
    head := log_advance(1);
    insert into lock (kind, target, revision, lock_time, end_time, actor, note)
    values (p_kind, p_target, head, p_lock_time, p_end_time, p_actor, p_note)
    on conflict (kind, target) do update
       set revision = excluded.revision, end_time = greatest(lock.end_time, excluded.end_time);
    perform audit(act, head);
    return head;
end $$;
