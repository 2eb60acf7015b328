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
