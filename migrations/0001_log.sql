-- The one ordered sequence of everything that replicas must know, and what it holds:
-- narrow revocations, marks (wide revocations), and notes that something else changed.
-- A revision is stored as epoch * 2^40 + seq.

-- The head of the log. An append locks this row and keeps it to its commit, so that
-- the order of revisions is the order of commits.
create table log_head (
    only_row          boolean     primary key default true check (only_row),
    epoch             bigint      not null check (epoch between 1 and 8191),
    seq               bigint      not null check (seq >= 0 and seq < 1099511627776),
    -- Entries at or below may have been purged: a reader that is below loads anew.
    floor             bigint      not null default 0,
    -- Which history of which cluster the log was written in: a promotion or a restored disk differs.
    timeline          text        not null,
    system_identifier bigint      not null,
    -- In which database and tables of it: a restored dump or a copied database differs (`log_place`).
    place             text        not null default '',
    -- Which partitions there are (`log_parts`).
    parts             bigint      not null default 0,
    -- The transaction that wrote this row, as jeton says. Postgres says so, too: a row that something else wrote, a COPY
    -- or an UPDATE by hand, says another.
    written_by        xid8        not null,
    epoch_time        timestamptz not null,
    settled_epoch     bigint      not null,
    -- The latest epoch into which a replica has carried over what it held, or that an operator has vouched for.
    carried_epoch     bigint      not null default 1
) with (fillfactor = 10);

insert into log_head (epoch, seq, timeline, system_identifier, epoch_time, settled_epoch, written_by)
select 1, 0, left(pg_walfile_name(pg_current_wal_insert_lsn()), 8), system_identifier, now(), 1, pg_current_xact_id()
  from pg_control_system();

-- Revocations by id. kind: 1 jti, 2 session. Purged by dropping partitions.
create table revocation (
    id          uuid        not null,
    kind        smallint    not null check (kind in (1, 2)),
    expire_time timestamptz not null,
    revision    bigint      not null,
    reason      smallint    not null,
    -- When it was committed; of one that was written back, when that was.
    revoke_time timestamptz not null default clock_timestamp(),
    primary key (id, kind, expire_time)
) partition by range (expire_time);
create index revocation_revision on revocation (revision);
create table revocation_default partition of revocation default;

-- Wide revocations: one row whatever it hits. kind: 3 subject, 4 client, 5 key.
-- One per (kind, target, audience), by maximum; audience '' is every audience.
create table mark (
    kind        smallint    not null check (kind in (3, 4, 5)),
    target      text        not null,
    audience    text        not null default '',
    -- When it last changed: what followers read.
    revision    bigint      not null,
    -- Hits what was issued below this revision; 0: by cutoff alone.
    position    bigint      not null,
    -- Hits what was issued before this second since the epoch; 0: by position alone.
    cutoff_s    bigint      not null,
    reason      smallint    not null,
    expire_time timestamptz not null,
    -- When its target was revoked last.
    revoke_time timestamptz not null default clock_timestamp(),
    primary key (kind, target, audience)
);
create index mark_revision on mark (revision);

-- "So-and-so changed, read it again." kind: 1 policy, 2 client, 3 key, 4 mark removed.
create table change (
    revision    bigint      primary key,
    kind        smallint    not null check (kind between 1 and 4),
    name        text        not null,
    change_time timestamptz not null default now()
);

-- Append-only. The revision is the one of the act, or the one known at it.
create table audit_event (
    id         uuid        primary key,
    revision   bigint      not null,
    event_time timestamptz not null,
    actor      text        not null,
    action     text        not null,
    subject    text,
    jti        uuid,
    session_id uuid,
    client_id  text,
    -- OK, what became of a revocation, or the name of an ErrorReason.
    outcome    text        not null,
    reason     smallint    not null default 0,
    note       text        not null default '',
    trace_id   text        not null default '',
    -- A key concerned; and how a wide revocation was narrowed: to an audience, and to what was issued
    -- before this second since the epoch.
    key_id     text,
    audience   text,
    cutoff_s   bigint,
    -- Whose tag it continues: each task that writes has a chain of its own, whose numbers begin with 1 and have no gaps.
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
