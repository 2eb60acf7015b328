//! `jeton audit`: one verb works on the database, the other calls a server.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::args::DatabaseArgs;
use jeton_cli::AuditCommand;

/// The verbs of `jeton audit`.
#[derive(Subcommand, Debug)]
pub enum AuditVerb {
    /// On the database: name each row of the trail that was changed, left out or added; exit 3 if there is one
    Verify(VerifyArgs),
    /// The verbs that call a server.
    #[command(flatten)]
    Remote(AuditCommand),
}

/// Flags of `jeton audit verify`.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// Logs of servers: a chain that ends before a head in them was cut off
    #[arg(long, value_name = "FILE")]
    pub heads: Vec<PathBuf>,
    /// The database.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// The master key of that database
    #[arg(long, env = "JETON_MASTER_KEY_FILE")]
    pub master_key_file: PathBuf,
    /// Earlier master keys: rows written under them are good, too
    #[arg(long, value_name = "FILE", env = "JETON_PREVIOUS_MASTER_KEY_FILE")]
    pub previous_master_key_file: Vec<PathBuf>,
}
