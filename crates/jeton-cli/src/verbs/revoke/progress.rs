//! How far a revocation of many is: a bar for people, or lines of JSON for machines.

use std::{collections::BTreeMap, io::IsTerminal as _, time::Duration};

use clap::ValueEnum;
use serde_json::json;
use tokio::time::Instant;

use crate::{invocation::Cli, term::output};

/// The width of the bar.
const CELLS: usize = 24;

/// `--progress`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// A bar if standard error is a terminal, otherwise nothing.
    #[default]
    Auto,
    /// A bar.
    Bar,
    /// A line of JSON for each chunk.
    Json,
    /// Nothing.
    None,
}

/// Shows how far it is.
pub struct Meter {
    how: Progress,
    total: usize,
    start: Instant,
    /// At the start of this run, of which it knows the speed.
    before: Option<usize>,
}

impl Meter {
    /// For so many targets.
    pub fn new(cli: &Cli<'_>, how: Progress, total: usize) -> Self {
        let can_draw = std::io::stderr().is_terminal() && !cli.globals.no_input;
        let how = match how {
            Progress::Auto if can_draw => Progress::Bar,
            Progress::Auto => Progress::None,
            Progress::Bar | Progress::Json | Progress::None => how,
        };
        Self { how, total, start: Instant::now(), before: None }
    }

    /// So many are committed.
    pub fn show(&mut self, bulk_id: &str, done: usize, outcomes: &BTreeMap<String, i64>) {
        let before = *self.before.get_or_insert(done);
        match self.how {
            Progress::Bar => output::draw(&self.bar(done, before)),
            Progress::Json => output::talk(
                &json!({ "bulkId": bulk_id, "done": done, "targets": self.total, "outcomes": outcomes })
                    .to_string(),
            ),
            Progress::Auto | Progress::None => {}
        }
    }

    /// The connection broke, and is made again.
    pub fn waiting(&self, bulk_id: &str, why: &str) {
        match self.how {
            Progress::Json => output::talk(&json!({ "bulkId": bulk_id, "waiting": why }).to_string()),
            Progress::Bar | Progress::Auto | Progress::None => {
                output::talk(&format!("{why} Going on as soon as it answers."));
            }
        }
    }

    fn bar(&self, done: usize, before: usize) -> String {
        let share = |of: usize| of.saturating_mul(done).checked_div(self.total).unwrap_or(of);
        let full = share(CELLS).min(CELLS);
        let bar = format!("{}{}", "#".repeat(full), "-".repeat(CELLS.saturating_sub(full)));
        let rest = left(self.start.elapsed(), done.saturating_sub(before), self.total.saturating_sub(done));
        format!("[{bar}] {done} of {} revoked{rest}", self.total)
    }
}

/// ` · 12 s left`, after a first piece.
fn left(elapsed: Duration, done: usize, rest: usize) -> String {
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    let (done, rest) = (u64::try_from(done).unwrap_or(0), u64::try_from(rest).unwrap_or(0));
    match millis.saturating_mul(rest).checked_div(done) {
        Some(left) if left >= 1_000 => format!(" · {} s left", left / 1_000),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_grows_and_says_how_long_it_takes() {
        let meter = Meter { how: Progress::Bar, total: 100, start: Instant::now(), before: None };
        assert_eq!(meter.bar(0, 0), format!("[{}] 0 of 100 revoked", "-".repeat(24)));
        assert!(meter.bar(50, 0).starts_with("[############------------] 50 of 100 revoked"));
        assert_eq!(left(Duration::from_secs(10), 50, 60), " · 12 s left");
        assert_eq!(left(Duration::from_secs(10), 0, 60), "");
    }
}
