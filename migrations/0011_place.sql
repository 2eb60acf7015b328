-- Whether the log is where it was written, and unchanged. The timeline and the system identifier reveal a promotion and
-- another cluster. A dump that is restored into the same cluster, and a copied database, keep both: they differ in
-- object ids, which no dump contains and no two databases share. `alter database … rename` changes none of it. Rows
-- that are restored into present tables bring a head of their own, written by another transaction than it says.

-- The database, and the tables of rights and replicas: a table that was restored alone has another id.
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

-- The same for the partitions, as one number: without `but_for`, and with `more`. Not part of the place, because an
-- append would compare a state from before it had the head's lock.
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

-- `writer`: the transaction that wrote the head's row, according to Postgres (`xmin`).
create function log_is_here(head log_head, writer xid) returns boolean
language plpgsql stable as $$
begin
    return head.written_by::xid = writer
       and head.timeline = left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)
       and head.system_identifier = (select system_identifier from pg_control_system())
       and head.place = log_place();
end $$;

-- Records that somebody else has made, dropped or restored partitions: the log is not as it was. Cheap if there are
-- none.
create function notice_parts() returns void
language plpgsql as $$
begin
    if (select parts = log_parts(null, null) or not log_is_here(log_head, xmin) from log_head) then
        return;
    end if;
    perform 1 from log_head for update;
    update log_head set place = '' where parts <> log_parts(null, null) and log_is_here(log_head, xmin);
end $$;

-- Called after jeton made or dropped a partition: `gone` or `made`. Others are noticed first.
create function log_changes_parts(gone oid, made oid) returns void
language plpgsql as $$
begin
    perform 1 from log_head for update;
    update log_head set place = '' where parts <> log_parts(made, gone);
    update log_head set parts = log_parts(null, null), written_by = pg_current_xact_id()
     where log_is_here(log_head, xmin);
end $$;

-- jeton deletes no rows of revocations, but drops whole partitions; it empties no table.
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

-- Notices if rows are removed from this table: of revocations any rows, of others all of them at once.
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
