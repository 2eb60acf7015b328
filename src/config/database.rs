//! The verbs on the database, and where it is.

use clap::{Args, Subcommand};

/// Of `jeton migrate`.
#[derive(Subcommand, Debug)]
pub enum MigrateCommand {
    /// Apply what is missing
    Up(DatabaseArgs),
    /// Show each migration, and whether it is applied; exit 3 when one is missing
    Status(DatabaseArgs),
}

/// Where the database is.
#[derive(Args, Debug)]
pub struct DatabaseArgs {
    /// <postgres://user:password@host/database?sslmode=verify-full>
    #[arg(long, env = "JETON_DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
}

/// Of `jeton epoch`.
#[derive(Subcommand, Debug)]
pub enum EpochCommand {
    /// Begin a new epoch of the log, so that servers serve from this database
    Bump(BumpArgs),
}

/// Of `jeton epoch bump`.
#[derive(Args, Debug)]
#[command(group(clap::ArgGroup::new("keys").required(true).args(["revoke_keys", "keep_keys"])))]
pub struct BumpArgs {
    /// After a restore: what was revoked since the backup is unknown, so every key is revoked, every session
    /// ended, and the clients are listed for review
    #[arg(long)]
    pub revoke_keys: bool,
    /// After a planned move: you vouch that nothing was lost
    #[arg(long)]
    pub keep_keys: bool,
    /// Where.
    #[command(flatten)]
    pub database: DatabaseArgs,
}
