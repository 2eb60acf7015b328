-- The life of signing keys and MAC keys: pending, active, retired, gone; or revoked at once (rule C1 of
-- docs/internals/behaviour.md). A step from one state to the next is an entry of the log, which every replica follows.
-- The database's clock alone decides, under the head's lock, whether a step is due: so one replica takes it
-- (docs/internals/protocol.md, "Keys"). Locks of the functions that write: tables, the head.
--
-- `refused` are keys whose rows jeton did not write as they are: they count as absent (rule C7).

-- Publishes a signing key that is due after `lead`. Returns the revision of the change; null, and nothing is written: a
-- key of its algorithm is pending already; or, if `older_than` is given, the active one has signed for a shorter time
-- than that. A pending key among `refused` is removed: it has signed nothing, and would block the next one.
create function publish_signing_key(
    p_key_id text, p_algorithm text, p_public_jwk text, p_sealed bytea, p_version bigint, p_row_mac bytea,
    lead interval, older_than interval, refused text[], act jsonb) returns bigint
language plpgsql as $$
declare
    head bigint;
    moment timestamptz;
begin
    lock table only signing_key, only change, only audit_event in row exclusive mode;
    perform 1 from log_head for update;
    moment := clock_timestamp();
    if exists (select from signing_key
                where algorithm = p_algorithm and signing_time is null and revoke_time is null
                  and key_id <> all(refused))
       or exists (select from signing_key
                   where algorithm = p_algorithm and retire_time is null and revoke_time is null
                     and signing_time > moment - older_than and key_id <> all(refused)) then
        return null;
    end if;
    head := append_change(3::smallint, p_key_id, act);
    delete from signing_key
     where algorithm = p_algorithm and signing_time is null and revoke_time is null and key_id = any(refused);
    insert into signing_key (key_id, algorithm, public_jwk, sealed, create_time, activate_time, publish_revision, version,
                             row_mac)
    values (p_key_id, p_algorithm, p_public_jwk, p_sealed, moment, moment + lead, head, p_version, p_row_mac);
    return head;
end $$;

-- Returns the key that a pending one will replace: the active one of its algorithm. It only reads.
create function replaced_by_signing_key(p_key_id text) returns text
language sql stable as $$
    select a.key_id from signing_key a join signing_key p on p.algorithm = a.algorithm and p.key_id = p_key_id
     where a.signing_time is not null and a.retire_time is null and a.revoke_time is null and a.key_id <> p_key_id
$$;

-- Activates a pending signing key; its predecessor only verifies from now on, for `verify_for`. Returns the revision of
-- the change; null, and nothing is written: the key is not pending, or `only_due` is set, another key signs, and this
-- one is not due; 0, and nothing is written: the predecessor is not `expected`, which `act` names.
create function activate_signing_key(
    p_key_id text, only_due boolean, verify_for interval, expected text, act jsonb) returns bigint
language plpgsql as $$
declare
    head bigint;
    moment timestamptz;
    pending signing_key;
    replaced text;
begin
    lock table only signing_key, only change, only audit_event in row exclusive mode;
    perform 1 from log_head for update;
    moment := clock_timestamp();
    select * into pending from signing_key
     where key_id = p_key_id and signing_time is null and revoke_time is null;
    if not found then
        return null;
    end if;
    replaced := replaced_by_signing_key(p_key_id);
    if only_due and replaced is not null and pending.activate_time > moment then
        return null;
    end if;
    if replaced is distinct from expected then
        return 0;
    end if;
    head := append_change(3::smallint, p_key_id, act);
    update signing_key set retire_time = moment, expire_time = moment + verify_for where key_id = replaced;
    update signing_key set signing_time = moment where key_id = p_key_id;
    return head;
end $$;

-- Adds a signing key that only verifies, for `verify_for`. Returns the revision of the change.
create function put_retired_signing_key(
    p_key_id text, p_algorithm text, p_public_jwk text, p_sealed bytea, p_version bigint, p_row_mac bytea,
    verify_for interval, act jsonb) returns bigint
language plpgsql as $$
declare
    head bigint;
    moment timestamptz;
begin
    lock table only signing_key, only change, only audit_event in row exclusive mode;
    head := append_change(3::smallint, p_key_id, act);
    moment := clock_timestamp();
    insert into signing_key (key_id, algorithm, public_jwk, sealed, create_time, activate_time, signing_time,
                             retire_time, expire_time, publish_revision, version, row_mac)
    values (p_key_id, p_algorithm, p_public_jwk, p_sealed, moment, moment, moment, moment, moment + verify_for, head,
            p_version, p_row_mac);
    return head;
end $$;

-- Publishes a MAC key that is due after `lead`. Returns the revision of the change; null as for signing keys. A pending
-- key among `refused` is removed: it has opened no session, and would block the next one.
create function publish_mac_key(
    p_mac_key_id bytea, p_sealed bytea, p_version bigint, p_row_mac bytea, lead interval, older_than interval,
    refused bytea[], act jsonb) returns bigint
language plpgsql as $$
declare
    head bigint;
    moment timestamptz;
    name constant text := encode(p_mac_key_id, 'hex');
begin
    lock table only mac_key, only change, only audit_event in row exclusive mode;
    perform 1 from log_head for update;
    moment := clock_timestamp();
    if exists (select from mac_key where signing_time is null and mac_key_id <> all(refused))
       or exists (select from mac_key
                   where retire_time is null and signing_time > moment - older_than and mac_key_id <> all(refused)) then
        return null;
    end if;
    head := append_change(3::smallint, name, act);
    delete from mac_key where signing_time is null and mac_key_id = any(refused);
    insert into mac_key (mac_key_id, sealed, create_time, activate_time, publish_revision, version, row_mac)
    values (p_mac_key_id, p_sealed, moment, moment + lead, head, p_version, p_row_mac);
    return head;
end $$;

-- Returns the MAC key that opens sessions, or null. It only reads.
create function active_mac_key() returns bytea
language sql stable as $$
    select mac_key_id from mac_key where signing_time is not null and retire_time is null
$$;

-- Activates a pending MAC key that is due; its predecessor keeps its sessions for `verify_for`. Returns the revision of
-- the change; null and 0 as for signing keys.
create function activate_mac_key(p_mac_key_id bytea, verify_for interval, expected bytea, act jsonb) returns bigint
language plpgsql as $$
declare
    head bigint;
    moment timestamptz;
    due timestamptz;
    replaced bytea;
    name constant text := encode(p_mac_key_id, 'hex');
begin
    lock table only mac_key, only change, only audit_event in row exclusive mode;
    perform 1 from log_head for update;
    moment := clock_timestamp();
    select activate_time into due from mac_key where mac_key_id = p_mac_key_id and signing_time is null;
    if not found then
        return null;
    end if;
    replaced := active_mac_key();
    if replaced is not null and due > moment then
        return null;
    end if;
    if replaced is distinct from expected then
        return 0;
    end if;
    head := append_change(3::smallint, name, act);
    update mac_key set retire_time = moment, expire_time = moment + verify_for where mac_key_id = replaced;
    update mac_key set signing_time = moment where mac_key_id = p_mac_key_id;
    return head;
end $$;

-- Returns the MAC keys whose last session has ended. It only reads.
create function ended_mac_keys() returns bytea[]
language sql stable as $$
    select coalesce(array_agg(mac_key_id order by mac_key_id), '{}') from mac_key where expire_time < clock_timestamp()
$$;

-- Removes these MAC keys. Returns the revision of the change; null, and nothing is written: the last session of one of
-- them has not ended.
create function remove_mac_keys(expected bytea[], act jsonb) returns bigint
language plpgsql as $$
begin
    lock table only mac_key, only change, only audit_event in row exclusive mode;
    perform 1 from log_head for update;
    if not ended_mac_keys() @> expected then
        return null;
    end if;
    delete from mac_key where mac_key_id = any(expected);
    return append_change(3::smallint, '', act);
end $$;

-- Removes MAC keys that had been removed before, as a replica carries that over into a new epoch: no session that they
-- opened continues. Returns the revision of the change; null, and nothing is written: none of them exists.
create function remove_mac_keys_again(p_mac_key_ids bytea[], act jsonb) returns bigint
language plpgsql as $$
begin
    lock table only mac_key, only change, only audit_event in row exclusive mode;
    perform 1 from log_head for update;
    delete from mac_key where mac_key_id = any(p_mac_key_ids);
    if not found then
        return null;
    end if;
    return append_change(3::smallint, '', act);
end $$;

-- Seals keys again, with the MACs of their rows: all of them, or none. `key_opened` and `mac_opened` are the sealed
-- forms in which each key was opened. Returns the revision of the change; null, and nothing is written: the keys have
-- changed since.
create function reseal_keys(
    key_ids text[], key_opened bytea[], key_sealed bytea[], key_row_macs bytea[], mac_ids bytea[], mac_opened bytea[],
    mac_sealed bytea[], mac_row_macs bytea[], act jsonb) returns bigint
language plpgsql as $$
begin
    lock table only signing_key, only mac_key, only change, only audit_event in row exclusive mode;
    perform 1 from log_head for update;
    if exists (select from signing_key k
                 full join unnest(key_ids, key_opened) i(key_id, opened) on i.key_id = k.key_id
                where k.sealed is distinct from i.opened)
       or exists (select from mac_key k
                    full join unnest(mac_ids, mac_opened) i(mac_key_id, opened) on i.mac_key_id = k.mac_key_id
                   where k.sealed is distinct from i.opened) then
        return null;
    end if;
    update signing_key k set sealed = i.sealed, row_mac = i.row_mac
      from unnest(key_ids, key_sealed, key_row_macs) i(key_id, sealed, row_mac) where k.key_id = i.key_id;
    update mac_key k set sealed = i.sealed, row_mac = i.row_mac
      from unnest(mac_ids, mac_sealed, mac_row_macs) i(mac_key_id, sealed, row_mac)
     where k.mac_key_id = i.mac_key_id;
    return append_change(3::smallint, '', act);
end $$;
