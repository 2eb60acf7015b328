//! Log lines: their destination, their format, the replica's name in them, and limits of their number.

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

/// The reason why a filter is refused.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// A word that is neither a level nor gives a target a level: taken as a target, it would silence everything else.
    #[error(
        "`{0}` is no level: it is off, error, warn, info, debug or trace, or TARGET=LEVEL, with commas between"
    )]
    Level(String),
    /// A filter that cannot be parsed.
    #[error(transparent)]
    Parse(#[from] tracing_subscriber::filter::ParseError),
}

/// Logs to stderr, panics included: text for a person's terminal, JSON for everything else. Each line names the
/// replica. `filter` is as in `RUST_LOG`, and is added to the default; a wrong one is refused.
pub fn log_to_stderr(filter: &str, replica: &str) -> Result<(), FilterError> {
    let filter = read(filter)?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    // A process that logs already continues as it does.
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
            // Only the place: a message may contain what must not be logged.
            tracing::error!(panic.place = place, "a panic");
        }));
    }
    Ok(())
}

/// Each connection would log the text with which Postgres ends it; the store logs once that the database has gone.
const NO_NOTICES: &str = "sqlx::postgres::notice=error";

/// The levels for everything that a filter does not mention: otherwise a filter for one target would silence all
/// others, including our errors.
const DEFAULT: &str = "info,sqlx=warn";

/// Checks whether a filter can be parsed.
pub fn check_filter(filter: &str) -> Result<(), FilterError> {
    read(filter).map(drop)
}

/// A filter in which every directive has a level, added to the default.
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
        // Of two directives for the same target, the later holds.
        directives.insert(0, DEFAULT);
    }
    if notices {
        directives.push(NO_NOTICES);
    }
    Ok(EnvFilter::builder().parse(directives.join(","))?)
}

/// Events, with the replica's name at the beginning of each line.
struct OfReplica<F> {
    inner: F,
    /// Stands before an event as text, or before the first member of one in JSON.
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
        // One event is one line, without characters that control a terminal.
        writeln!(writer, "{}{}", self.begin, escape(line.trim_end()))
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // Marks that change the direction of text are no control characters.
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

/// Limits the lines of one kind within some seconds, and counts those left out.
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
    /// Allows so many lines within so many seconds.
    #[must_use]
    pub const fn new(most: u32, within_s: i64) -> Self {
        let state = Mutex::new(Window { begun_s: 0, lines: 0, left_out: 0 });
        Self { most, within_s, state }
    }

    /// The number of lines left out before, if a line may be written at this second.
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
