//! `jeton client`: one verb works on the database, the others speak to a server.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::DatabaseArgs;
use crate::cli::ClientAdminCommand;

/// Of `jeton client`.
#[derive(Subcommand, Debug)]
pub enum ClientVerb {
    /// On the database: register the first client that administers, and print its API key, once
    Bootstrap(BootstrapArgs),
    /// What speaks to a server.
    #[command(flatten)]
    Remote(ClientAdminCommand),
}

/// Of `jeton client bootstrap`.
#[derive(Args, Debug)]
pub struct BootstrapArgs {
    /// Its name
    #[arg(long)]
    pub client_id: String,
    /// Where to.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// The master key of the servers: without it, nobody could register a client
    #[arg(long, env = "JETON_MASTER_KEY_FILE")]
    pub master_key_file: PathBuf,
}
