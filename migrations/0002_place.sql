-- The identity of the log: the functions and triggers that tell whether the log is where it was written, and unchanged.
-- If it is not, nothing is acknowledged until a new epoch has begun (docs/internals/protocol.md, "Epochs"; rule K9 of
-- docs/internals/behaviour.md). The last statement inserts the row of `log_head`.
--
-- The timeline and the system identifier reveal a promotion and another cluster. A dump that is restored into the same
-- cluster, and a copied database, keep both. They differ in object ids, which no dump contains and no two databases
-- share; `alter database … rename` changes no object id. Rows that are restored into present tables bring a row of
-- `log_head` that another transaction wrote than `written_by` says.

-- Returns the object ids of the database, and of the tables of rights and replicas: a table that was restored alone has
-- another id. It only reads.
create function log_place() returns text
language plpgsql stable as $$
begin
    return concat_ws(' ', (select oid from pg_database where datname = current_database()),
                     'log_head'::regclass::oid, 'revocation'::regclass::oid, 'mark'::regclass::oid,
                     'change'::regclass::oid, 'session'::regclass::oid, 'policy'::regclass::oid,
                     'removed_policy'::regclass::oid, 'lock'::regclass::oid,
                     'client'::regclass::oid, 'api_key'::regclass::oid, 'client_certificate'::regclass::oid,
                     'signing_key'::regclass::oid, 'mac_key'::regclass::oid, 'replica'::regclass::oid,
                     'trusted_issuer'::regclass::oid);
end $$;

-- Returns the object ids of the partitions of `revocation` and `session` as one number: without `but_for`, and with
-- `more`. They are not part of the place, because an append would compare a state from before it had the head's lock.
-- It only reads.
create function log_parts(but_for oid, more oid) returns bigint
language plpgsql stable as $$
begin
    return (select hashtextextended(string_agg(part::text, ' ' order by part), 0)
              from (select inhrelid from pg_inherits
                     where inhparent in ('revocation'::regclass, 'session'::regclass)
                       and inhrelid is distinct from but_for
                    union
                    select more where more is not null) parts(part));
end $$;

-- Returns whether `head` was written by jeton, in this cluster, on this timeline, and in these tables. `writer` is the
-- transaction that wrote the row according to Postgres (`xmin`). Every append, renewal and read of the log calls it in
-- its own statement. It only reads.
create function log_is_here(head log_head, writer xid) returns boolean
language plpgsql stable as $$
begin
    return head.written_by::xid = writer
       and head.timeline = left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)
       and head.system_identifier = (select system_identifier from pg_control_system())
       and head.place = log_place();
end $$;

-- Notices partitions that somebody else has made, dropped or restored: the log is no longer as it was written. Returns
-- nothing. It locks the head, but only if the partitions differ. Replicas call it from time to time.
create function notice_parts() returns void
language plpgsql as $$
begin
    if (select parts = log_parts(null, null) or not log_is_here(log_head, xmin) from log_head) then
        return;
    end if;
    perform 1 from log_head for update;
    update log_head set place = '' where parts <> log_parts(null, null) and log_is_here(log_head, xmin);
end $$;

-- Records that jeton made the partition `made`, or dropped the partition `gone`. Differences that somebody else caused
-- are noticed first. Returns nothing. It locks the head; the caller holds the locks of the tables.
create function log_changes_parts(gone oid, made oid) returns void
language plpgsql as $$
begin
    perform 1 from log_head for update;
    update log_head set place = '' where parts <> log_parts(made, gone);
    update log_head set parts = log_parts(null, null), written_by = pg_current_xact_id()
     where log_is_here(log_head, xmin);
end $$;

-- Records that rows were removed which jeton never removes: the log is no longer as it was written. jeton deletes no
-- rows of `revocation`, but drops whole partitions; it empties no table. The statement that fires this trigger holds
-- the lock of its table; the function locks the head. It runs as its owner, so that it works for whoever removed the
-- rows.
create function log_leaves_place() returns trigger
language plpgsql security definer as $$
begin
    update log_head set place = '';
    return null;
end $$;

-- A function that runs as its owner looks names up only where the tables are, and not everybody may call it.
do $$
begin
    execute format('alter function log_leaves_place() set search_path = %I, pg_temp', current_schema());
    revoke execute on function log_leaves_place() from public;
end $$;

-- Lets a table notice when rows are removed: of revocations any rows, of other tables all rows at once. Returns
-- nothing. `create trigger` locks the table.
create function watch_rows(watched text) returns void
language plpgsql as $$
begin
    execute format('create trigger log_leaves_place after %s on %I for each statement execute function log_leaves_place()',
                   case when watched ~ '^revocation' then 'delete or truncate' else 'truncate' end, watched);
end $$;

select watch_rows(watched)
  from unnest(array['revocation', 'revocation_default', 'session', 'session_default', 'mark', 'lock', 'change',
                    'policy', 'removed_policy', 'client', 'api_key', 'client_certificate', 'trusted_issuer', 'signing_key', 'mac_key',
                    'replica']) watched;

-- Begins the log. These columns are true of this transaction alone: a migration that updates the row later must set
-- `written_by`, too, or the log counts as written by somebody else.
insert into log_head (epoch, seq, timeline, system_identifier, place, parts, written_by, epoch_time, settled_epoch)
select 1, 0, left(pg_walfile_name(pg_current_wal_insert_lsn()), 8), system_identifier, log_place(),
       log_parts(null, null), pg_current_xact_id(), now(), 1
  from pg_control_system();
