-- The tables, with their constraints, partitions and indexes. README.md is the map of this directory.
--
-- A revision is stored as epoch * 2^40 + seq, so that revisions compare by epoch first.

-- ---------------------------------------------------------------------------------------------------------------------
-- The log: the one ordered sequence of all that replicas must know, in docs/internals/protocol.md, "The log". Its
-- entries are narrow revocations, marks (wide revocations), and notes that something else changed.
-- ---------------------------------------------------------------------------------------------------------------------

-- The head of the log: one row. An append locks it and keeps the lock to its commit, so that the order of revisions is
-- the order of commits. 0002_place.sql inserts the row, and says how its columns identify the log.
create table log_head (
    only_row          boolean     primary key default true check (only_row),
    epoch             bigint      not null check (epoch between 1 and 8191),
    seq               bigint      not null check (seq >= 0 and seq < 1099511627776),
    -- Entries at or below this revision may have been purged: a reader that is below it loads all tables again.
    floor             bigint      not null default 0,
    -- The timeline and the identifier of the cluster in which the log was written. The timeline changes by a promotion;
    -- the identifier is another one in another cluster.
    timeline          text        not null,
    system_identifier bigint      not null,
    -- The object ids of the database and of its tables (`log_place`). They change by a restored dump or a copy.
    place             text        not null default '',
    -- The object ids of the partitions, as one number (`log_parts`).
    parts             bigint      not null default 0,
    -- The transaction that wrote this row, as jeton records it. Postgres records it, too. If something else wrote the
    -- row, such as a COPY or an UPDATE by hand, the two differ.
    written_by        xid8        not null,
    -- The time when the epoch began.
    epoch_time        timestamptz not null,
    -- The latest epoch that a replica had known for as long as a lease can last.
    settled_epoch     bigint      not null,
    -- The latest epoch into which a replica has carried over its state, or that an operator has vouched for.
    carried_epoch     bigint      not null default 1
) with (fillfactor = 10); -- Each append updates the row: HOT updates find room on its page.

-- Narrow revocations, by id. kind: 1 jti, 2 session. Old ones go with their partition, which covers twelve hours.
create table revocation (
    id          uuid        not null,
    kind        smallint    not null check (kind in (1, 2)),
    expire_time timestamptz not null,
    revision    bigint      not null,
    reason      smallint    not null,
    -- The time of the append. If a replica wrote the entry back in a new epoch, the time of that.
    revoke_time timestamptz not null default clock_timestamp(),
    primary key (id, kind, expire_time)
) partition by range (expire_time);
create index revocation_revision on revocation (revision);
create table revocation_default partition of revocation default;

-- Marks: wide revocations, one row whatever number of tokens it hits. kind: 3 subject, 4 client, 5 key, 6 audience, 11 trusted issuer. There is one
-- mark for each (kind, target, audience), merged by maximum; audience '' is every audience.
create table mark (
    kind        smallint    not null check (kind in (3, 4, 5, 6, 11)),
    target      text        not null,
    audience    text        not null default '',
    -- The revision of its latest change, by which followers read.
    revision    bigint      not null,
    -- It hits everything issued below this revision; 0: by cutoff alone.
    position    bigint      not null,
    -- It hits everything issued before this second since the epoch; 0: by position alone.
    cutoff_s    bigint      not null,
    reason      smallint    not null,
    expire_time timestamptz not null,
    -- The time when its target was last revoked.
    revoke_time timestamptz not null default clock_timestamp(),
    primary key (kind, target, audience)
);
create index mark_revision on mark (revision);

-- Locks: nothing is issued for a subject (kind 3) or to a client (kind 4) until `end_time`. One row for each target. A
-- row that was unlocked stays, with the time of that as its end: replicas that missed it must learn of it. Rows go a day
-- after their end.
create table lock (
    kind      smallint    not null check (kind in (3, 4)),
    target    text        not null,
    -- The revision of its latest change, by which followers read.
    revision  bigint      not null,
    -- The time when it was locked: of several locks one upon the other, the first.
    lock_time timestamptz not null,
    end_time  timestamptz not null,
    -- Who locked it last, and the note of that.
    actor     text        not null,
    note      text        not null,
    primary key (kind, target)
);
create index lock_revision on lock (revision);

-- Notes that something else changed and must be read again. kind: 1 policy, 2 client, 3 key, 4 mark removed, 5 trusted
-- issuer.
create table change (
    revision    bigint      primary key,
    kind        smallint    not null check (kind between 1 and 5),
    name        text        not null,
    change_time timestamptz not null default now()
);

-- Committed chunks of bulk revocations: a chunk acts once, together with its row here. Its revocations have the
-- revisions from `revision - size + 1` to `revision`; so its one audit row is found by the id of any of them. Rows are
-- kept for three days, longer than any revocation.
create table bulk_chunk (
    bulk_id     uuid        not null,
    number      bigint      not null check (number > 0),
    client_id   text        not null,
    -- SHA-256 of its targets: sent again, it must be the same.
    digest      bytea       not null check (length(digest) = 32),
    revision    bigint      not null,
    size        bigint      not null,
    audit_id    uuid        not null,
    -- Its targets by outcome, and by what they are: JSON objects of numbers.
    outcomes    jsonb       not null,
    kinds       jsonb       not null,
    commit_time timestamptz not null default clock_timestamp(),
    primary key (bulk_id, number)
);
create index bulk_chunk_revision on bulk_chunk (revision);

-- The number of a client's live revocations by bare jti, by the hour (since the epoch) at whose end they are forgotten
-- at the latest. `append_revocations` counts them.
create table bare_revocations (
    client_id   text   not null,
    expire_hour bigint not null,
    held        bigint not null,
    primary key (client_id, expire_hour)
) with (fillfactor = 50);

-- ---------------------------------------------------------------------------------------------------------------------
-- Replicas: those that may answer from memory, and the revisions that they have applied.
-- ---------------------------------------------------------------------------------------------------------------------

-- One row for each registration; a replica that registers again has a new id. It is renewed once a second, and logged:
-- if a crash lost a row, nobody would wait for its lease.
create table replica (
    id         uuid        primary key,
    name       text        not null,
    version    text        not null,
    -- The address at which others reach its public listener; empty if it knows none.
    address    text        not null,
    -- The settings that all replicas should share: the issuer, the fingerprint of the master key, the period of key
    -- rotation and the time of publication before a key signs, in seconds.
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

-- The revision that each registration has applied (`acknowledge`). It is a table of its own, so that an acknowledgement
-- never queues behind a renewal.
create table replica_ack (
    id       uuid   primary key,
    revision bigint not null
) with (fillfactor = 50);

-- The number of replicas: the least of each ten minutes. So a replica that comes before another one leaves is not
-- counted beside it.
create table fleet_size (
    slot     bigint  primary key,
    replicas integer not null
);

-- ---------------------------------------------------------------------------------------------------------------------
-- Sessions
-- ---------------------------------------------------------------------------------------------------------------------

-- One row for each refreshable session, however often it is refreshed. The table is partitioned by the week of the id
-- (a UUIDv7, so by creation). No index covers a column that Refresh writes, and partitions keep room on each page, so
-- that a refresh is a HOT update.
create table session (
    id                     uuid        primary key,
    subject                text        not null,
    client_id              text        not null,
    audiences              text[]      not null,
    scopes                 text[]      not null,
    -- JSON text; jsonb would refuse what JSON allows (\u0000) and rewrite numbers.
    claims                 bytea       not null,
    certificate_thumbprint bytea,
    -- The short id of the trusted issuer by whose assertion it was opened; '': by none.
    idp                    text        not null default '',
    secret_hash            bytea       not null check (length(secret_hash) = 32),
    mac_key_id             bytea       not null,
    -- The log's revision at the opening: marks above it end the session.
    revision               bigint      not null,
    create_time            timestamptz not null,
    generation             bigint      not null default 0,
    refresh_time           timestamptz not null,
    idle_expire_time       timestamptz not null,
    expire_time            timestamptz not null,
    revoke_time            timestamptz,
    revoke_reason          smallint    not null default 0
) partition by range (id);
create index session_subject on session (subject, id);
create index session_client on session (client_id, id);
-- For marks on an issuer: most sessions were opened by no assertion.
create index session_idp on session (idp) where idp <> '';
-- For marks on an audience.
create index session_audience on session using gin (audiences);
create table session_default partition of session default with (fillfactor = 80);

-- ---------------------------------------------------------------------------------------------------------------------
-- The registry: policies, clients with their credentials, and the keys that jeton signs with. `revision` is the log's
-- revision of the latest change; it is the etag, too.
--
-- `row_mac` is a MAC under a key derived from the master key, over the rights that the row grants and `version`, which
-- each change of them raises. jeton makes and checks it: a row with a wrong MAC counts as absent (rule C7 of
-- docs/internals/behaviour.md). Columns that only take rights away (disabled, retired, revoked, expired) are not
-- covered: statements may set them.
--
-- The checks of these tables refuse values that jeton cannot read, whoever writes them: one such row would keep every
-- server from reading its table, while a row with a wrong MAC only counts as absent.
-- ---------------------------------------------------------------------------------------------------------------------

-- Rules for tokens of one audience that one client obtains. Null: taken from the next wider policy.
create table policy (
    audience           text        not null,
    client_id          text        not null,
    revision           bigint      not null,
    update_time        timestamptz not null,
    default_ttl_s      bigint,
    max_ttl_s          bigint,
    clamp              boolean,
    leeway_s           bigint,
    refresh_idle_s     bigint,
    refresh_absolute_s bigint,
    refresh_grace_s    bigint,
    boundary_hours     smallint,
    boundary_minutes   smallint,
    boundary_zone      text,
    allowed_scopes     text[]      not null default '{}',
    algorithm          text,
    audit_issue        boolean,
    subject_sessions   bigint,
    primary key (audience, client_id)
);

-- Removed policies with the revisions of their removal: a replica that has not read a removal yet takes it for news,
-- not for a loss of the tables. They are kept as long as entries of `change`: at or below `log_head.floor` some may be
-- gone.
create table removed_policy (
    audience    text        not null,
    client_id   text        not null,
    revision    bigint      not null,
    remove_time timestamptz not null default now(),
    primary key (audience, client_id)
);

-- Callers of jeton. permissions: the numbers of jeton.v1.Permission.
create table client (
    client_id        text        primary key,
    revision         bigint      not null,
    display_name     text        not null default '',
    certificate_uris text[]      not null default '{}',
    permissions      smallint[]  not null,
    audiences        text[]      not null,
    subjects         text[]      not null,
    -- The subject of tokens that the client obtains for itself; '': its identifier.
    own_subject      text        not null default '',
    disabled         boolean     not null default false,
    create_time      timestamptz not null,
    version          bigint      not null default 0,
    row_mac          bytea       not null default '',
    check (revision between 0 and 9007199254740991),
    check (create_time between '0001-01-01T00:00:00Z' and '9999-01-01T00:00:00Z'),
    check (coalesce(array_ndims(certificate_uris), 1) = 1 and array_position(certificate_uris, null) is null),
    check (coalesce(array_ndims(permissions), 1) = 1 and array_position(permissions, null) is null),
    check (coalesce(array_ndims(audiences), 1) = 1 and array_position(audiences, null) is null),
    check (coalesce(array_ndims(subjects), 1) = 1 and array_position(subjects, null) is null)
);

-- API keys, as the SHA-256 of their whole text.
create table api_key (
    api_key_id    text        primary key,
    client_id     text        not null references client on delete cascade,
    secret_hash   bytea       not null check (length(secret_hash) = 32),
    create_time   timestamptz not null,
    expire_time   timestamptz,
    -- To the minute, and written later: no decision depends on it, so it is no change in the log.
    last_use_time timestamptz,
    row_mac       bytea       not null default '',
    check (create_time between '0001-01-01T00:00:00Z' and '9999-01-01T00:00:00Z'),
    check (expire_time between '0001-01-01T00:00:00Z' and '9999-01-01T00:00:00Z'),
    check (last_use_time between '0001-01-01T00:00:00Z' and '9999-01-01T00:00:00Z')
);
create index api_key_client on api_key (client_id);

-- The certificates of clients: each authenticates one client. A trigger (0008_clients.sql) copies
-- `client.certificate_uris`, so that the primary key holds for every writer of `client`.
create table client_certificate (
    uri       text primary key,
    client_id text not null references client on delete cascade
);
create index client_certificate_client on client_certificate (client_id);

-- Issuers whose assertions are accepted. `registration` is JSON, as text, because the MAC is over its bytes.
create table trusted_issuer (
    issuer_id    text        primary key,
    -- `iss` of the registration.
    issuer       text        not null unique,
    revision     bigint      not null,
    registration text        not null,
    disabled     boolean     not null default false,
    create_time  timestamptz not null,
    version      bigint      not null default 0,
    row_mac      bytea       not null default '',
    check (revision between 0 and 9007199254740991),
    check (create_time between '0001-01-01T00:00:00Z' and '9999-01-01T00:00:00Z')
);

-- Signing keys; the private half is sealed under the master key. A key is pending (published: it verifies and does not
-- sign), then active, then retired (it verifies), then gone; or revoked at once.
create table signing_key (
    key_id           text        primary key,
    algorithm        text        not null check (algorithm in ('ES256', 'EdDSA')),
    public_jwk       text        not null,
    sealed           bytea       not null,
    -- The log's revision of its publication: it may sign once every replica has applied that.
    publish_revision bigint      not null default 0,
    create_time      timestamptz not null,
    -- The time when it is due to sign.
    activate_time    timestamptz not null,
    -- The time since when it signs; null: pending.
    signing_time     timestamptz,
    retire_time      timestamptz,
    revoke_time      timestamptz,
    -- The time when it leaves the key set: no token that it signed can be live.
    expire_time      timestamptz,
    version          bigint      not null default 0,
    row_mac          bytea       not null default '',
    check (publish_revision between 0 and 9007199254740991),
    check (create_time between '0001-01-01T00:00:00Z' and '9999-01-01T00:00:00Z'),
    check (activate_time between '0001-01-01T00:00:00Z' and '9999-01-01T00:00:00Z'),
    check (signing_time between '0001-01-01T00:00:00Z' and '9999-01-01T00:00:00Z'),
    check (retire_time between '0001-01-01T00:00:00Z' and '9999-01-01T00:00:00Z'),
    check (revoke_time between '0001-01-01T00:00:00Z' and '9999-01-01T00:00:00Z'),
    check (expire_time between '0001-01-01T00:00:00Z' and '9999-01-01T00:00:00Z')
);
-- Two replicas that both find no key end up with one.
create unique index signing_key_one_active on signing_key (algorithm)
    where signing_time is not null and retire_time is null and revoke_time is null;
create unique index signing_key_one_pending on signing_key (algorithm)
    where signing_time is null and revoke_time is null;

-- MAC keys of refresh tokens; a session keeps the key that it was opened with. They have the same states.
create table mac_key (
    mac_key_id       bytea       primary key check (length(mac_key_id) = 4),
    sealed           bytea       not null,
    publish_revision bigint      not null default 0,
    create_time      timestamptz not null,
    -- The time when it is due to open sessions.
    activate_time    timestamptz not null,
    -- The time since when it opens sessions; null: pending.
    signing_time     timestamptz,
    retire_time      timestamptz,
    -- The time when it is removed: no session that it opened can be live.
    expire_time      timestamptz,
    version          bigint      not null default 0,
    row_mac          bytea       not null default '',
    check (publish_revision between 0 and 9007199254740991),
    check (create_time between '0001-01-01T00:00:00Z' and '9999-01-01T00:00:00Z'),
    check (activate_time between '0001-01-01T00:00:00Z' and '9999-01-01T00:00:00Z'),
    check (signing_time between '0001-01-01T00:00:00Z' and '9999-01-01T00:00:00Z'),
    check (retire_time between '0001-01-01T00:00:00Z' and '9999-01-01T00:00:00Z'),
    check (expire_time between '0001-01-01T00:00:00Z' and '9999-01-01T00:00:00Z')
);
create unique index mac_key_one_active on mac_key ((true)) where signing_time is not null and retire_time is null;
create unique index mac_key_one_pending on mac_key ((true)) where signing_time is null;

-- ---------------------------------------------------------------------------------------------------------------------
-- The audit trail
-- ---------------------------------------------------------------------------------------------------------------------

-- Acts; rows are only added. Their partitions cover thirty days of the id (a UUIDv7).
create table audit_event (
    id         uuid        primary key,
    -- The revision of the act, or the one that was known when it happened.
    revision   bigint      not null,
    event_time timestamptz not null,
    actor      text        not null,
    action     text        not null,
    subject    text,
    jti        uuid,
    session_id uuid,
    client_id  text,
    -- OK, the outcome of a revocation, or the name of an ErrorReason.
    outcome    text        not null,
    reason     smallint    not null default 0,
    note       text        not null default '',
    trace_id   text        not null default '',
    -- The key concerned; and the limits of a wide revocation: an audience, and the second since the epoch before which
    -- it hits.
    key_id     text,
    audience   text,
    cutoff_s   bigint,
    -- The place in a chain: each task that writes has a chain of its own, whose numbers begin with 1 and have no gaps.
    -- The tag is a MAC over the chain, the number, the tag before, and every column but revision and event_time.
    chain_id     uuid,
    chain_number bigint,
    chain_tag    bytea
) partition by range (id);
create index audit_event_subject on audit_event (subject, id) where subject is not null;
create index audit_event_jti on audit_event (jti, id) where jti is not null;
create index audit_event_session on audit_event (session_id, id) where session_id is not null;
create index audit_event_actor on audit_event (actor, id);
create index audit_event_client on audit_event (client_id, id) where client_id is not null;
create index audit_event_key on audit_event (key_id, id) where key_id is not null;
create table audit_event_default partition of audit_event default;
