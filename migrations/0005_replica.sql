-- Who may answer from memory, and what each has applied.

-- One row per registration: a replica that registers anew has a new id. Renewed once a second, and
-- logged: a row that a crash forgot would be a lease that nobody waits for.
create table replica (
    id         uuid        primary key,
    name       text        not null,
    version    text        not null,
    -- Where others reach its public listener; empty: nowhere that it knows of.
    address    text        not null,
    -- The epoch that it follows: its renewals say nothing about another one.
    epoch      bigint      not null,
    -- Counts the renewals. Whoever has seen it stand still for long enough may remove the row.
    beat       bigint      not null,
    -- For show: no decision rests on them.
    beat_time  timestamptz not null,
    start_time timestamptz not null
) with (fillfactor = 50);

-- What each registration has applied. Apart from its row, so that an acknowledgement never queues
-- behind a renewal; written without waiting for the disk, since a lost one only understates.
create table replica_ack (
    id       uuid   primary key,
    revision bigint not null
) with (fillfactor = 50);
