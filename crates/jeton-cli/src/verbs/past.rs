//! Flags that name an instant in the past, in one grammar for every verb: `2h`, `2h ago`, or an RFC 3339 time.

use jiff::{SignedDuration, Timestamp};

use crate::{invocation::Cli, term::exit::Failure, term::time};

/// Lists come newest first, by clocks of several servers: rows that are older by more than this are followed by older
/// ones alone.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(5);

/// The instant that a flag names.
pub fn instant(cli: &Cli<'_>, flag: &str, text: Option<&str>) -> Result<Option<Timestamp>, Failure> {
    let parsed = text.map(|text| time::parse_past(text, (cli.env.now)())).transpose();
    parsed.map_err(|error| Failure::Usage(format!("{flag}: {error}.")))
}

/// `--after` of a list that the server cannot filter so: rows are filtered as their pages come.
#[derive(Clone, Copy, Debug)]
pub struct After(Option<Timestamp>);

impl After {
    /// The filter that `--after` names.
    pub fn of(cli: &Cli<'_>, text: Option<&str>) -> Result<Self, Failure> {
        instant(cli, "--after", text).map(Self)
    }

    /// Returns whether it filters at all.
    pub fn is_set(self) -> bool {
        self.0.is_some()
    }

    /// Returns whether a row of this time is shown.
    pub fn shows(self, at: Option<&prost_types::Timestamp>) -> bool {
        match (self.0, at.and_then(time::from_wire_timestamp)) {
            (Some(after), Some(at)) => at >= after,
            (Some(_), None) => false,
            (None, _) => true,
        }
    }

    /// Returns whether no row behind one of this time is shown, in a list that comes newest first.
    pub fn ends_before(self, at: Option<&prost_types::Timestamp>) -> bool {
        match (self.0, at.and_then(time::from_wire_timestamp)) {
            (Some(after), Some(at)) => at.saturating_add(CLOCKS_DIFFER).is_ok_and(|at| at < after),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e25_rows_are_shown_from_the_instant_on_and_a_list_ends_behind_it() {
        let at = |seconds| prost_types::Timestamp { seconds, nanos: 0 };
        let after = After(Some(Timestamp::constant(10_000, 0)));
        assert!(after.shows(Some(&at(10_000))) && !after.shows(Some(&at(9_999))) && !after.shows(None));
        assert!(!after.ends_before(Some(&at(9_800))) && after.ends_before(Some(&at(9_600))));
        let all = After(None);
        assert!(all.shows(None) && all.shows(Some(&at(0))) && !all.ends_before(Some(&at(0))));
    }
}
