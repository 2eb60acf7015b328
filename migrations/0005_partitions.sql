-- Partitions, made ahead and dropped when no row of them can matter (docs/internals/protocol.md, "What is purged, and
-- when"). Both functions run as their owner, because the server's own role need not own the tables. Both wait at most
-- 50 ms for a lock, so that they never queue before an append; the caller tries again later.
-- Locks: the table and its partition, the head.

-- Makes the partition of `parent` that begins at `start_s`, seconds since the epoch, unless it exists. Returns whether
-- it was made; another replica may make it at the same time. The partition is as long as every partition of its table.
-- Its name is the table's, `_` and `start_s`. The log records that the partition is jeton's.
create function make_partition(parent text, start_s bigint) returns boolean
language plpgsql security definer set lock_timeout = '50ms' as $$
declare
    child text := parent || '_' || start_s;
    -- In seconds.
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
    -- Outside that block: a block that handles exceptions writes as a subtransaction, which is not `written_by`.
    if parent <> 'audit_event' then
        perform watch_rows(child);
        perform log_changes_parts(null, to_regclass(child));
    end if;
    return true;
end $$;

-- Drops one partition, if it exists. Returns whether it existed. The log records that jeton dropped it.
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

-- Functions that run as their owner look names up only where the tables are, and not everybody may call them.
do $$
declare
    as_owner text;
begin
    foreach as_owner in array array['make_partition(text, bigint)', 'drop_partition(text)'] loop
        execute format('alter function %s set search_path = %I, pg_temp', as_owner, current_schema());
        execute format('revoke execute on function %s from public', as_owner);
    end loop;
end $$;
