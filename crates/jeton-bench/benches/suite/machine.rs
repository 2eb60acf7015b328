//! The machine of the measurements.

use std::{fs, num::NonZero};

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

pub async fn describe(url: &str) -> Value {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let mut settings = serde_json::Map::new();
    for name in ["server_version", "fsync", "synchronous_commit", "shared_buffers"] {
        let show = sqlx::query_scalar::<_, String>(AssertSqlSafe(format!("show {name}")));
        settings.insert(name.into(), show.fetch_one(&mut connection).await.unwrap().into());
    }
    let system = rustix::system::uname();
    json!({
        "cpu": line("/proc/cpuinfo", "model name"),
        "cores": std::thread::available_parallelism().map_or(0, NonZero::get),
        "kernel": format!("{} {}", system.sysname().to_string_lossy(), system.release().to_string_lossy()),
        "memory": line("/proc/meminfo", "MemTotal"),
        "postgres": settings,
        "version": env!("CARGO_PKG_VERSION"),
        "profile": if cfg!(debug_assertions) { "debug" } else { "release" },
        "time": jeton_state::clock::Clock::system().now().to_string(),
    })
}

/// The value after a name in a file.
fn line(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_default().trim_start_matches([' ', '\t', ':']).to_owned()
}
