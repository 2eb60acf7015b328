//! The verbs on the database, and its address.

use clap::{Args, Subcommand};

/// The verbs of `jeton migrate`.
#[derive(Subcommand, Debug)]
pub enum MigrateCommand {
    /// Apply missing migrations
    Up(DatabaseArgs),
    /// Show each migration, and whether it is applied; exit 3 if one is missing
    Status(DatabaseArgs),
}

/// The address of the database.
#[derive(Args, Debug)]
pub struct DatabaseArgs {
    /// <postgres://user:password@host/database?sslmode=verify-full>
    #[arg(long, env = "JETON_DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
}
