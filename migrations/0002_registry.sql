-- The registry of operators: policies, clients and their keys; and the keys that jeton signs with. `revision` is the
-- log's revision of the latest change; it is the etag, too. `row_mac` is a MAC under a key derived from the master key,
-- over the rights that the row grants and `version`, which each change of them raises. jeton makes and checks it: a row
-- with a wrong MAC counts as absent. Columns that only take rights away (disabled, retired, revoked, expired) are not
-- covered: statements may set them.

-- Rules for tokens of one audience obtained by one client. Null: taken from the next wider policy.
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
-- not for a loss of the tables. Kept as long as entries of `change`: at or below `log_head.floor` some may be gone.
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
    disabled         boolean     not null default false,
    create_time      timestamptz not null,
    version          bigint      not null default 0,
    row_mac          bytea       not null default ''
);

-- Secrets of clients, as the SHA-256 of the whole text.
create table api_key (
    api_key_id    text        primary key,
    client_id     text        not null references client on delete cascade,
    secret_hash   bytea       not null check (length(secret_hash) = 32),
    create_time   timestamptz not null,
    expire_time   timestamptz,
    row_mac       bytea       not null default ''
);
create index api_key_client on api_key (client_id);

-- Signing keys; the private half sealed under the master key.
create table signing_key (
    key_id        text        primary key,
    algorithm     text        not null check (algorithm in ('ES256', 'EdDSA')),
    public_jwk    text        not null,
    sealed        bytea       not null,
    create_time   timestamptz not null,
    activate_time timestamptz not null,
    retire_time   timestamptz,
    revoke_time   timestamptz,
    -- The time when it leaves the key set: no token that it signed can be live.
    expire_time   timestamptz,
    version       bigint      not null default 0,
    row_mac       bytea       not null default ''
);
-- Two replicas that both find no key end up with one.
create unique index signing_key_one_active on signing_key (algorithm)
    where retire_time is null and revoke_time is null;

-- MAC keys of refresh tokens; a session keeps the key that it was opened with.
create table mac_key (
    mac_key_id  bytea       primary key check (length(mac_key_id) = 4),
    sealed      bytea       not null,
    create_time timestamptz not null,
    retire_time timestamptz,
    version     bigint      not null default 0,
    row_mac     bytea       not null default ''
);
create unique index mac_key_one_active on mac_key ((true)) where retire_time is null;
