-- Epochs: a new one begins if the log may have lost its end, on another timeline or after a restore. Revisions compare
-- by epoch first.

-- Begins the epoch `next` here, unless another has begun since `expected`: then null. Returns the new head's revision.
create function begin_epoch(expected bigint, next bigint, act jsonb) returns bigint
language plpgsql as $$
declare head bigint;
begin
    lock table only audit_event in row exclusive mode;
    -- The look-ups below come after the head is locked.
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

-- Appends entries that a replica holds in memory and the tables lack. Present entries stay as they are. A mark keeps
-- its position, which alone is compared with `rev`: it must not move forward. Duplicates are taken once, marks by
-- maximum. kind: 1 jti, 2 session, 3 subject, 4 client, 5 key. Returns the head's revision.
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

-- Records that a replica has carried over its state into this epoch.
create function end_carry_over(p_epoch bigint) returns void
language plpgsql as $$
begin
    update log_head set carried_epoch = p_epoch, written_by = pg_current_xact_id()
     where epoch = p_epoch and carried_epoch <> p_epoch and log_is_here(log_head, xmin);
end $$;

-- Takes rights of a client away, as a replica carries that over, if it is still at `expected`: the registration becomes
-- this, of `as_of`; these API keys are removed, and these end sooner. Null: another replica was first.
create function restrict_client(
    expected bigint, as_of bigint, p_client_id text, p_certificate_uris text[], p_permissions smallint[],
    p_audiences text[], p_subjects text[], p_disabled boolean, p_version bigint, p_row_mac bytea, gone_key_ids text[],
    ending_key_ids text[], key_ends_s bigint[], key_row_macs bytea[], act jsonb) returns bigint
language plpgsql as $$
declare head bigint;
begin
    lock table only client, only client_certificate, only api_key, only change, only audit_event in row exclusive mode;
    perform 1 from log_head for update;
    if not exists (select from client where client_id = p_client_id and revision = expected) then
        return null;
    end if;
    head := append_change(2::smallint, p_client_id, act);
    update client set revision = as_of, certificate_uris = p_certificate_uris, permissions = p_permissions,
                      audiences = p_audiences, subjects = p_subjects, disabled = p_disabled, version = p_version,
                      row_mac = p_row_mac
     where client_id = p_client_id;
    -- In the order in which uses of keys are written.
    perform 1 from api_key where client_id = p_client_id order by api_key_id for update;
    delete from api_key where client_id = p_client_id and api_key_id = any(gone_key_ids);
    update api_key k set expire_time = to_timestamp(i.end_s), row_mac = i.row_mac
      from unnest(ending_key_ids, key_ends_s, key_row_macs) i(api_key_id, end_s, row_mac)
     where k.client_id = p_client_id and k.api_key_id = i.api_key_id;
    return head;
end $$;
