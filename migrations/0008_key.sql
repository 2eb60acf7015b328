-- The life of keys: pending (published, verifies, does not sign) → active → retired (verifies) → gone; or
-- revoked at once. The switch from one key to the next is an entry of the log, which every replica follows;
-- whether a key is due is judged by the database's clock alone.

-- Since when it has signed; null: pending. `activate_time` is when it is due.
alter table signing_key add column signing_time timestamptz;
update signing_key set signing_time = activate_time;
-- The log's revision of its publication: it may sign once every replica has applied that.
alter table signing_key add column publish_revision bigint not null default 0;
drop index signing_key_one_active;
create unique index signing_key_one_active on signing_key (algorithm)
    where signing_time is not null and retire_time is null and revoke_time is null;
create unique index signing_key_one_pending on signing_key (algorithm)
    where signing_time is null and revoke_time is null;

-- Likewise: since when it opens sessions. A retired one is removed at `expire_time`: no session that it opened
-- can live.
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

drop function put_signing_key;
drop function put_mac_key;

-- Publishes a signing key that is due after `lead`. Null, and nothing written: one of its algorithm is pending
-- already; or, where `older_than` is given, the active one has signed for less.
create function publish_signing_key(
    p_key_id text, p_algorithm text, p_public_jwk text, p_sealed bytea, lead interval, older_than interval,
    audit_id uuid, audit_actor text, audit_action text, audit_trace text) returns bigint
language plpgsql as $$
declare
    head bigint;
    moment timestamptz;
begin
    lock table only signing_key, only change, only audit_event in row exclusive mode;
    perform 1 from log_head for update;
    moment := clock_timestamp();
    if exists (select from signing_key
                where algorithm = p_algorithm and signing_time is null and revoke_time is null)
       or exists (select from signing_key
                   where algorithm = p_algorithm and retire_time is null and revoke_time is null
                     and signing_time > moment - older_than) then
        return null;
    end if;
    head := append_change(3::smallint, p_key_id, audit_id, audit_actor, audit_action, null, p_key_id, audit_trace);
    insert into signing_key (key_id, algorithm, public_jwk, sealed, create_time, activate_time, publish_revision)
    values (p_key_id, p_algorithm, p_public_jwk, p_sealed, moment, moment + lead, head);
    return head;
end $$;

-- From here on a pending key signs, and the one before it only verifies, for `verify_for`. Null, and nothing
-- written: it is not pending; or, where `only_due`, its time has not come while another one signs.
create function activate_signing_key(
    p_key_id text, only_due boolean, verify_for interval, audit_id uuid, audit_actor text, audit_action text,
    audit_trace text) returns bigint
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
    select key_id into replaced from signing_key
     where algorithm = pending.algorithm and signing_time is not null and retire_time is null and revoke_time is null;
    if only_due and replaced is not null and pending.activate_time > moment then
        return null;
    end if;
    head := append_change(3::smallint, p_key_id, audit_id, audit_actor, audit_action, null,
                          p_key_id || coalesce(' replaces ' || replaced, ''), audit_trace);
    update signing_key set retire_time = moment, expire_time = moment + verify_for where key_id = replaced;
    update signing_key set signing_time = moment where key_id = p_key_id;
    return head;
end $$;

-- Adds a key that only verifies, for `verify_for`.
create function put_retired_signing_key(
    p_key_id text, p_algorithm text, p_public_jwk text, p_sealed bytea, verify_for interval,
    audit_id uuid, audit_actor text, audit_action text) returns bigint
language plpgsql as $$
declare
    head bigint;
    moment timestamptz;
begin
    lock table only signing_key, only change, only audit_event in row exclusive mode;
    head := append_change(3::smallint, p_key_id, audit_id, audit_actor, audit_action, null, p_key_id, '');
    moment := clock_timestamp();
    insert into signing_key (key_id, algorithm, public_jwk, sealed, create_time, activate_time, signing_time,
                             retire_time, expire_time, publish_revision)
    values (p_key_id, p_algorithm, p_public_jwk, p_sealed, moment, moment, moment, moment, moment + verify_for, head);
    return head;
end $$;

-- Publishes a MAC key that is due after `lead`; null as for signing keys.
create function publish_mac_key(
    p_mac_key_id bytea, p_sealed bytea, lead interval, older_than interval,
    audit_id uuid, audit_actor text, audit_action text) returns bigint
language plpgsql as $$
declare
    head bigint;
    moment timestamptz;
    name constant text := encode(p_mac_key_id, 'hex');
begin
    lock table only mac_key, only change, only audit_event in row exclusive mode;
    perform 1 from log_head for update;
    moment := clock_timestamp();
    if exists (select from mac_key where signing_time is null)
       or exists (select from mac_key where retire_time is null and signing_time > moment - older_than) then
        return null;
    end if;
    head := append_change(3::smallint, name, audit_id, audit_actor, audit_action, null, name, '');
    insert into mac_key (mac_key_id, sealed, create_time, activate_time, publish_revision)
    values (p_mac_key_id, p_sealed, moment, moment + lead, head);
    return head;
end $$;

-- From here on a pending MAC key opens sessions, once it is due; the one before it keeps its own for
-- `verify_for`. Null as for signing keys.
create function activate_mac_key(
    p_mac_key_id bytea, verify_for interval, audit_id uuid, audit_actor text, audit_action text) returns bigint
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
    select mac_key_id into replaced from mac_key where signing_time is not null and retire_time is null;
    if replaced is not null and due > moment then
        return null;
    end if;
    head := append_change(3::smallint, name, audit_id, audit_actor, audit_action, null,
                          name || coalesce(' replaces ' || encode(replaced, 'hex'), ''), '');
    update mac_key set retire_time = moment, expire_time = moment + verify_for where mac_key_id = replaced;
    update mac_key set signing_time = moment where mac_key_id = p_mac_key_id;
    return head;
end $$;

-- Removes MAC keys whose last session has ended. Null: there is none.
create function remove_mac_keys(audit_id uuid, audit_actor text, audit_action text) returns bigint
language plpgsql as $$
declare names text;
begin
    lock table only mac_key, only change, only audit_event in row exclusive mode;
    perform 1 from log_head for update;
    with gone as (
        delete from mac_key where expire_time < clock_timestamp() returning mac_key_id
    )
    select string_agg(encode(mac_key_id, 'hex'), ' ') into names from gone;
    if names is null then
        return null;
    end if;
    return append_change(3::smallint, '', audit_id, audit_actor, audit_action, null, names, '');
end $$;

-- Seals keys anew: all of them, or none. `opened` is what each was sealed as when it was opened. Null, and
-- nothing written: there are others by now.
create function reseal_keys(
    key_ids text[], key_opened bytea[], key_sealed bytea[], mac_ids bytea[], mac_opened bytea[], mac_sealed bytea[],
    audit_id uuid, audit_actor text, audit_action text, audit_note text) returns bigint
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
    update signing_key k set sealed = i.sealed
      from unnest(key_ids, key_sealed) i(key_id, sealed) where k.key_id = i.key_id;
    update mac_key k set sealed = i.sealed
      from unnest(mac_ids, mac_sealed) i(mac_key_id, sealed) where k.mac_key_id = i.mac_key_id;
    return append_change(3::smallint, '', audit_id, audit_actor, audit_action, null, audit_note, '');
end $$;
