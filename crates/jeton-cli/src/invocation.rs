//! What a verb is run with: global flags, the environment, and the destination of its output.

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};

use crate::{
    remote::endpoint::{Endpoints, EndpointsParser},
    term::{
        output::{Color, Format, Output},
        time,
    },
};

/// Flags that every client verb takes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// The context to use; without one, ./.jeton/dev.json if it exists
    #[arg(long, global = true, hide_short_help = true, env = "JETON_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,
    /// The public listener: https://host:port, or http:// on loopback or within a mesh; several by commas: the first that
    /// answers is used
    #[arg(long, global = true, hide_short_help = true, env = "JETON_ENDPOINT", value_name = "URL", value_parser = EndpointsParser)]
    pub endpoint: Option<Endpoints>,
    /// The admin listener, a URL of the same form, or several
    #[arg(long, global = true, hide_short_help = true, env = "JETON_ADMIN_ENDPOINT", value_name = "URL", value_parser = EndpointsParser)]
    pub admin_endpoint: Option<Endpoints>,
    /// The file that holds the API key
    #[arg(long, global = true, hide_short_help = true, env = "JETON_API_KEY_FILE", value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// The authorities of the server's certificate: PEM [default: those of the system]
    #[arg(long, global = true, hide_short_help = true, env = "JETON_TLS_CA", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// A client certificate, in place of an API key: PEM
    #[arg(
        long,
        visible_alias = "client-cert",
        global = true,
        hide_short_help = true,
        env = "JETON_CLIENT_CERT",
        value_name = "FILE"
    )]
    pub tls_cert: Option<PathBuf>,
    /// The private key of the client certificate: PEM
    #[arg(
        long,
        visible_alias = "client-key",
        global = true,
        hide_short_help = true,
        env = "JETON_CLIENT_KEY",
        value_name = "FILE"
    )]
    pub tls_key: Option<PathBuf>,
    /// The form of the answer [default: table, unless the verb says otherwise]
    #[arg(long, global = true, hide_short_help = true, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// The longest wait for an answer [default: 10s]
    #[arg(long, global = true, hide_short_help = true, value_name = "DURATION", value_parser = time::parse_duration)]
    pub timeout: Option<SignedDuration>,
    /// Keep trying for so long while no server answers or the database is away, as in 30m. Calls are repeated of which a
    /// second one does no harm: revoking, validating and reading
    #[arg(long, global = true, hide_short_help = true, value_name = "DURATION", value_parser = time::parse_duration)]
    pub retry: Option<SignedDuration>,
    /// Never ask; fail instead
    #[arg(long, global = true, hide_short_help = true)]
    pub no_input: bool,
    /// When to use colour
    #[arg(long, global = true, hide_short_help = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
}

/// The environment of the process. The verbs read nothing else of it.
#[derive(Debug)]
pub struct Environment {
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`.
    pub xdg_config_home: Option<PathBuf>,
    /// `NO_COLOR` is set and not empty.
    pub no_color: bool,
    /// The directory in which `.jeton/dev.json` is looked for.
    pub current_dir: PathBuf,
    /// The wall clock.
    pub now: fn() -> Timestamp,
}

/// The context that a verb runs in.
#[derive(Debug)]
pub struct Cli<'a> {
    /// The flags of all verbs.
    pub globals: &'a GlobalArgs,
    /// The environment.
    pub env: &'a Environment,
    /// The destination of data.
    pub output: Output,
}
