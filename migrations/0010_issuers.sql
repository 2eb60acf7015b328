-- Trusted issuers. Each function writes through the log, under the head.

-- Registers a trusted issuer if there are fewer than `most`, without those among `refused`, whose rows count as absent:
-- one of these that is in the way is removed. Returns the outcome: WRITTEN, with the revision and the time of the change;
-- or, and nothing is written, ID_TAKEN, ISSUER_TAKEN or TOO_MANY. Locks: tables, the head.
create function create_issuer(
    p_issuer_id text, p_issuer text, p_registration text, p_disabled boolean, p_version bigint, p_row_mac bytea,
    most bigint, refused text[], act jsonb, out outcome text, out new_revision bigint, out new_create_time timestamptz)
language plpgsql as $$
begin
    lock table only trusted_issuer, only change, only audit_event in row exclusive mode;
    perform 1 from log_head for update;
    if exists (select from trusted_issuer where issuer_id = p_issuer_id) then
        outcome := 'ID_TAKEN';
        return;
    end if;
    if exists (select from trusted_issuer where issuer = p_issuer and issuer_id <> all(refused)) then
        outcome := 'ISSUER_TAKEN';
        return;
    end if;
    if (select count(*) from trusted_issuer where issuer_id <> all(refused)) >= most then
        outcome := 'TOO_MANY';
        return;
    end if;
    new_revision := append_change(5::smallint, p_issuer_id, act);
    new_create_time := clock_timestamp();
    delete from trusted_issuer where issuer = p_issuer and issuer_id = any(refused);
    insert into trusted_issuer (issuer_id, issuer, revision, registration, disabled, create_time, version, row_mac)
    values (p_issuer_id, p_issuer, new_revision, p_registration, p_disabled, new_create_time, p_version, p_row_mac);
    outcome := 'WRITTEN';
end $$;

-- Changes a trusted issuer if it is still at `expected`. Returns the outcome: WRITTEN, with the revision of the change;
-- or, and nothing is written, STALE or ISSUER_TAKEN. Locks: tables, the head.
create function update_issuer(
    expected bigint, p_issuer_id text, p_issuer text, p_registration text, p_disabled boolean, p_version bigint,
    p_row_mac bytea, refused text[], act jsonb, out outcome text, out new_revision bigint)
language plpgsql as $$
begin
    lock table only trusted_issuer, only change, only audit_event in row exclusive mode;
    perform 1 from log_head for update;
    if not exists (select from trusted_issuer where issuer_id = p_issuer_id and revision = expected) then
        outcome := 'STALE';
        return;
    end if;
    if exists (select from trusted_issuer
                where issuer = p_issuer and issuer_id <> p_issuer_id and issuer_id <> all(refused)) then
        outcome := 'ISSUER_TAKEN';
        return;
    end if;
    new_revision := append_change(5::smallint, p_issuer_id, act);
    delete from trusted_issuer where issuer = p_issuer and issuer_id <> p_issuer_id and issuer_id = any(refused);
    update trusted_issuer
       set issuer = p_issuer, revision = new_revision, registration = p_registration, disabled = p_disabled,
           version = p_version, row_mac = p_row_mac
     where issuer_id = p_issuer_id;
    outcome := 'WRITTEN';
end $$;

-- Removes a trusted issuer if it is still at `expected`. Returns the outcome: WRITTEN, with the revision of the change; or
-- STALE, and nothing is written. Locks: tables, the head.
create function delete_issuer(
    expected bigint, p_issuer_id text, act jsonb, out outcome text, out new_revision bigint)
language plpgsql as $$
begin
    lock table only trusted_issuer, only change, only audit_event in row exclusive mode;
    perform 1 from log_head for update;
    if not exists (select from trusted_issuer where issuer_id = p_issuer_id and revision = expected) then
        outcome := 'STALE';
        return;
    end if;
    new_revision := append_change(5::smallint, p_issuer_id, act);
    delete from trusted_issuer where issuer_id = p_issuer_id;
    outcome := 'WRITTEN';
end $$;

-- Disables a trusted issuer, as a replica carries that over into a new epoch, if it is still at `expected`. It gets the
-- revision `as_of`, so that it is no news to other replicas (rule CarriedOverIsNoNews of tests/model/README.md). Returns
-- the revision of the change; null, and nothing is written: another write was first. Locks: tables, the head.
create function restrict_issuer(
    expected bigint, as_of bigint, p_issuer_id text, p_version bigint, p_row_mac bytea, act jsonb) returns bigint
language plpgsql as $$
declare head bigint;
begin
    lock table only trusted_issuer, only change, only audit_event in row exclusive mode;
    perform 1 from log_head for update;
    if not exists (select from trusted_issuer where issuer_id = p_issuer_id and revision = expected) then
        return null;
    end if;
    head := append_change(5::smallint, p_issuer_id, act);
    update trusted_issuer set revision = as_of, disabled = true, version = p_version, row_mac = p_row_mac
     where issuer_id = p_issuer_id;
    return head;
end $$;
