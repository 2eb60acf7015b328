-- Clients as people manage them: created, changed and removed through the log; their API keys; and the limit of a
-- client's revocations by bare ids.

-- To the minute, and written later: no decision depends on it, so it is no change in the log.
alter table api_key add column last_use_time timestamptz;

-- A certificate authenticates one client. Kept by a trigger, so that the constraint holds for every writer of `client`.
create table client_certificate (
    uri       text primary key,
    client_id text not null references client on delete cascade
);
create index client_certificate_client on client_certificate (client_id);

create function keep_client_certificates() returns trigger
language plpgsql as $$
begin
    delete from client_certificate where client_id = new.client_id;
    -- What no client's row says was not written here: it is in nobody's way.
    delete from client_certificate k where k.uri = any(new.certificate_uris)
       and not exists (select from client c where c.client_id = k.client_id and k.uri = any(c.certificate_uris));
    insert into client_certificate (uri, client_id) select uri, new.client_id from unnest(new.certificate_uris) uri;
    return null;
end $$;
create trigger keep_client_certificates after insert or update of certificate_uris on client
    for each row execute function keep_client_certificates();

-- Rows that are restored repeat what restored clients have already brought.
create function skip_kept_certificate() returns trigger
language plpgsql as $$
begin
    if exists (select from client_certificate c where c.uri = new.uri and c.client_id = new.client_id) then
        return null;
    end if;
    return new;
end $$;
create trigger skip_kept_certificate before insert on client_certificate
    for each row execute function skip_kept_certificate();

-- A restore has no search path.
do $$
declare
    trigger_function text;
begin
    foreach trigger_function in array array['keep_client_certificates()', 'skip_kept_certificate()'] loop
        execute format('alter function %s set search_path = %I, pg_temp', trigger_function, current_schema());
    end loop;
end $$;
insert into client_certificate (uri, client_id) select unnest(certificate_uris), client_id from client;

-- Administrators: clients that are not disabled, have PERMISSION_ADMIN_WRITE (7), and a credential. Only those whose
-- rows and API keys the caller has found good.
create function administrators(good_clients text[], good_keys text[]) returns setof text
language sql stable as $$
    select client_id from client c
     where 7 = any(c.permissions) and not c.disabled and c.client_id = any(good_clients)
       and (cardinality(c.certificate_uris) > 0
            or exists (select from api_key k where k.client_id = c.client_id and k.api_key_id = any(good_keys)
                          and (k.expire_time is null or k.expire_time > clock_timestamp())))
$$;

-- Returns whether this client can administer, and no other can. Called under the head's lock: of two changes that would
-- each leave only the other's administrator, the later one sees that it is the last.
create function is_last_administrator(p_client_id text, good_clients text[], good_keys text[]) returns boolean
language sql stable as $$
    select exists (select from administrators(good_clients, good_keys) a where a = p_client_id)
       and not exists (select from administrators(good_clients, good_keys) a where a <> p_client_id)
$$;

-- The first of these certificates that belongs to another client: one that is not among `refused`, whose rows jeton did
-- not write as they are, and whose row says so.
create function taken_certificate(p_client_id text, p_certificate_uris text[], refused text[]) returns text
language sql stable as $$
    select k.uri from client_certificate k join client c on c.client_id = k.client_id and k.uri = any(c.certificate_uris)
     where k.uri = any(p_certificate_uris) and k.client_id <> p_client_id and k.client_id <> all(refused)
     order by k.uri limit 1
$$;

-- Registers a client. outcome: WRITTEN; or, and nothing is written, CLIENT_TAKEN, CERTIFICATE_TAKEN (`taken_uri`).
create function create_client(
    p_client_id text, p_display_name text, p_certificate_uris text[], p_permissions smallint[], p_audiences text[],
    p_subjects text[], p_disabled boolean, p_version bigint, p_row_mac bytea, refused text[], act jsonb,
    out outcome text, out taken_uri text, out new_revision bigint, out new_create_time timestamptz)
language plpgsql as $$
begin
    lock table only client, only client_certificate, only change, only audit_event in row exclusive mode;
    perform 1 from log_head for update;
    if exists (select from client where client_id = p_client_id) then
        outcome := 'CLIENT_TAKEN';
        return;
    end if;
    taken_uri := taken_certificate(p_client_id, p_certificate_uris, refused);
    if taken_uri is not null then
        outcome := 'CERTIFICATE_TAKEN';
        return;
    end if;
    new_revision := append_change(2::smallint, p_client_id, act);
    new_create_time := clock_timestamp();
    delete from client_certificate where uri = any(p_certificate_uris) and client_id = any(refused);
    insert into client (client_id, revision, display_name, certificate_uris, permissions, audiences, subjects, disabled,
                        create_time, version, row_mac)
    values (p_client_id, new_revision, p_display_name, p_certificate_uris, p_permissions, p_audiences, p_subjects, p_disabled,
            new_create_time, p_version, p_row_mac);
    outcome := 'WRITTEN';
end $$;

-- Changes a client if it is still at `expected`. outcome: WRITTEN; or, and nothing is written, STALE, CERTIFICATE_TAKEN
-- (`taken_uri`), LAST_ADMINISTRATOR: no administrator would be left.
create function update_client(
    expected bigint, p_client_id text, p_display_name text, p_certificate_uris text[], p_permissions smallint[],
    p_audiences text[], p_subjects text[], p_disabled boolean, p_version bigint, p_row_mac bytea, refused text[],
    good_clients text[], good_keys text[], act jsonb, out outcome text, out taken_uri text, out new_revision bigint)
language plpgsql as $$
declare can_administer boolean;
begin
    lock table only client, only client_certificate, only change, only audit_event in row exclusive mode;
    perform 1 from log_head for update;
    if not exists (select from client where client_id = p_client_id and revision = expected) then
        outcome := 'STALE';
        return;
    end if;
    taken_uri := taken_certificate(p_client_id, p_certificate_uris, refused);
    if taken_uri is not null then
        outcome := 'CERTIFICATE_TAKEN';
        return;
    end if;
    can_administer := 7 = any(p_permissions) and not p_disabled
        and (cardinality(p_certificate_uris) > 0
             or exists (select from api_key where client_id = p_client_id and api_key_id = any(good_keys)
                           and (expire_time is null or expire_time > clock_timestamp())));
    if not can_administer and is_last_administrator(p_client_id, good_clients, good_keys) then
        outcome := 'LAST_ADMINISTRATOR';
        return;
    end if;
    new_revision := append_change(2::smallint, p_client_id, act);
    delete from client_certificate where uri = any(p_certificate_uris) and client_id = any(refused);
    update client set revision = new_revision, display_name = p_display_name, certificate_uris = p_certificate_uris,
                      permissions = p_permissions, audiences = p_audiences, subjects = p_subjects, disabled = p_disabled,
                      version = p_version, row_mac = p_row_mac
     where client_id = p_client_id;
    outcome := 'WRITTEN';
end $$;

-- Removes a client with its keys if it is still at `expected`, and marks all its tokens as revoked, at the head and
-- until `mark_expire_s`. outcome: WRITTEN; or, and nothing is written, STALE, LAST_ADMINISTRATOR.
create function delete_client(
    expected bigint, p_client_id text, mark_reason smallint, mark_expire_s bigint, good_clients text[], good_keys text[],
    act jsonb,
    out outcome text, out new_revision bigint)
language plpgsql as $$
begin
    lock table only client, only client_certificate, only api_key, only mark, only change, only audit_event
        in row exclusive mode;
    perform 1 from mark where kind = 4 and target = p_client_id and audience = '' for update;
    perform 1 from log_head for update;
    if not exists (select from client where client_id = p_client_id and revision = expected) then
        outcome := 'STALE';
        return;
    end if;
    if is_last_administrator(p_client_id, good_clients, good_keys) then
        outcome := 'LAST_ADMINISTRATOR';
        return;
    end if;
    new_revision := append_change(2::smallint, p_client_id, act);
    insert into mark (kind, target, audience, revision, position, cutoff_s, reason, expire_time)
    values (4, p_client_id, '', new_revision, new_revision, 0, mark_reason, to_timestamp(mark_expire_s))
    on conflict (kind, target, audience) do update
       set revision = excluded.revision, position = greatest(mark.position, excluded.position), reason = excluded.reason,
           expire_time = greatest(mark.expire_time, excluded.expire_time), revoke_time = excluded.revoke_time;
    -- In the order in which uses of keys are written.
    perform 1 from api_key where client_id = p_client_id order by api_key_id for update;
    delete from client where client_id = p_client_id;
    outcome := 'WRITTEN';
end $$;

-- Adds an API key to a client that has fewer than `most`, without those among `refused`, which count as absent. outcome: WRITTEN; or, and nothing is written, CLIENT_ABSENT,
-- TOO_MANY.
create function create_api_key(
    p_client_id text, p_api_key_id text, p_secret_hash bytea, p_expire_s bigint, p_row_mac bytea, most bigint,
    refused text[], act jsonb, out outcome text, out new_revision bigint, out new_create_time timestamptz)
language plpgsql as $$
begin
    lock table only client, only api_key, only change, only audit_event in row exclusive mode;
    perform 1 from log_head for update;
    if not exists (select from client where client_id = p_client_id) then
        outcome := 'CLIENT_ABSENT';
        return;
    end if;
    if (select count(*) from api_key where client_id = p_client_id and api_key_id <> all(refused)) >= most then
        outcome := 'TOO_MANY';
        return;
    end if;
    new_revision := append_change(2::smallint, p_client_id, act);
    new_create_time := clock_timestamp();
    insert into api_key (api_key_id, client_id, secret_hash, create_time, expire_time, row_mac)
    values (p_api_key_id, p_client_id, p_secret_hash, new_create_time, to_timestamp(p_expire_s), p_row_mac);
    -- Its credentials are part of a client: a comparison of two states must show that one is newer.
    update client set revision = new_revision where client_id = p_client_id;
    outcome := 'WRITTEN';
end $$;

-- Removes an API key. outcome: WRITTEN; or, and nothing is written, KEY_ABSENT, LAST_ADMINISTRATOR: no administrator
-- would be left.
create function delete_api_key(
    p_client_id text, p_api_key_id text, good_clients text[], good_keys text[], act jsonb,
    out outcome text, out new_revision bigint)
language plpgsql as $$
begin
    lock table only client, only api_key, only change, only audit_event in row exclusive mode;
    perform 1 from log_head for update;
    if not exists (select from api_key where client_id = p_client_id and api_key_id = p_api_key_id) then
        outcome := 'KEY_ABSENT';
        return;
    end if;
    if is_last_administrator(p_client_id, good_clients, good_keys)
       and not exists (select from client where client_id = p_client_id and cardinality(certificate_uris) > 0)
       and not exists (select from api_key where client_id = p_client_id and api_key_id <> p_api_key_id
                          and api_key_id = any(good_keys) and (expire_time is null or expire_time > clock_timestamp())) then
        outcome := 'LAST_ADMINISTRATOR';
        return;
    end if;
    new_revision := append_change(2::smallint, p_client_id, act);
    update client set revision = new_revision where client_id = p_client_id;
    delete from api_key where api_key_id = p_api_key_id;
    outcome := 'WRITTEN';
end $$;

-- Writes the last uses of API keys, in minutes since the epoch: the latest that any replica knows. Rows are locked in
-- one order, because all replicas write them.
create function note_api_key_uses(api_key_ids text[], minutes bigint[]) returns void
language plpgsql as $$
begin
    -- Before any row of it: a holder of the whole table's lock needs those next.
    lock table only api_key in row exclusive mode;
    perform 1 from api_key where api_key_id = any(api_key_ids) order by api_key_id for no key update;
    update api_key k set last_use_time = to_timestamp(u.minute * 60)
      from unnest(api_key_ids, minutes) u(id, minute)
     where k.api_key_id = u.id and (k.last_use_time is null or k.last_use_time < to_timestamp(u.minute * 60));
end $$;

-- Registers a client, or brings its registration to this state, and adds an API key. `only_first`: null, and nothing is
-- written, if a client can administer already, or there is one of this name: keys that it has must not gain the new
-- rights.
create function put_client(
    p_client_id text, p_display_name text, p_permissions smallint[], p_audiences text[], p_subjects text[],
    p_version bigint, p_row_mac bytea, p_api_key_id text, p_secret_hash bytea, p_key_mac bytea, only_first boolean,
    good_clients text[], good_keys text[], act jsonb) returns bigint
language plpgsql as $$
declare head bigint;
begin
    lock table only client, only api_key, only change, only audit_event in row exclusive mode;
    perform 1 from log_head for update;
    if only_first and (exists (select from client where client_id = p_client_id)
                       or exists (select from administrators(good_clients, good_keys))) then
        return null;
    end if;
    head := append_change(2::smallint, p_client_id, act);
    insert into client (client_id, revision, display_name, permissions, audiences, subjects, create_time, version, row_mac)
    values (p_client_id, head, p_display_name, p_permissions, p_audiences, p_subjects, clock_timestamp(), p_version,
            p_row_mac)
    on conflict (client_id) do update set
        revision = excluded.revision, display_name = excluded.display_name, certificate_uris = '{}',
        permissions = excluded.permissions, audiences = excluded.audiences, subjects = excluded.subjects,
        disabled = false, version = excluded.version, row_mac = excluded.row_mac;
    insert into api_key (api_key_id, client_id, secret_hash, create_time, row_mac)
    values (p_api_key_id, p_client_id, p_secret_hash, clock_timestamp(), p_key_mac)
    on conflict (api_key_id) do update set
        client_id = excluded.client_id, secret_hash = excluded.secret_hash, expire_time = null,
        row_mac = excluded.row_mac;
    return head;
end $$;

-- The number of a client's live revocations by bare jti, by the hour (since the epoch) at whose end they are forgotten
-- at the latest.
create table bare_revocations (
    client_id   text   not null,
    expire_hour bigint not null,
    held        bigint not null,
    primary key (client_id, expire_hour)
) with (fillfactor = 50);
