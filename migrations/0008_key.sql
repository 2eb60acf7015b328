-- The life of keys: pending (published, verifies, does not sign) → active → retired (verifies) → gone; or revoked at
-- once. The switch from one key to the next is an entry of the log, which every replica follows; only the database's
-- clock decides whether a key is due.

-- The time since when it signs; null: pending. `activate_time` is when it is due.
alter table signing_key add column signing_time timestamptz;
update signing_key set signing_time = activate_time;
-- The log's revision of its publication: it may sign once every replica has applied that.
alter table signing_key add column publish_revision bigint not null default 0;
drop index signing_key_one_active;
create unique index signing_key_one_active on signing_key (algorithm)
    where signing_time is not null and retire_time is null and revoke_time is null;
create unique index signing_key_one_pending on signing_key (algorithm)
    where signing_time is null and revoke_time is null;

-- The same: the time since when it opens sessions. A retired key is removed at `expire_time`: no session that it opened
-- can be live.
alter table mac_key add column activate_time timestamptz;
update mac_key set activate_time = create_time;
alter table mac_key alter column activate_time set not null;
alter table mac_key add column signing_time timestamptz;
update mac_key set signing_time = create_time;
alter table mac_key add column expire_time timestamptz;
alter table mac_key add column publish_revision bigint not null default 0;
drop index mac_key_one_active;
create unique index mac_key_one_active on mac_key ((true)) where signing_time is not null and retire_time is null;
create unique index mac_key_one_pending on mac_key ((true)) where signing_time is null;

-- Publishes a signing key that is due after `lead`. Null, and nothing is written: one of its algorithm is pending
-- already; or, if `older_than` is given, the active one has signed for less. Keys among `refused`, whose rows jeton did
-- not write as they are, count as absent; a pending one is removed: it has signed nothing, and would block the next one.
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

-- The key that a pending one will replace: the active one of its algorithm.
create function replaced_by_signing_key(p_key_id text) returns text
language sql stable as $$
    select a.key_id from signing_key a join signing_key p on p.algorithm = a.algorithm and p.key_id = p_key_id
     where a.signing_time is not null and a.retire_time is null and a.revoke_time is null and a.key_id <> p_key_id
$$;

-- Activates a pending key; its predecessor only verifies, for `verify_for`. Null, and nothing is written: it is not
-- pending; or, if `only_due`, its time has not come while another one signs. 0, and nothing is written: its predecessor
-- is not `expected`, as `act` says.
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

-- Adds a key that only verifies, for `verify_for`.
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

-- Publishes a MAC key that is due after `lead`; null as for signing keys. A pending one among `refused` is removed: it
-- has opened no session, and would block the next one.
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

-- The MAC key that opens sessions.
create function active_mac_key() returns bytea
language sql stable as $$
    select mac_key_id from mac_key where signing_time is not null and retire_time is null
$$;

-- Activates a pending MAC key that is due; its predecessor keeps its sessions for `verify_for`. Null and 0 as for
-- signing keys.
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

-- The MAC keys whose last session has ended.
create function ended_mac_keys() returns bytea[]
language sql stable as $$
    select coalesce(array_agg(mac_key_id order by mac_key_id), '{}') from mac_key where expire_time < clock_timestamp()
$$;

-- Removes these MAC keys. Null, and nothing is written: they are not those whose last session has ended.
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

-- Removes MAC keys that had been removed before, as a replica carries that over: no session that they opened continues.
-- Null, and nothing is written: none of them exists.
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

-- Reseals keys, with the MACs of their rows: all of them, or none. `opened` is the sealed form in which each was
-- opened. Null, and nothing is written: the keys have changed since.
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

-- Values that jeton cannot read are refused where they are written, whoever writes them: one such row would keep every
-- server from reading its table, where a row with a wrong MAC counts as absent.
alter table client
    add check (revision between 0 and 9007199254740991),
    add check (create_time between '0001-01-01T00:00:00Z' and '9999-01-01T00:00:00Z'),
    add check (coalesce(array_ndims(certificate_uris), 1) = 1 and array_position(certificate_uris, null) is null),
    add check (coalesce(array_ndims(permissions), 1) = 1 and array_position(permissions, null) is null),
    add check (coalesce(array_ndims(audiences), 1) = 1 and array_position(audiences, null) is null),
    add check (coalesce(array_ndims(subjects), 1) = 1 and array_position(subjects, null) is null);
alter table api_key
    add check (create_time between '0001-01-01T00:00:00Z' and '9999-01-01T00:00:00Z'),
    add check (expire_time between '0001-01-01T00:00:00Z' and '9999-01-01T00:00:00Z'),
    add check (last_use_time between '0001-01-01T00:00:00Z' and '9999-01-01T00:00:00Z');
do $$
begin
    for place in 1 .. 2 loop
        execute format('alter table %I add check (publish_revision between 0 and 9007199254740991)',
                       (array['signing_key', 'mac_key'])[place]);
        for column_place in 1 .. 5 loop
            execute format('alter table %I add check (%I between %L and %L)',
                           (array['signing_key', 'mac_key'])[place],
                           (array['create_time', 'activate_time', 'signing_time', 'retire_time', 'expire_time'])[column_place],
                           '0001-01-01T00:00:00Z', '9999-01-01T00:00:00Z');
        end loop;
    end loop;
end $$;
alter table signing_key add check (revoke_time between '0001-01-01T00:00:00Z' and '9999-01-01T00:00:00Z');
