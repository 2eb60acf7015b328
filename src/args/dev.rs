//! `jeton dev`.

use std::{net::SocketAddr, num::NonZero, path::PathBuf};

use clap::{Args, builder::TypedValueParser, value_parser};

use crate::args::value::address;

/// The most replicas of `jeton dev`: more show nothing new on one machine.
const DEV_REPLICAS_MAX: i64 = 20;

/// Flags of `jeton dev`.
#[derive(Args, Debug)]
pub struct DevArgs {
    /// The directory for everything that is kept between runs
    #[arg(long, env = "JETON_DATA_DIR", default_value = "./.jeton")]
    pub data_dir: PathBuf,
    /// Public listener
    #[arg(long, env = "JETON_LISTEN", default_value = "127.0.0.1:7070", value_parser = address)]
    pub listen: SocketAddr,
    /// Admin listener
    #[arg(long, env = "JETON_ADMIN_LISTEN", default_value = "127.0.0.1:7071", value_parser = address)]
    pub admin_listen: SocketAddr,
    /// Ops listener
    #[arg(long, env = "JETON_OPS_LISTEN", default_value = "127.0.0.1:7072", value_parser = address)]
    pub ops_listen: SocketAddr,
    /// How many servers to start, on one database and under one name; all but the first listen on ports that the
    /// system chooses
    #[arg(long, value_name = "N", env = "JETON_REPLICAS", default_value = "1", value_parser = replicas())]
    pub replicas: NonZero<u8>,
    /// Use this database, empty or made by an earlier run, rather than a private one; never taken from the environment
    #[arg(long)]
    pub database_url: Option<String>,
    /// Start over: delete what earlier runs left in the data directory
    #[arg(long)]
    pub fresh: bool,
    /// The directory of PostgreSQL's binaries, if it is not a usual one
    #[arg(long, env = "JETON_POSTGRES_BIN")]
    pub postgres_bin: Option<PathBuf>,
}

fn replicas() -> impl TypedValueParser<Value = NonZero<u8>> {
    value_parser!(u8)
        .range(1..=DEV_REPLICAS_MAX)
        .map(|number| NonZero::new(number).unwrap_or(NonZero::<u8>::MIN))
}
