-- The replicas that may answer from memory, and the revisions that they have applied.

-- One row per registration: a replica that registers again has a new id. Renewed once a second, and logged: if a crash
-- lost a row, nobody would wait for its lease.
create table replica (
    id         uuid        primary key,
    name       text        not null,
    version    text        not null,
    -- The address at which others reach its public listener; empty if it knows none.
    address    text        not null,
    -- The settings that all replicas should share: the issuer, the fingerprint of the master key, the period of key
    -- rotation and the time of publication before a key signs, seconds.
    issuer          text   not null default '',
    master_key      text   not null default '',
    rotate_every_s  bigint not null default 0,
    publish_ahead_s bigint not null default 0,
    -- The epoch that it follows: its renewals tell nothing about another one.
    epoch      bigint      not null,
    -- Counts the renewals. A replica that has seen it stand still for long enough may remove the row.
    beat       bigint      not null,
    -- For display only: no decision depends on them. The offset is this database's clock minus the replica's, as the
    -- replica measured it.
    beat_time       timestamptz not null,
    start_time      timestamptz not null,
    clock_offset_ms bigint      not null default 0
) with (fillfactor = 50);

-- The revision that each registration has applied. In a table of its own, so that an acknowledgement never queues
-- behind a renewal; written without waiting for the disk, because a lost one only understates.
create table replica_ack (
    id       uuid   primary key,
    revision bigint not null
) with (fillfactor = 50);

-- The number of replicas: for each ten minutes, the least. So a replica that comes before another leaves is not counted
-- beside it.
create table fleet_size (
    slot     bigint  primary key,
    replicas integer not null
);

-- Acknowledges the revision that a registration has applied. Its commit waits for neither disk nor standby: a lost one
-- only understates.
create function acknowledge(replica_id uuid, applied bigint) returns void
language plpgsql as $$
begin
    perform set_config('synchronous_commit', 'off', true);
    update replica_ack set revision = applied where id = replica_id and revision < applied;
end $$;

-- Makes one partition unless it exists. Waits at most 50 ms for its lock, so that it never queues before an append; the
-- caller tries again later. Another replica may make it at the same time. Runs as its owner, because the server's own
-- role need not own the tables. Its name tells its range: it begins at `start_s`, seconds since the epoch, and is as
-- long as every partition of its table.
create function make_partition(parent text, start_s bigint) returns boolean
language plpgsql security definer set lock_timeout = '50ms' as $$
declare
    child text := parent || '_' || start_s;
    -- Seconds.
    length bigint := case parent when 'revocation' then 43200 when 'session' then 604800 when 'audit_event' then 2592000 end;
    options text := '';
    bounds text[];
    bound_s bigint;
    digits text;
begin
    if length is null or start_s < 0 or start_s % length <> 0 then
        raise exception 'no partition of % begins at %', parent, start_s using errcode = 'invalid_parameter_value';
    end if;
    if to_regclass(child) is not null then
        return false;
    end if;
    foreach bound_s in array array[start_s, start_s + length] loop
        if parent = 'revocation' then
            bounds := bounds || (to_char(to_timestamp(bound_s) at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') || '+00');
        else
            -- The least UUIDv7 of that time.
            digits := lpad(to_hex(bound_s * 1000), 12, '0');
            bounds := bounds || (substr(digits, 1, 8) || '-' || substr(digits, 9) || '-0000-0000-000000000000');
        end if;
    end loop;
    if parent = 'session' then
        -- Room on each page, so that a refresh fits beside the row's old version.
        options := 'with (fillfactor = 80)';
    end if;
    begin
        execute format('create table %I partition of %I for values from (%L) to (%L) %s',
                       child, parent, bounds[1], bounds[2], options);
    exception when duplicate_table then
        return false;
    end;
    -- Not in that block, because its writes would have the id of another transaction.
    if parent <> 'audit_event' then
        perform watch_rows(child);
        perform log_changes_parts(null, to_regclass(child));
    end if;
    return true;
end $$;

-- Functions that run as the owner look names up only where the tables are, and not everybody may call them.
do $$
declare
    as_owner text;
begin
    foreach as_owner in array array['make_partition(text, bigint)', 'drop_partition(text)'] loop
        execute format('alter function %s set search_path = %I, pg_temp', as_owner, current_schema());
        execute format('revoke execute on function %s from public', as_owner);
    end loop;
end $$;
