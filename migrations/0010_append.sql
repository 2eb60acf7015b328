-- One batch of revocations. Item i acts only if this call inserts its audit row, so a batch may be sent again. kind: 0
-- nothing new (the head moves nevertheless), 1 jti, 2 session, 3 subject, 4 client, 5 key. The audit rows continue a
-- chain from `first_number` on. Counts revocations by a bare jti: by a token's id alone, so that the audit row knows no
-- client; only new rows count. Returns the head's revision and the time of the commit.
--
-- Written as separate statements, of which a batch of ids needs three, each with a plan that fits every batch: most
-- batches contain only ids, and planning was most of their cost. Entries that were appended before count as nothing
-- new. The audit row of each item has its outcome and the whole target, also if nothing new was written.
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
    lock table only audit_event, only revocation, only mark, only signing_key, only change, only bare_revocations
        in row exclusive mode;
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
             where kind >= 3
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
end $$;
