-- The one ordered sequence of everything that replicas must know, with its contents: narrow revocations, marks (wide
-- revocations), and notes that something else changed. A revision is stored as epoch * 2^40 + seq.

-- The head of the log. An append locks this row and keeps it to its commit, so that
-- the order of revisions is the order of commits.
create table log_head (
    only_row          boolean     primary key default true check (only_row),
    epoch             bigint      not null check (epoch between 1 and 8191),
    seq               bigint      not null check (seq >= 0 and seq < 1099511627776),
    -- Entries at or below may have been purged: a reader that is below loads all tables again.
    floor             bigint      not null default 0,
    -- The timeline of the cluster in which the log was written: after a promotion or from a restored disk it differs.
    timeline          text        not null,
    system_identifier bigint      not null,
    -- The database and the tables in which it was written: in a restored dump or a copied database they differ
    -- (`log_place`).
    place             text        not null default '',
    -- The partitions that exist (`log_parts`).
    parts             bigint      not null default 0,
    -- The transaction that wrote this row, as jeton records it. Postgres records it, too: if something else wrote the
    -- row, a COPY or an UPDATE by hand, the two differ.
    written_by        xid8        not null,
    epoch_time        timestamptz not null,
    settled_epoch     bigint      not null,
    -- The latest epoch into which a replica has carried over its state, or that an operator has vouched for.
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
    -- The time of its commit; of a revocation that was written back, the time of the original commit.
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
    -- The revision of its latest change, by which followers read.
    revision    bigint      not null,
    -- Hits everything issued below this revision; 0: by cutoff alone.
    position    bigint      not null,
    -- Hits everything issued before this second since the epoch; 0: by position alone.
    cutoff_s    bigint      not null,
    reason      smallint    not null,
    expire_time timestamptz not null,
    -- The time when its target was last revoked.
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
