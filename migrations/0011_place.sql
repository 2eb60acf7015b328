-- Whether the log is where it was written. The timeline and the system identifier tell a promotion and another cluster.
-- A dump that is restored into the same cluster, and a copied database, keep both: object ids tell those, which no dump
-- carries and no two databases share. `alter database … rename` changes none of it.

-- The database, and the tables that say who may do what: a table that was restored by itself has another id.
create function log_place() returns text
language plpgsql stable as $$
begin
    return concat_ws(' ', (select oid from pg_database where datname = current_database()),
                     'log_head'::regclass::oid, 'revocation'::regclass::oid, 'mark'::regclass::oid,
                     'change'::regclass::oid, 'session'::regclass::oid, 'policy'::regclass::oid,
                     'removed_policy'::regclass::oid,
                     'client'::regclass::oid, 'api_key'::regclass::oid, 'client_certificate'::regclass::oid,
                     'signing_key'::regclass::oid, 'mac_key'::regclass::oid);
end $$;

create function log_is_here(head log_head) returns boolean
language plpgsql stable as $$
begin
    return head.timeline = left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)
       and head.system_identifier = (select system_identifier from pg_control_system())
       and head.place = log_place();
end $$;

update log_head set place = log_place();

-- Data that is restored into tables that stay keeps their ids. It comes after a truncation, or brings its own head.
create function log_leaves_place() returns trigger
language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        new.place := '';
        return new;
    end if;
    update log_head set place = '';
    return null;
end $$;
create trigger log_leaves_place before insert on log_head for each row execute function log_leaves_place();
create trigger log_leaves_place after truncate on revocation for each statement execute function log_leaves_place();
create trigger log_leaves_place after truncate on mark for each statement execute function log_leaves_place();
create trigger log_leaves_place after truncate on change for each statement execute function log_leaves_place();
create trigger log_leaves_place after truncate on session for each statement execute function log_leaves_place();
create trigger log_leaves_place after truncate on policy for each statement execute function log_leaves_place();
create trigger log_leaves_place after truncate on removed_policy
    for each statement execute function log_leaves_place();
create trigger log_leaves_place after truncate on client for each statement execute function log_leaves_place();
create trigger log_leaves_place after truncate on api_key for each statement execute function log_leaves_place();
create trigger log_leaves_place after truncate on client_certificate
    for each statement execute function log_leaves_place();
create trigger log_leaves_place after truncate on signing_key for each statement execute function log_leaves_place();
create trigger log_leaves_place after truncate on mac_key for each statement execute function log_leaves_place();
