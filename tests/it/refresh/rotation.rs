//! R1, R8: rotation, its grace, and its cost.

use std::{collections::HashSet, fs, path::PathBuf, time::Duration};

use jeton::proto::v1::TokenStatus;
use sqlx::AssertSqlSafe;
use tokio::task::JoinSet;

use super::{LONGEST_S, grace, refresh_token};
use crate::world::{AS_JETON, Database, Refused, Server, ServerOptions, World, steady, until, until_within};

#[tokio::test]
async fn r1_of_64_concurrent_refreshes_one_advances_and_all_get_one_successor_byte_for_byte() {
    let world = World::start().await;
    grace(&world, "api", LONGEST_S).await;
    let mut api = world.api("service").await;
    let first = api.session("user:7", "api").await;
    let mut tasks = JoinSet::new();
    for _ in 0..64 {
        let (mut api, token) = (api.clone(), refresh_token(&first).to_owned());
        tasks.spawn(async move { api.refresh(&token).await.unwrap() });
    }
    let answers = tasks.join_all().await;
    let successors: HashSet<_> = answers.iter().map(refresh_token).collect();
    let jtis: HashSet<_> = answers.iter().map(|token| token.jti.clone()).collect();
    let texts: HashSet<_> = answers.iter().map(|token| token.access_token.clone()).collect();
    assert_eq!((successors.len(), jtis.len(), texts.len()), (1, 64, 64));
    assert_ne!(refresh_token(&answers[0]), refresh_token(&first));
    assert_eq!(world.number("select generation from session").await, 1, "advanced once");
    for token in &answers {
        assert_eq!(token.session_id, first.session_id);
        assert_eq!(api.status(&token.access_token, "api").await, TokenStatus::Active);
    }
    let replays =
        format!("action = 'RefreshReplayed' and outcome = 'OK' and session_id = '{}'", first.session_id);
    assert_eq!(world.audited(&replays).await, 63, "each replay is audited");
    assert!((world.metric(r#"jeton_refreshes_total{outcome="ROTATED"}"#).await - 1.0).abs() < 0.1);
    assert!((world.metric(r#"jeton_refreshes_total{outcome="REPLAYED"}"#).await - 63.0).abs() < 0.1);
    let next = api.refresh(refresh_token(&answers[0])).await.unwrap();
    assert!(!successors.contains(refresh_token(&next)));
}

#[tokio::test]
async fn r1_the_grace_covers_the_immediate_predecessor_only() {
    steady(async || {
        let world = World::start().await;
        grace(&world, "api", LONGEST_S).await;
        let mut api = world.api("service").await;
        let first = api.session("user:7", "api").await;
        let second = api.refresh(refresh_token(&first)).await.unwrap();
        let again = api.refresh(refresh_token(&first)).await.unwrap();
        assert_eq!(refresh_token(&again), refresh_token(&second), "a lost answer can be asked for again");
        let third = api.refresh(refresh_token(&second)).await.unwrap();
        let again = api.refresh(refresh_token(&second)).await.unwrap();
        assert_eq!(refresh_token(&again), refresh_token(&third));
        let refused = api.refresh(refresh_token(&first)).await.refused();
        assert_eq!(
            refused.reason, "REFRESH_TOKEN_REUSED",
            "older than the predecessor, though within its time"
        );
    })
    .await;
}

#[tokio::test]
async fn r1_a_grace_of_zero_makes_every_second_presentation_reuse() {
    steady(async || {
        let world = World::start().await;
        grace(&world, "strict", 0).await;
        let mut api = world.api("service").await;
        let first = api.session("user:7", "strict").await;
        api.refresh(refresh_token(&first)).await.unwrap();
        assert_eq!(api.refresh(refresh_token(&first)).await.refused().reason, "REFRESH_TOKEN_REUSED");
    })
    .await;
}

#[tokio::test]
async fn r1_the_grace_ends_and_counts_from_the_latest_of_rotation_and_epoch() {
    steady(async || {
        let world = World::start().await;
        grace(&world, "api", 1).await;
        let mut api = world.api("service").await;
        let first = api.session("user:7", "api").await;
        let second = api.refresh(refresh_token(&first)).await.unwrap();
        until("the grace has passed", async || {
            world
                .number(
                    "select (greatest(refresh_time, pg_postmaster_start_time()) < now() - interval '1.1 seconds')::int::bigint
                       from session",
                )
                .await
                == 1
        })
        .await;
        // As if a new epoch had begun since: an outage is no reuse.
        world.sql(&format!("update log_head set epoch_time = now() + interval '1 hour', {AS_JETON}")).await;
        let again = api.refresh(refresh_token(&first)).await.unwrap();
        assert_eq!(refresh_token(&again), refresh_token(&second));
        world.sql(&format!("update log_head set epoch_time = now() - interval '1 hour', {AS_JETON}")).await;
        assert_eq!(api.refresh(refresh_token(&first)).await.refused().reason, "REFRESH_TOKEN_REUSED");
    })
    .await;
}

/// The statements that Postgres has logged since the last look.
struct Asked {
    log: PathBuf,
    seen: usize,
}

impl Asked {
    /// By the connections of this database that say their names so.
    async fn by(&mut self, database: &Database, names: &str) -> Vec<String> {
        let mut connection = database.connect().await;
        let pids = format!(
            "select pid from pg_stat_activity where datname = current_database() and application_name in ({names})"
        );
        let pids: Vec<i32> =
            sqlx::query_scalar(AssertSqlSafe(pids)).fetch_all(&mut connection).await.unwrap();
        let log = fs::read(&self.log).unwrap();
        let text = String::from_utf8_lossy(&log[self.seen..]).into_owned();
        let asked = |line: &&str| {
            let by_one = pids.iter().any(|pid| line.contains(&format!(" [{pid}] LOG:  ")));
            by_one && (line.contains("LOG:  execute ") || line.contains("LOG:  statement: "))
        };
        text.lines().filter(asked).map(str::to_owned).collect()
    }

    fn forget(&mut self) {
        self.seen = fs::read(&self.log).unwrap().len();
    }
}

#[tokio::test]
async fn r8_a_refresh_that_succeeds_is_one_statement_of_one_round_trip() {
    const REFRESHES: usize = 20;
    let database = Database::create().await;
    database.execute(&format!("alter database {} set log_statement = 'all'", database.name)).await;
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&database.url, directory.path(), &ServerOptions::default()).await;
    let world = World { database, server, directory };
    let data = "select setting from pg_settings where name = 'data_directory'";
    let data: String = sqlx::query_scalar(data).fetch_one(&mut world.database.connect().await).await.unwrap();
    let mut asked = Asked { log: PathBuf::from(data).parent().unwrap().join("log"), seen: 0 };

    let mut api = world.api("service").await;
    let mut token = api.session("user:7", "api").await;
    // The first one connects.
    token = api.refresh(refresh_token(&token)).await.unwrap();
    asked.forget();
    for _ in 0..REFRESHES {
        token = api.refresh(refresh_token(&token)).await.unwrap();
    }
    let refreshing = asked.by(&world.database, "'jeton refresh'").await;
    assert_eq!(refreshing.len(), REFRESHES, "{refreshing:#?}");
    assert!(refreshing.iter().all(|line| line.contains("with hit as materialized")), "{refreshing:#?}");
    // Nor does it send statements elsewhere: other statements are background work, which goes on without calls.
    let beside = asked.by(&world.database, "'jeton', 'jeton flusher'").await;
    assert!(beside.len() < REFRESHES / 2, "{beside:#?}");
}

#[tokio::test]
async fn r8_a_refresh_is_a_hot_update_of_one_session_and_of_many() {
    const SESSIONS: usize = 50;
    let world = World::start().await;
    let mut api = world.api("service").await;
    let mut sessions = Vec::new();
    for user in 0..SESSIONS {
        sessions.push(api.session(&format!("user:{user}"), "api").await);
    }
    let sum = async |column: &str| {
        let sql =
            format!("select sum({column})::bigint from pg_stat_user_tables where relname like 'session\\_%'");
        world.number(&sql).await
    };
    for (of, times) in [(1, 200), (SESSIONS, 4)] {
        // Postgres gives room back only where no transaction of the whole cluster is old: while another
        // test copies its database it cannot. So a batch may fail, but not every one.
        let mut shares = Vec::new();
        for _batch in 0..5 {
            let (all, hot) = (sum("n_tup_upd").await, sum("n_tup_hot_upd").await);
            for _ in 0..times {
                for token in sessions.iter_mut().take(of) {
                    *token = api.refresh(refresh_token(token)).await.unwrap();
                }
            }
            let refreshed = (of * times) as i64;
            // Postgres' own count comes up to ten seconds late.
            until_within(Duration::from_mins(1), "the statistics have arrived", async || {
                sum("n_tup_upd").await >= all + refreshed
            })
            .await;
            shares.push((sum("n_tup_hot_upd").await - hot) * 100 / refreshed);
            if shares.last() >= Some(&90) {
                break;
            }
        }
        assert!(shares.last() >= Some(&90), "nine of ten refreshes are HOT updates: {shares:?} %");
    }
    let rows = world.number("select count(*) from session").await;
    assert_eq!(rows, SESSIONS as i64, "a session is one row, however often refreshed");
}
