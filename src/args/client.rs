//! `jeton client`: one verb works on the database, the others call a server.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::args::DatabaseArgs;
use jeton_cli::ClientAdminCommand;

/// The verbs of `jeton client`.
#[derive(Subcommand, Debug)]
pub enum ClientVerb {
    /// On the database: register the first administrator, and print its API key once. If standard output cannot be
    /// written, the key is in ./bootstrap.key
    Bootstrap(BootstrapArgs),
    /// The verbs that call a server.
    #[command(flatten)]
    Remote(ClientAdminCommand),
}

/// Flags of `jeton client bootstrap`.
#[derive(Args, Debug)]
pub struct BootstrapArgs {
    /// The client's name
    #[arg(long)]
    pub client_id: String,
    /// The database.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// The master key of the servers: nobody can register a client without it
    #[arg(long, env = "JETON_MASTER_KEY_FILE")]
    pub master_key_file: PathBuf,
}
