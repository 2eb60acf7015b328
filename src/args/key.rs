//! `jeton key`, and the schedule by which `jeton serve` rotates keys.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, de::Error};

use crate::args::DatabaseArgs;
use jeton_cli::{KeyClientCommand, parse_duration};

use crate::replica::Schedule;

/// The verbs of `jeton key`.
#[derive(Subcommand, Debug)]
pub enum KeyCommand {
    /// Move a signing key here: from another jeton, or after a disaster (on the database)
    Import(ImportArgs),
    /// Seal every key with another master key (on the database)
    Reseal(ResealArgs),
    /// The verbs that call a server.
    #[command(flatten)]
    Remote(KeyClientCommand),
}

/// Flags of `jeton key import`.
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// The private key: PEM, PKCS#8, P-256 or Ed25519
    #[arg(long)]
    pub file: PathBuf,
    /// `active` signs at once, and retires the active key of its algorithm; `retired` only verifies
    #[arg(long)]
    pub state: ImportState,
    /// The database.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// The master key that seals the keys there
    #[arg(long, env = "JETON_MASTER_KEY_FILE")]
    pub master_key_file: PathBuf,
}

/// The state in which a key is imported.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum ImportState {
    /// Signs at once.
    Active,
    /// Only verifies.
    Retired,
}

/// Flags of `jeton key reseal`.
#[derive(Args, Debug)]
pub struct ResealArgs {
    /// The database.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// The master key that seals the keys now
    #[arg(long, env = "JETON_MASTER_KEY_FILE")]
    pub master_key_file: PathBuf,
    /// The master key that will seal them
    #[arg(long, env = "JETON_NEW_MASTER_KEY_FILE")]
    pub new_master_key_file: PathBuf,
}

/// A duration in the file, as on the command line: `30d`.
pub(super) fn duration_in_file<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SignedDuration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).map(Some).map_err(D::Error::custom)
}

/// The schedule of rotations: the period, and the time of publication before a key signs.
pub(super) fn schedule(
    every: Option<SignedDuration>,
    ahead: Option<SignedDuration>,
) -> Result<Schedule, &'static str> {
    let default = Schedule::default();
    let seconds = |given: Option<SignedDuration>, default_s| given.map_or(default_s, |given| given.as_secs());
    Schedule::new(seconds(every, default.every_s()), seconds(ahead, default.ahead_s()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_the_file_are_those_of_the_command_line() {
        let of = |text: &str| toml::from_str::<crate::args::ServeArgs>(text);
        let args = of("rotate_keys_every = '7d'").ok();
        assert!(args.is_some_and(|args| args.rotate_keys_every == Some(SignedDuration::from_hours(168))));
        for text in
            ["publish_keys_ahead = 3600", "publish_keys_ahead = '3600'", "publish_keys_ahead = 'soon'"]
        {
            assert!(of(text).is_err(), "{text}");
        }
    }

    #[test]
    fn c1_a_schedule_that_cannot_be_kept_is_refused() {
        let of = |every: Option<&str>, ahead: Option<&str>| {
            let duration = |text: Option<&str>| text.map(parse_duration).transpose().ok().flatten();
            schedule(duration(every), duration(ahead))
        };
        assert_eq!(of(None, None).ok(), Some(Schedule::default()));
        assert_eq!(of(Some("7d"), Some("20m")).ok(), Schedule::new(604_800, 1_200).ok());
        for (every, ahead) in
            [(Some("1h"), None), (Some("1h"), Some("2h")), (None, Some("0s")), (Some("2w"), Some("8d"))]
        {
            assert!(of(every, ahead).is_err(), "{every:?} {ahead:?}");
        }
    }
}
