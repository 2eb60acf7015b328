-- Whether the log is where it was written, and as it was. The timeline and the system identifier tell a promotion and
-- another cluster. A dump that is restored into the same cluster, and a copied database, keep both: object ids tell those,
-- which no dump carries and no two databases share. `alter database … rename` changes none of it. Rows that are restored
-- into tables that stay bring their own head, which another transaction has written than it says.

-- The database, and the tables that say who may do what and who answers: a table that was restored by itself has another id.
create function log_place() returns text
language plpgsql stable as $$
begin
    return concat_ws(' ', (select oid from pg_database where datname = current_database()),
                     'log_head'::regclass::oid, 'revocation'::regclass::oid, 'mark'::regclass::oid,
                     'change'::regclass::oid, 'session'::regclass::oid, 'policy'::regclass::oid,
                     'removed_policy'::regclass::oid,
                     'client'::regclass::oid, 'api_key'::regclass::oid, 'client_certificate'::regclass::oid,
                     'signing_key'::regclass::oid, 'mac_key'::regclass::oid, 'replica'::regclass::oid);
end $$;

-- Likewise the partitions, in one number. `but_for` one, and with one `more`. Not part of the place, since an append would
-- compare what it saw before it had the head's lock.
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

-- `writer`: the transaction that wrote the head's row, as Postgres says (`xmin`).
create function log_is_here(head log_head, writer xid) returns boolean
language plpgsql stable as $$
begin
    return head.written_by::xid = writer
       and head.timeline = left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)
       and head.system_identifier = (select system_identifier from pg_control_system())
       and head.place = log_place();
end $$;

-- Partitions that somebody else has made, dropped or restored: the log is not as it was. Cheap where there are none.
create function notice_parts() returns void
language plpgsql as $$
begin
    if (select parts = log_parts(null, null) or not log_is_here(log_head, xmin) from log_head) then
        return;
    end if;
    perform 1 from log_head for update;
    update log_head set place = '' where parts <> log_parts(null, null) and log_is_here(log_head, xmin);
end $$;

-- After a partition was made or dropped here: `gone` or `made`. Others are noticed first.
create function log_changes_parts(gone oid, made oid) returns void
language plpgsql as $$
begin
    perform 1 from log_head for update;
    update log_head set place = '' where parts <> log_parts(made, gone);
    update log_head set parts = log_parts(null, null), written_by = pg_current_xact_id()
     where log_is_here(log_head, xmin);
end $$;

-- Of revocations jeton deletes no row, but drops whole partitions; it empties no table.
create function log_leaves_place() returns trigger
language plpgsql security definer as $$
begin
    update log_head set place = '';
    return null;
end $$;
do $$
begin
    execute format('alter function log_leaves_place() set search_path = %I, pg_temp', current_schema());
    revoke execute on function log_leaves_place() from public;
end $$;

-- Has it noticed when rows go from this table: of revocations any, of others all of them at once.
create function watch_rows(watched text) returns void
language plpgsql as $$
begin
    execute format('create trigger log_leaves_place after %s on %I for each statement execute function log_leaves_place()',
                   case when watched ~ '^revocation' then 'delete or truncate' else 'truncate' end, watched);
end $$;
select watch_rows(watched)
  from unnest(array['revocation', 'revocation_default', 'session', 'session_default', 'mark', 'change', 'policy',
                    'removed_policy', 'client', 'api_key', 'client_certificate', 'signing_key', 'mac_key', 'replica']) watched;

update log_head set place = log_place(), parts = log_parts(null, null), written_by = pg_current_xact_id();
