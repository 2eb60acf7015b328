-- Clients, their certificates and their API keys, written through the log. Locks of the functions that write: tables,
-- marks, the head, then API keys in the order of their ids.
--
-- `good_clients` and `good_keys` are the clients and API keys whose rows the caller has checked: a row whose MAC does
-- not fit counts as absent (rule C7 of docs/internals/behaviour.md). `refused` are the clients, or API keys, of such
-- rows.

-- Copies the certificates of a client into `client_certificate`, whose primary key lets each certificate authenticate
-- one client, whoever writes `client`. A row of another client whose own row does not name the certificate was not
-- written by jeton: it is removed.
create function keep_client_certificates() returns trigger
language plpgsql as $$
begin
    delete from client_certificate where client_id = new.client_id;
    -- Removes rows of clients whose own rows do not name the certificate.
    delete from client_certificate k where k.uri = any(new.certificate_uris)
       and not exists (select from client c where c.client_id = k.client_id and k.uri = any(c.certificate_uris));
    insert into client_certificate (uri, client_id) select uri, new.client_id from unnest(new.certificate_uris) uri;
    return null;
end $$;
create trigger keep_client_certificates after insert or update of certificate_uris on client
    for each row execute function keep_client_certificates();

-- Skips a certificate that its client has already. Rows that are restored into `client_certificate` repeat the rows
-- that the restored clients brought.
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

-- Trigger functions look names up where the tables are: a restore has no search path.
do $$
declare
    trigger_function text;
begin
    foreach trigger_function in array array['keep_client_certificates()', 'skip_kept_certificate()'] loop
        execute format('alter function %s set search_path = %I, pg_temp', trigger_function, current_schema());
    end loop;
end $$;

-- Returns the administrators: good clients that are not disabled, have PERMISSION_ADMIN_WRITE (7), and have a
-- certificate or a good API key that has not expired. It only reads.
create function administrators(good_clients text[], good_keys text[]) returns setof text
language sql stable as $$
    select client_id from client c
     where 7 = any(c.permissions) and not c.disabled and c.client_id = any(good_clients)
       and (cardinality(c.certificate_uris) > 0
            or exists (select from api_key k where k.client_id = c.client_id and k.api_key_id = any(good_keys)
                          and (k.expire_time is null or k.expire_time > clock_timestamp())))
$$;

-- Returns whether this client is an administrator and no other client is. The last one cannot be removed or disabled
-- (rule C6 of docs/internals/behaviour.md). Call it under the head's lock: of two changes that would each leave only
-- the other's administrator, the later one then sees that it is about the last one.
create function is_last_administrator(p_client_id text, good_clients text[], good_keys text[]) returns boolean
language sql stable as $$
    select exists (select from administrators(good_clients, good_keys) a where a = p_client_id)
       and not exists (select from administrators(good_clients, good_keys) a where a <> p_client_id)
$$;

-- Returns the first of these certificates that belongs to another client, or null. A certificate belongs to a client if
-- the row of the client names it, and the client is not among `refused`. It only reads.
create function taken_certificate(p_client_id text, p_certificate_uris text[], refused text[]) returns text
language sql stable as $$
    select k.uri from client_certificate k join client c on c.client_id = k.client_id and k.uri = any(c.certificate_uris)
     where k.uri = any(p_certificate_uris) and k.client_id <> p_client_id and k.client_id <> all(refused)
     order by k.uri limit 1
$$;

-- Registers a client. Returns the outcome: WRITTEN, with the revision and the time of the change; or, and nothing is
-- written, CLIENT_TAKEN or CERTIFICATE_TAKEN (`taken_uri`). Locks: tables, the head.
create function create_client(
    p_client_id text, p_display_name text, p_certificate_uris text[], p_permissions smallint[], p_audiences text[],
    p_subjects text[], p_own_subject text, p_disabled boolean, p_version bigint, p_row_mac bytea, refused text[],
    act jsonb,
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
    insert into client (client_id, revision, display_name, certificate_uris, permissions, audiences, subjects,
                        own_subject, disabled, create_time, version, row_mac)
    values (p_client_id, new_revision, p_display_name, p_certificate_uris, p_permissions, p_audiences, p_subjects,
            p_own_subject, p_disabled, new_create_time, p_version, p_row_mac);
    outcome := 'WRITTEN';
end $$;

-- Changes a client if it is still at `expected`. Returns the outcome: WRITTEN, with the revision of the change; or, and
-- nothing is written, STALE, CERTIFICATE_TAKEN (`taken_uri`), or LAST_ADMINISTRATOR (no administrator would be left).
-- Locks: tables, the head.
create function update_client(
    expected bigint, p_client_id text, p_display_name text, p_certificate_uris text[], p_permissions smallint[],
    p_audiences text[], p_subjects text[], p_own_subject text, p_disabled boolean, p_version bigint, p_row_mac bytea,
    refused text[], good_clients text[], good_keys text[], act jsonb, out outcome text, out taken_uri text,
    out new_revision bigint)
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
                      permissions = p_permissions, audiences = p_audiences, subjects = p_subjects,
                      own_subject = p_own_subject, disabled = p_disabled, version = p_version, row_mac = p_row_mac
     where client_id = p_client_id;
    outcome := 'WRITTEN';
end $$;

-- Removes a client with its certificates and API keys if it is still at `expected`, and revokes all its tokens by a
-- mark at the new head, which is kept until `mark_expire_s`. Returns the outcome: WRITTEN, with the revision of the
-- change; or, and nothing is written, STALE or LAST_ADMINISTRATOR. Locks: tables, the client's mark, the head, its API
-- keys.
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
    -- Locks the keys in the same order as `note_api_key_uses`.
    perform 1 from api_key where client_id = p_client_id order by api_key_id for update;
    delete from client where client_id = p_client_id;
    outcome := 'WRITTEN';
end $$;

-- Adds an API key to a client that has fewer than `most`, without those among `refused`. Returns the outcome: WRITTEN,
-- with the revision and the time of the change; or, and nothing is written, CLIENT_ABSENT or TOO_MANY. Locks: tables,
-- the head.
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
    -- Credentials are part of a client: a replica that compares two states of it must see which one is newer.
    update client set revision = new_revision where client_id = p_client_id;
    outcome := 'WRITTEN';
end $$;

-- Removes an API key. Returns the outcome: WRITTEN, with the revision of the change; or, and nothing is written,
-- KEY_ABSENT or LAST_ADMINISTRATOR (no administrator would be left). Locks: tables, the head.
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

-- Writes the last uses of API keys, in minutes since the epoch: the latest that any replica knows. Returns nothing. It
-- locks the table, then the rows in the order of their ids, because all replicas write them. It does not lock the head:
-- a use is no change in the log.
create function note_api_key_uses(api_key_ids text[], minutes bigint[]) returns void
language plpgsql as $$
begin
    -- Locks the table before its rows: a transaction that has locked the whole table may need those rows next.
    lock table only api_key in row exclusive mode;
    perform 1 from api_key where api_key_id = any(api_key_ids) order by api_key_id for no key update;
    update api_key k set last_use_time = to_timestamp(u.minute * 60)
      from unnest(api_key_ids, minutes) u(id, minute)
     where k.api_key_id = u.id and (k.last_use_time is null or k.last_use_time < to_timestamp(u.minute * 60));
end $$;

-- Registers a client, or brings its registration to these rights (it then has no certificates, is not disabled, and
-- keeps its display name), and adds an API key. Returns the revision of the change. `only_first`: null, and nothing is
-- written, if a client can administer already, or if there is a client of this name, because keys that it has must not
-- gain the new rights. Locks: tables, the head.
create function put_client(
    p_client_id text, p_display_name text, p_permissions smallint[], p_audiences text[], p_subjects text[],
    p_own_subject text, p_version bigint, p_row_mac bytea, p_api_key_id text, p_secret_hash bytea, p_key_mac bytea, only_first boolean,
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
    insert into client (client_id, revision, display_name, permissions, audiences, subjects, own_subject, create_time,
                        version, row_mac)
    values (p_client_id, head, p_display_name, p_permissions, p_audiences, p_subjects, p_own_subject, clock_timestamp(),
            p_version, p_row_mac)
    on conflict (client_id) do update set
        revision = excluded.revision, display_name = excluded.display_name, certificate_uris = '{}',
        permissions = excluded.permissions, audiences = excluded.audiences, subjects = excluded.subjects,
        own_subject = excluded.own_subject, disabled = false, version = excluded.version, row_mac = excluded.row_mac;
    insert into api_key (api_key_id, client_id, secret_hash, create_time, row_mac)
    values (p_api_key_id, p_client_id, p_secret_hash, clock_timestamp(), p_key_mac)
    on conflict (api_key_id) do update set
        client_id = excluded.client_id, secret_hash = excluded.secret_hash, expire_time = null,
        row_mac = excluded.row_mac;
    return head;
end $$;

-- Takes rights of a client away, as a replica carries that over into a new epoch, if the client is still at `expected`.
-- The registration becomes this one, with the revision `as_of`, so that it is no news to other replicas (rule
-- CarriedOverIsNoNews of tests/model/README.md). Some API keys are removed, and some end sooner. Returns the revision
-- of the change; null, and nothing is written: another write was first. Locks: tables, the head, the client's API keys.
create function restrict_client(
    expected bigint, as_of bigint, p_client_id text, p_certificate_uris text[], p_permissions smallint[],
    p_audiences text[], p_subjects text[], p_own_subject text, p_disabled boolean, p_version bigint, p_row_mac bytea,
    gone_key_ids text[], ending_key_ids text[], key_ends_s bigint[], key_row_macs bytea[], act jsonb) returns bigint
language plpgsql as $$
declare head bigint;
begin
    lock table only client, only client_certificate, only api_key, only change, only audit_event in row exclusive mode;
    perform 1 from log_head for update;
    if not exists (select from client where client_id = p_client_id and revision = expected) then
        return null;
    end if;
    head := append_change(2::smallint, p_client_id, act);
    update client set revision = as_of, certificate_uris = p_certificate_uris, permissions = p_permissions,
                      audiences = p_audiences, subjects = p_subjects, own_subject = p_own_subject,
                      disabled = p_disabled, version = p_version, row_mac = p_row_mac
     where client_id = p_client_id;
    -- Locks the keys in the same order as `note_api_key_uses`.
    perform 1 from api_key where client_id = p_client_id order by api_key_id for update;
    delete from api_key where client_id = p_client_id and api_key_id = any(gone_key_ids);
    update api_key k set expire_time = to_timestamp(i.end_s), row_mac = i.row_mac
      from unnest(ending_key_ids, key_ends_s, key_row_macs) i(api_key_id, end_s, row_mac)
     where k.client_id = p_client_id and k.api_key_id = i.api_key_id;
    return head;
end $$;
