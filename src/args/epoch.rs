//! `jeton epoch`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::args::DatabaseArgs;

/// The verbs of `jeton epoch`.
#[derive(Subcommand, Debug)]
pub enum EpochCommand {
    /// Begin a new epoch of the log, so that servers serve from this database
    Bump(BumpArgs),
}

/// Flags of `jeton epoch bump`.
#[derive(Args, Debug)]
#[command(group(clap::ArgGroup::new("keys").required(true).args(["revoke_keys", "keep_keys"])))]
pub struct BumpArgs {
    /// After a restore: revocations since the backup are lost, so every key is revoked, every session is ended, and the
    /// clients are listed for review
    #[arg(long)]
    pub revoke_keys: bool,
    /// After a planned move: you vouch that nothing was lost
    #[arg(long)]
    pub keep_keys: bool,
    /// After the loss of the master key: you vouch for the clients and API keys as they are in the database, and for
    /// the public halves of keys; they are then under the new master key
    #[arg(long, requires = "revoke_keys")]
    pub vouch_for_clients: bool,
    /// The database.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// The master key of that database
    #[arg(long, env = "JETON_MASTER_KEY_FILE")]
    pub master_key_file: PathBuf,
}
