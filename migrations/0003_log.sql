-- Appends to the log, and removals from it (docs/internals/protocol.md, "The log"). An append is one call, one
-- transaction and one notification. Every function takes its locks in the one order that README.md gives.

-- Moves the head by `n` and returns the new head's revision. Fails with JT001 if the log was written elsewhere
-- (`log_is_here`). It locks the head until the transaction ends, so the order of revisions is the order of commits
-- (rule NumberInCommitOrder of tests/model/README.md). It notifies all replicas when the transaction commits.
create function log_advance(n bigint) returns bigint
language plpgsql as $$
declare head bigint;
begin
    update log_head set seq = seq + n, written_by = pg_current_xact_id() where log_is_here(log_head, xmin)
    returning epoch * 1099511627776 + seq into head;
    if head is null then
        raise exception 'the database is not the one that the log was written in' using errcode = 'JT001';
    end if;
    perform pg_notify('jeton_log', '');
    return head;
end $$;

-- Writes an act into the audit trail, at this revision. `act` holds the row's columns as JSON, except the two that are
-- set here. Returns nothing; fails if the act was written before. The act and its audit row are one transaction (rule
-- K10 of docs/internals/behaviour.md).
create function audit(act jsonb, at_revision bigint) returns void
language sql as $$
    insert into audit_event (id, revision, event_time, actor, action, subject, jti, session_id, client_id, outcome, reason,
                             note, trace_id, key_id, audience, cutoff_s, chain_id, chain_number, chain_tag)
    select a.id, at_revision, clock_timestamp(), a.actor, a.action, a.subject, a.jti, a.session_id, a.client_id, a.outcome,
           a.reason, a.note, a.trace_id, a.key_id, a.audience, a.cutoff_s, a.chain_id, a.chain_number, a.chain_tag
      from jsonb_populate_record(null::audit_event, act) a
$$;

-- Moves the head by one, and notes that something changed (kinds: see table `change`). Returns the new head's revision.
-- It locks the head. The caller writes the changed row itself, in the same transaction.
create function log_change(change_kind smallint, change_name text) returns bigint
language plpgsql as $$
declare head bigint;
begin
    head := log_advance(1);
    insert into change (revision, kind, name) values (head, change_kind, change_name);
    return head;
end $$;

-- Does the same as `log_change`, and writes `act` into the audit trail.
create function append_change(change_kind smallint, change_name text, act jsonb) returns bigint
language plpgsql as $$
declare head bigint;
begin
    head := log_change(change_kind, change_name);
    perform audit(act, head);
    return head;
end $$;

-- Appends one batch of revocations. Returns the new head's revision and the time of the append.
--
-- kind: 0 nothing new (the head moves nevertheless, so that a repeated revocation waits for its barrier: rule
-- RetriesWaitToo of tests/model/README.md), 1 jti, 2 session, 3 subject, 4 client, 5 key, 6 audience, 11
-- trusted issuer; 7 and 8 lock a subject and a client until `expires_s`, with the note in `mark_audiences`; 9 and 10
-- unlock them. Of two locks on one target the one that ends later holds, with its actor and note. Item i acts only if this call inserts its audit row, so a batch may be sent again. Its audit row has its outcome and its whole target, also if
-- nothing new was written (rule K15 of docs/internals/behaviour.md). The audit rows continue a chain from
-- `first_number` on. Revocations by a bare jti (by a token's id alone, so that the audit row names no client) are
-- counted for the quota of rule K11, but only if their rows are new.
--
-- It takes the locks of the tables, of the marks that the batch touches, and of the head. Sessions are not touched; the
-- sweep ends them.
--
-- It consists of separate statements, each with a plan that fits every batch. Most batches contain only ids and need
-- three of them; with one large statement, planning was most of the cost.
create function append_revocations(
    audit_ids uuid[], kinds smallint[], ids uuid[], targets text[], mark_audiences text[], cutoffs_s bigint[],
    reasons smallint[], expires_s bigint[], actors text[], actions text[], subjects text[], jtis uuid[],
    session_ids uuid[], client_ids text[], notes text[], trace_ids text[], outcomes text[], key_ids text[],
    audiences text[], audit_cutoffs_s bigint[], p_chain_id uuid, first_number bigint, chain_tags bytea[],
    out head bigint, out commit_time timestamptz)
language plpgsql as $$
declare
    size constant bigint := cardinality(kinds);
    base bigint;
    written bigint;
begin
    lock table only audit_event, only revocation, only mark, only lock, only signing_key, only change,
        only bare_revocations in row exclusive mode;
    if 3 <= any (kinds) then
        perform 1 from mark m
           join unnest(kinds, targets, mark_audiences) i(kind, target, audience)
             on (m.kind, m.target, m.audience) = (i.kind, i.target, i.audience)
          where i.kind >= 3
          order by m.kind, m.target, m.audience for update of m;
    end if;
    head := log_advance(size);
    base := head - size;
    commit_time := clock_timestamp();

    insert into audit_event (id, revision, event_time, actor, action, subject, jti, session_id, client_id,
                             outcome, reason, note, trace_id, key_id, audience, cutoff_s, chain_id, chain_number, chain_tag)
    select audit_id, base + ordinal, commit_time, actor, action, subject, jti, session_id, client_id,
           outcome, reason, note, trace_id, key_id, audience, cutoff_s, p_chain_id, first_number + ordinal - 1, chain_tag
      from unnest(audit_ids, reasons, actors, actions, subjects, jtis, session_ids, client_ids, outcomes, notes,
                  trace_ids, key_ids, audiences, audit_cutoffs_s, chain_tags) with ordinality
        i(audit_id, reason, actor, action, subject, jti, session_id, client_id, outcome, note,
          trace_id, key_id, audience, cutoff_s, chain_tag, ordinal)
    on conflict do nothing;
    get diagnostics written = row_count;
    if written < size then
        kinds := array(
            select case when a.revision = base + ordinal then kind else 0::smallint end
              from unnest(audit_ids, kinds) with ordinality i(audit_id, kind, ordinal)
              join audit_event a on a.id = audit_id order by ordinal);
    end if;

    insert into revocation (id, kind, expire_time, revision, reason, revoke_time)
    select id, kind, to_timestamp(expire_s), base + ordinal, reason, commit_time
      from unnest(ids, kinds, expires_s, reasons) with ordinality i(id, kind, expire_s, reason, ordinal)
     where kind in (1, 2)
    on conflict do nothing;
    get diagnostics written = row_count;

    if 1 = any (kinds) then
        insert into bare_revocations (client_id, expire_hour, held)
        select actor, expire_s / 3600 + 1, count(*)
          from unnest(kinds, ids, actors, expires_s, client_ids) with ordinality
            i(kind, id, actor, expire_s, client_id, ordinal)
         where kind = 1 and client_id is null
           and (written = size or exists (select from revocation r
                                           where r.id = i.id and r.kind = 1 and r.revision = base + ordinal))
         group by 1, 2
        on conflict (client_id, expire_hour) do update set held = bare_revocations.held + excluded.held;
    end if;

    if 3 <= any (kinds) then
        with item as (
            select * from unnest(kinds, targets, mark_audiences, cutoffs_s, reasons, expires_s) with ordinality
              i(kind, target, audience, cutoff_s, reason, expire_s, ordinal)
             where kind between 3 and 6 or kind = 11
        ), wide as (
            insert into mark (kind, target, audience, revision, position, cutoff_s, reason, expire_time, revoke_time)
            select kind, target, audience, base + max(ordinal),
                   coalesce(max(base + ordinal) filter (where cutoff_s = 0), 0), max(cutoff_s),
                   (array_agg(reason order by ordinal desc))[1], to_timestamp(max(expire_s)), commit_time
              from item group by kind, target, audience
            on conflict (kind, target, audience) do update
               set revision = excluded.revision, position = greatest(mark.position, excluded.position),
                   cutoff_s = greatest(mark.cutoff_s, excluded.cutoff_s), reason = excluded.reason,
                   expire_time = greatest(mark.expire_time, excluded.expire_time), revoke_time = excluded.revoke_time
        ), revoked as (
            update signing_key k
               set revoke_time = commit_time, expire_time = to_timestamp(item.expire_s)
              from item where item.kind = 5 and k.key_id = item.target and k.revoke_time is null
        )
        insert into change (revision, kind, name)
        select base + ordinal, 3, target from item where kind = 5;
    end if;

    -- Of a lock and an unlock in one batch the lock holds.
    if 9 <= any (kinds) then
        update lock l
           set revision = i.revision, end_time = least(l.end_time, commit_time)
          from (select kind - 6 as kind, target, base + max(ordinal) as revision
                  from unnest(kinds, targets) with ordinality i(kind, target, ordinal)
                 where kind in (9, 10) group by kind, target) i
         where (l.kind, l.target) = (i.kind, i.target);
    end if;
    if 7 = any (kinds) or 8 = any (kinds) then
        insert into lock (kind, target, revision, lock_time, end_time, actor, note)
        select kind - 4, target, base + max(ordinal), commit_time, to_timestamp(max(expire_s)),
               (array_agg(actor order by expire_s desc, ordinal desc))[1], (array_agg(note order by expire_s desc, ordinal desc))[1]
          from unnest(kinds, targets, expires_s, actors, mark_audiences) with ordinality
            i(kind, target, expire_s, actor, note, ordinal)
         where kind in (7, 8) group by kind, target
        on conflict (kind, target) do update
           set revision = excluded.revision, end_time = greatest(lock.end_time, excluded.end_time),
               lock_time = case when lock.end_time > commit_time then lock.lock_time else excluded.lock_time end,
               actor = case when lock.end_time > excluded.end_time then lock.actor else excluded.actor end,
               note = case when lock.end_time > excluded.end_time then lock.note else excluded.note end;
    end if;
end $$;

-- Commits a chunk of a bulk revocation: its tokens (kind 1) and sessions (kind 2), its audit row `act`, and the row that
-- it was committed. `fresh` is false, and nothing else is written, if it was committed before. Returns the new head's
-- revision. Revocations have revisions of their own, as if each had been appended alone. Locks: tables, the head.
create function append_bulk(
    p_bulk_id uuid, p_client_id text, p_number bigint, p_digest bytea, p_kinds smallint[], ids uuid[], expires_s bigint[],
    p_reason smallint, p_outcomes jsonb, p_target_kinds jsonb, act jsonb, out head bigint, out fresh boolean)
language plpgsql as $$
declare
    size constant bigint := greatest(cardinality(ids), 1);
    now constant timestamptz := clock_timestamp();
begin
    lock table only audit_event, only revocation, only bulk_chunk in row exclusive mode;
    head := log_advance(size);
    insert into bulk_chunk (bulk_id, number, client_id, digest, revision, size, audit_id, outcomes, kinds)
    values (p_bulk_id, p_number, p_client_id, p_digest, head, size, (act ->> 'id')::uuid, p_outcomes, p_target_kinds)
    on conflict do nothing;
    fresh := found;
    if not fresh then
        return;
    end if;
    insert into revocation (id, kind, expire_time, revision, reason, revoke_time)
    select id, kind, to_timestamp(expire_s), head - size + ordinal, p_reason, now
      from unnest(ids, p_kinds, expires_s) with ordinality i(id, kind, expire_s, ordinal)
    on conflict do nothing;
    perform audit(act, head);
end $$;

-- Removes the given marks that are past their end, and notes each removal: replicas drop a mark when they read the
-- note, never by a clock (rule RemoveMarksThroughTheLog of tests/model/README.md). Returns their number; 0: nothing is
-- written. Locks: tables, the marks, the head. Call it only after a full sweep of the sessions that began after their
-- end.
create function remove_marks(p_kinds smallint[], p_targets text[], p_audiences text[]) returns bigint
language plpgsql as $$
declare
    removed bigint;
    head bigint;
begin
    lock table only mark, only change in row exclusive mode;
    perform 1 from mark m
       join unnest(p_kinds, p_targets, p_audiences) i(kind, target, audience)
         on (m.kind, m.target, m.audience) = (i.kind, i.target, i.audience)
      where m.expire_time < now()
      order by m.kind, m.target, m.audience for update of m;
    select count(*) into removed from mark m
       join unnest(p_kinds, p_targets, p_audiences) i(kind, target, audience)
         on (m.kind, m.target, m.audience) = (i.kind, i.target, i.audience)
      where m.expire_time < now();
    if removed = 0 then
        return 0;
    end if;
    head := log_advance(removed);
    with gone as (
        delete from mark m using unnest(p_kinds, p_targets, p_audiences) i(kind, target, audience)
         where (m.kind, m.target, m.audience) = (i.kind, i.target, i.audience) and m.expire_time < now()
        returning m.kind, m.target, m.audience
    )
    insert into change (revision, kind, name)
    select head - removed + row_number() over (), 4, json_build_array(kind, target, audience)::text from gone;
    return removed;
end $$;

-- Removes the notes of changes that are older than `age`, and those of removed policies. Returns the number of removed
-- notes of changes. It moves the floor of the log up to the latest of them: a reader below the floor loads all tables
-- again. A log that was written elsewhere keeps its notes: its floor cannot be moved. Locks: tables, the head.
create function purge_changes(age interval) returns bigint
language plpgsql as $$
declare purged bigint;
begin
    lock table only removed_policy, only change in row exclusive mode;
    if not exists (select from log_head where log_is_here(log_head, log_head.xmin)) then
        return 0;
    end if;
    update log_head set floor = old.revision, written_by = pg_current_xact_id()
      from (select max(revision) as revision from change where change_time < now() - age) old
     where floor < old.revision;
    delete from removed_policy where remove_time < now() - age;
    delete from change where change_time < now() - age;
    get diagnostics purged = row_count;
    return purged;
end $$;

-- Acknowledges the revision that a registration has applied. Returns nothing. Its commit waits for neither disk nor
-- standby: a lost acknowledgement only understates (docs/internals/protocol.md, "The barrier"). It locks the row of the
-- registration, and not the head.
create function acknowledge(replica_id uuid, applied bigint) returns void
language plpgsql as $$
begin
    perform set_config('synchronous_commit', 'off', true);
    update replica_ack set revision = applied where id = replica_id and revision < applied;
end $$;
