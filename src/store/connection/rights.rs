//! The rights of the role and the abilities of the database: checked before anything is written.

use crate::store::{Store, StoreError};

/// The tables, and the rights that a server needs on each. Partitions follow their parent.
const TABLES: [(&str, &str); 24] = [
    ("_sqlx_migrations", "SELECT"),
    ("api_key", ROWS),
    ("audit_event", "SELECT,INSERT"),
    ("audit_event_default", "SELECT"),
    ("bare_revocations", ROWS),
    ("bulk_chunk", "SELECT,INSERT,DELETE"),
    ("change", ROWS),
    ("client", ROWS),
    ("client_certificate", ROWS),
    ("fleet_size", ROWS),
    ("lock", ROWS),
    ("log_head", "SELECT,UPDATE"),
    ("mac_key", ROWS),
    ("mark", ROWS),
    ("policy", ROWS),
    ("removed_policy", ROWS),
    ("replica", ROWS),
    ("replica_ack", ROWS),
    ("revocation", "SELECT,INSERT"),
    ("revocation_default", "SELECT"),
    ("session", "SELECT,INSERT,UPDATE"),
    ("session_default", "SELECT"),
    ("signing_key", ROWS),
    ("trusted_issuer", ROWS),
];
const ROWS: &str = "SELECT,INSERT,UPDATE,DELETE";

/// Functions that run as the owner of the tables, and that not everybody may call.
const AS_OWNER: [&str; 2] = ["make_partition(text,bigint)", "drop_partition(text)"];

/// Functions that the migrations and the log need: a service that only speaks Postgres' protocol may lack them.
const FUNCTIONS: [&str; 5] = [
    "pg_walfile_name(pg_lsn)",
    "pg_current_wal_insert_lsn()",
    "pg_control_system()",
    "pg_notify(text,text)",
    "pg_postmaster_start_time()",
];

impl Store {
    /// Refuses a role without the rights that a server needs. Writes nothing.
    pub async fn check_rights(&self) -> Result<(), StoreError> {
        let (tables, rights): (Vec<_>, Vec<_>) =
            TABLES.into_iter().map(|(table, it)| (table.to_owned(), it.to_owned())).unzip();
        let as_owner = AS_OWNER.map(str::to_owned);
        let (role, lacking) = self
            .run(async |connection| {
                let row = sqlx::query!(
                    r#"select current_user::text as "role!",
                              array(select p || ' on ' || t
                                      from unnest($1::text[], $2::text[]) wanted(t, ps), unnest(string_to_array(ps, ',')) p
                                     where to_regclass(t) is not null and not has_table_privilege(to_regclass(t), p)
                                    union all
                                    select 'EXECUTE on ' || f from unnest($3::text[]) f
                                     where to_regprocedure(f) is not null
                                       and not has_function_privilege(to_regprocedure(f), 'EXECUTE')
                                    union all
                                    select 'USAGE on schema ' || n.nspname
                                      from unnest(string_to_array(current_setting('search_path'), ',')) named(it)
                                      join pg_namespace n on n.nspname = trim('" ' from it)
                                     where not has_schema_privilege(n.oid, 'USAGE')
                                    order by 1) as "lacking!""#,
                    &tables,
                    &rights,
                    &as_owner
                )
                .fetch_one(connection)
                .await?;
                Ok((row.role, row.lacking))
            })
            .await?;
        let Some(first) = lacking.first() else { return Ok(()) };
        let more = match lacking.len().saturating_sub(1) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Err(self.connector.here(StoreError::unfit(format!(
            "the role {role} lacks {first}{more}: docs/operating.md has the grants"
        ))))
    }

    /// Refuses a database that cannot run the migrations. Writes nothing. Opening a connection already checks that it
    /// is Postgres, new enough, encoded in UTF-8 and writable.
    pub async fn check_before_migrating(&self) -> Result<(), StoreError> {
        let functions = FUNCTIONS.map(str::to_owned).to_vec();
        let lacking = self
            .run(async |connection| {
                let row = sqlx::query!(
                    r#"select current_user::text as "role!", current_database()::text as "database!",
                              current_schema()::text as schema,
                              coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) as "may_create!",
                              exists (select from pg_language where lanname = 'plpgsql') as "plpgsql!",
                              (select f from unnest($1::text[]) f
                                where to_regprocedure(f) is null or not has_function_privilege(to_regprocedure(f), 'EXECUTE')
                                limit 1) as function"#,
                    &functions
                )
                .fetch_one(connection)
                .await?;
                Ok(match row.schema {
                    None => Some("the search_path of the role names no schema that is there".to_owned()),
                    Some(schema) if !row.may_create => {
                        Some(format!("the role {} may not create tables in schema {schema}", row.role))
                    }
                    Some(_) if !row.plpgsql => Some("it lacks the language plpgsql".to_owned()),
                    Some(_) => row.function.map(|function| format!("it lacks {function}, or the role may not call it")),
                })
            })
            .await?;
        lacking.map_or(Ok(()), |what| Err(self.connector.here(StoreError::unfit(what))))
    }
}
