//! Look-ups of a test behind the server's back: its database, and its counts.

use sqlx::Executor;

use super::{World, until};

impl World {
    /// Runs statements.
    pub async fn sql(&self, sql: &str) {
        self.database.execute(sql).await;
    }

    /// The one number that a query answers.
    pub async fn number(&self, sql: &str) -> i64 {
        self.database.number(sql).await
    }

    /// The number of refresh statements that wait for a lock.
    pub async fn refreshes_that_wait(&self) -> i64 {
        self.number(
            "select count(*) from pg_stat_activity where application_name = 'jeton refresh'
              and wait_event_type = 'Lock' and datname = current_database()",
        )
        .await
    }

    /// Makes calls that change the log meet: it is held until so many of them wait for it, and let go.
    pub async fn at_once<T>(&self, count: i64, calls: impl Future<Output = T>) -> T {
        let mut holder = self.database.connect().await;
        holder.execute("begin; select from log_head for update").await.unwrap();
        let waiting = "select count(*) from pg_stat_activity where application_name = 'jeton'
                        and wait_event_type = 'Lock' and datname = current_database()";
        let meeting = async {
            until("all of them wait for the log", async || self.number(waiting).await == count).await;
            holder.execute("commit").await.unwrap();
        };
        tokio::join!(calls, meeting).0
    }

    /// The number of audit rows with this condition.
    pub async fn audited(&self, condition: &str) -> i64 {
        self.number(&format!("select count(*) from audit_event where {condition}")).await
    }

    /// The value of a series, such as `jeton_refreshes_total{outcome="REUSED"}`.
    pub async fn metric(&self, series: &str) -> f64 {
        let (_, text) = self.server.ops("/metrics").await;
        let value = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
        text.lines().find_map(value).unwrap_or_else(|| panic!("no {series} in {text}"))
    }
}
