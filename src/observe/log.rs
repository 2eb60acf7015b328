//! Log lines: where they go, in which form, whose they are, and how many there may be.

use std::{
    fmt,
    io::{IsTerminal, stderr},
    panic,
    sync::{Mutex, PoisonError},
};

use tracing::{Event, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Full, Json, JsonFields, Writer},
    },
    registry::LookupSpan,
};

/// The levels of a filter.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Why a filter is refused.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// A word that names neither a level nor a level of something: as the name of a target it would silence all else.
    #[error(
        "`{0}` is no level: it is off, error, warn, info, debug or trace, or TARGET=LEVEL, with commas between"
    )]
    Level(String),
    /// What cannot be read.
    #[error(transparent)]
    Parse(#[from] tracing_subscriber::filter::ParseError),
}

/// Logs to stderr, panics included: lines of text to a person's terminal, JSON lines to everything else. Each says which
/// replica's it is. `filter` as in `RUST_LOG`, upon the default; nonsense is refused.
pub fn log_to_stderr(filter: &str, replica: &str) -> Result<(), FilterError> {
    let filter = read(filter)?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    // A process that logs already goes on as it does.
    let began = if stderr().is_terminal() {
        let of = |text: &str| escape(text);
        let whole = Format::default().with_ansi(false);
        subscriber.event_format(OfReplica { inner: whole, begin: format!("[{}] ", of(replica)) }).try_init()
    } else {
        let name = serde_json::Value::from(replica);
        let whole = Format::default().json().flatten_event(true);
        let begin = format!("\"replica\":{name},");
        subscriber.fmt_fields(JsonFields::new()).event_format(OfReplica { inner: whole, begin }).try_init()
    };
    if began.is_ok() {
        panic::set_hook(Box::new(|panicked| {
            let place = panicked.location().map(ToString::to_string).unwrap_or_default();
            // The place alone: a message may hold what must not be logged.
            tracing::error!(panic.place = place, "a panic");
        }));
    }
    Ok(())
}

/// What Postgres says as it ends a connection, each connection would log: that it has gone is said once, by the store.
const NO_NOTICES: &str = "sqlx::postgres::notice=error";

/// What is logged where a filter says no level for everything: one that names a target alone would silence all else, our
/// errors among it.
const DEFAULT: &str = "info,sqlx=warn";

/// Whether a filter can be read.
pub fn check_filter(filter: &str) -> Result<(), FilterError> {
    read(filter).map(drop)
}

/// A filter whose every directive says a level, upon the default.
fn read(filter: &str) -> Result<EnvFilter, FilterError> {
    let is_level = |word: &str| {
        LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level))
            || matches!(word.as_bytes(), [b'0'..=b'5'])
    };
    let directives = filter.split(',').map(str::trim).filter(|directive| !directive.is_empty());
    let mut directives: Vec<_> = directives.collect();
    for directive in &directives {
        if !directive.contains(['=', '[']) && !is_level(directive) {
            return Err(FilterError::Level(directive.escape_debug().to_string()));
        }
    }
    let notices = !directives.iter().any(|directive| directive.starts_with("sqlx"));
    if !directives.iter().any(|directive| is_level(directive)) {
        // Of two for the same target, the later holds.
        directives.insert(0, DEFAULT);
    }
    if notices {
        directives.push(NO_NOTICES);
    }
    Ok(EnvFilter::builder().parse(directives.join(","))?)
}

/// Events, with the replica at the beginning of each line.
struct OfReplica<F> {
    inner: F,
    /// Stands before an event of text, or before the first member of one of JSON.
    begin: String,
}

impl<S, N> FormatEvent<S, N> for OfReplica<Format<Json>>
where
    Format<Json>: FormatEvent<S, N>,
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.inner.format_event(context, Writer::new(&mut line), event)?;
        match line.strip_prefix('{') {
            Some(rest) => write!(writer, "{{{}{rest}", self.begin),
            None => writer.write_str(&line),
        }
    }
}

impl<S, N> FormatEvent<S, N> for OfReplica<Format<Full>>
where
    Format<Full>: FormatEvent<S, N>,
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.inner.format_event(context, Writer::new(&mut line), event)?;
        // One event, one line, and nothing that steers a terminal.
        writeln!(writer, "{}{}", self.begin, escape(line.trim_end()))
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // The marks that turn the direction of what follows are no control characters.
        if c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Lets so many of a kind of line through within some seconds, and counts the others.
#[derive(Debug)]
pub struct Sampled {
    most: u32,
    within_s: i64,
    state: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    begun_s: i64,
    lines: u32,
    left_out: u64,
}

impl Sampled {
    /// So many within so many seconds.
    #[must_use]
    pub const fn new(most: u32, within_s: i64) -> Self {
        let state = Mutex::new(Window { begun_s: 0, lines: 0, left_out: 0 });
        Self { most, within_s, state }
    }

    /// Whether a line goes out at this second: then how many were left out before it.
    pub fn turn(&self, now_s: i64) -> Option<u64> {
        let mut window = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now_s.saturating_sub(window.begun_s) >= self.within_s {
            window.begun_s = now_s;
            window.lines = 0;
        }
        if window.lines >= self.most {
            window.left_out = window.left_out.saturating_add(1);
            return None;
        }
        window.lines = window.lines.saturating_add(1);
        Some(std::mem::take(&mut window.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_says_a_level() {
        for good in [
            "info",
            "INFO",
            "info,sqlx=warn",
            "off",
            "jeton=debug",
            "",
            "warn, hyper=off",
            "jeton[call]=trace",
            "3",
        ] {
            assert!(read(good).is_ok(), "{good}");
        }
        for bad in ["warning", "jeton", "info,loud", "verbose", "jeton=loud", "6"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn e19_a_filter_for_a_target_leaves_the_rest_as_it_is() {
        for (filter, whole) in [
            ("", "sqlx=warn,info"),
            (" , ", "sqlx=warn,info"),
            ("sqlx=error", "sqlx=error,info"),
            ("hyper=debug", "hyper=debug,sqlx=warn,info"),
            ("jeton[call]=trace", "jeton[call]=trace,sqlx=warn,info"),
            ("error", "error"),
            ("debug,hyper=off", "hyper=off,debug"),
            ("off", "off"),
        ] {
            let directives = |filter: &str| {
                let all = filter.split(',').filter(|directive| *directive != NO_NOTICES);
                let mut all: Vec<_> = all.map(str::to_owned).collect();
                all.sort_unstable();
                all
            };
            let read = read(filter).map(|read| directives(&read.to_string())).unwrap_or_default();
            assert_eq!(read, directives(whole), "{filter:?}");
        }
    }

    #[test]
    fn lines_beyond_the_limit_are_counted() {
        let lines = Sampled::new(2, 10);
        assert_eq!([100, 101, 102, 103].map(|now_s| lines.turn(now_s)), [Some(0), Some(0), None, None]);
        assert_eq!([110, 111, 112].map(|now_s| lines.turn(now_s)), [Some(2), Some(0), None]);
        assert_eq!(lines.turn(1_000), Some(1));
    }

    #[test]
    fn e2_a_line_stays_a_line() {
        assert_eq!(escape("a\nb\u{1b}[31m\u{202e}c"), "a\\nb\\u{1b}[31m\\u{202e}c");
    }
}
