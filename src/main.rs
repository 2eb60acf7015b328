//! Parses the command line, and runs one verb.

use std::{env, ffi::OsStr, io::Write, path::PathBuf, process::ExitCode};

use anyhow::Context;
use jeton::{
    args::{
        AuditVerb, ClientVerb, Command, CommandLine, DevArgs, EpochCommand, KeyCommand, ServeArgs,
        ServeConfig, command, secret_in_environment, unknown_variables, variable_of,
    },
    dev::{self, DevOptions, Listen, die_with_parent},
    observe,
    operate::{self, Done},
    process,
    serve::{Listeners, serve},
};
use jeton_cli::{ClientCommand, Environment, GlobalArgs};
use jeton_state::clock::Clock;
use jeton_token::ApiKey;
use tokio::{
    net::TcpListener,
    runtime,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

/// With glibc's allocator a call costs a tenth more.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Threads of the runtime behind the listeners: they wait for the database.
const BACKGROUND_THREADS: usize = 2;

fn main() -> ExitCode {
    process::settle();
    let CommandLine { globals, command } = match parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let unknown = unread_variables();
    if !matches!(command, Command::Serve(_)) {
        for warning in &unknown {
            let _closed = writeln!(std::io::stderr(), "warning: {warning}");
        }
    }
    let done = match command {
        Command::Remote(command) => return run_remote(command, &globals),
        Command::Key(KeyCommand::Remote(command)) => {
            return run_remote(ClientCommand::Key(command), &globals);
        }
        Command::Dev(args) => many_threads().and_then(|runtime| runtime.block_on(run_dev(args))),
        Command::Serve(args) => many_threads().and_then(|runtime| {
            let done = runtime.block_on(run_serve(*args, &unknown));
            // Work that has not ended in time is not waited for.
            runtime.shutdown_background();
            done
        }),
        Command::Migrate(command) => {
            one_thread().and_then(|runtime| runtime.block_on(operate::migrate(command, say)))
        }
        Command::Client(verb) => match *verb {
            ClientVerb::Bootstrap(args) => {
                log_acts("jeton client bootstrap");
                one_thread().and_then(|runtime| runtime.block_on(operate::bootstrap_client(args, say_secret)))
            }
            ClientVerb::Remote(verb) => return run_remote(ClientCommand::Client(verb), &globals),
        },
        Command::Audit(verb) => match *verb {
            AuditVerb::Verify(args) => {
                one_thread().and_then(|runtime| runtime.block_on(operate::verify_audit(args, say)))
            }
            AuditVerb::Remote(verb) => return run_remote(ClientCommand::Audit(verb), &globals),
        },
        Command::Epoch(EpochCommand::Bump(args)) => {
            log_acts("jeton epoch bump");
            one_thread().and_then(|runtime| runtime.block_on(operate::bump_epoch(args, say)))
        }
        Command::Key(KeyCommand::Import(args)) => {
            log_acts("jeton key import");
            one_thread().and_then(|runtime| runtime.block_on(operate::import_key(args, say)))
        }
        Command::Key(KeyCommand::Reseal(args)) => {
            log_acts("jeton key reseal");
            one_thread().and_then(|runtime| runtime.block_on(operate::reseal_keys(args, say)))
        }
    };
    match done {
        Ok(Done::Whole) => ExitCode::SUCCESS,
        Ok(Done::Negative) => ExitCode::from(3),
        Err(error) => fail(&error),
    }
}

/// Parses flags and environment, and reports what is wrong with them.
fn parse() -> Result<CommandLine, ExitCode> {
    if let Some(refused) = secret_in_environment(|name| !is_empty(name)) {
        let _closed = writeln!(std::io::stderr(), "error: {refused}.");
        return Err(ExitCode::from(2));
    }
    let parsed = command(is_empty).try_get_matches().and_then(|matches| CommandLine::read(&matches));
    parsed.map_err(|error| {
        let _closed = error.print();
        let given: Vec<String> = env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
        if let Some(name) = variable_of(&error, &given) {
            let _closed = writeln!(std::io::stderr(), "The value came from the environment: {name}.");
        }
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    })
}

/// A warning for each variable that may be meant for jeton and that no verb reads.
fn unread_variables() -> Vec<String> {
    let unknown = unknown_variables(env::vars_os().map(|(name, _)| name));
    unknown
        .into_iter()
        .map(|name| format!("{name} is not read: jeton has no variable of this name"))
        .collect()
}

/// Returns whether a variable is empty.
#[expect(clippy::disallowed_methods, reason = "the environment of flags, read here and nowhere else")]
fn is_empty(name: &OsStr) -> bool {
    env::var_os(name).is_none_or(|value| value.is_empty())
}

fn run_remote(command: ClientCommand, globals: &GlobalArgs) -> ExitCode {
    match environment().and_then(|env| Ok((env, one_thread()?))) {
        Ok((env, runtime)) => runtime.block_on(jeton_cli::run(command, globals, &env)).into(),
        Err(error) => fail(&error),
    }
}

async fn run_dev(args: DevArgs) -> anyhow::Result<Done> {
    warn_of_database(args.database_url.is_some());
    let options = DevOptions {
        data_dir: args.data_dir,
        listen: Listen { public: args.listen, admin: args.admin_listen, ops: args.ops_listen },
        replicas: args.replicas,
        database_url: args.database_url,
        fresh: args.fresh,
        postgres_binaries: args.postgres_bin,
    };
    dev::run(options, operate::prepare_dev, || ApiKey::generate().expose().to_owned()).await?;
    Ok(Done::Whole)
}

/// `jeton dev` ignores a database in the environment: it may be a live one.
#[expect(clippy::disallowed_methods, reason = "the environment is read here and nowhere else")]
fn warn_of_database(named: bool) {
    const NAME: &str = "JETON_DATABASE_URL";
    if !named && env::var_os(NAME).is_some_and(|value| !value.is_empty()) {
        let said =
            "is not used by `jeton dev`, which has a database of its own: --database-url names another";
        let _closed = writeln!(std::io::stderr(), "{NAME} {said}");
    }
}

async fn run_serve(args: ServeArgs, warnings: &[String]) -> anyhow::Result<Done> {
    let ServeConfig { listen, settings, warnings: further, log, parent_pid } = args.resolve()?;
    if let Some(pid) = parent_pid {
        die_with_parent(pid)?;
    }
    observe::log_to_stderr(&log, &settings.replica).context("--log is not valid")?;
    for warning in warnings.iter().chain(&further) {
        tracing::warn!("{warning}");
    }
    let stop = CancellationToken::new();
    end_by_signals(&stop, &settings.leave.hurry)?;
    let [public, admin, ops] = listen;
    let listeners =
        Listeners { public: bind(public).await?, admin: bind(admin).await?, ops: bind(ops).await? };
    serve(listeners, settings, stop).await?;
    Ok(Done::Whole)
}

/// Makes the server end at a first signal, and hurry at a second. SIGHUP is ignored: settings that may change while a
/// server runs are read when they change.
fn end_by_signals(stop: &CancellationToken, hurry: &CancellationToken) -> anyhow::Result<()> {
    let [mut terminate, mut interrupt, mut quit] =
        [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::quit())?];
    let mut hangup = signal(SignalKind::hangup())?;
    let tokens = [stop.clone(), hurry.clone()];
    tokio::spawn(async move {
        for token in tokens {
            loop {
                tokio::select! {
                    _ = terminate.recv() => break,
                    _ = interrupt.recv() => break,
                    _ = quit.recv() => break,
                    _ = hangup.recv() => {
                        tracing::info!("SIGHUP: certificates are read when their files change; nothing is to be done");
                    }
                }
            }
            token.cancel();
        }
    });
    Ok(())
}

async fn bind(address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{address} cannot be listened on"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the surroundings of the client verbs, read here and nowhere else"
)]
fn environment() -> anyhow::Result<Environment> {
    let path = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    Ok(Environment {
        home: path("HOME"),
        xdg_config_home: path("XDG_CONFIG_HOME"),
        no_color: env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()),
        current_dir: env::current_dir().context("the current directory is gone")?,
        now: || Clock::system().now(),
    })
}

/// Logs the acts of a verb on the database, as servers log theirs, and nothing else: the verb prints the rest itself.
fn log_acts(verb: &str) {
    // A filter of our own always parses.
    let _read = observe::log_to_stderr("off,jeton::store::audit=info", verb);
}

fn many_threads() -> anyhow::Result<runtime::Runtime> {
    Ok(runtime::Builder::new_multi_thread().worker_threads(BACKGROUND_THREADS).enable_all().build()?)
}

fn one_thread() -> anyhow::Result<runtime::Runtime> {
    Ok(runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Prints data to stdout. If the reader has closed it, nothing is missing.
#[expect(clippy::needless_pass_by_value, reason = "the shape that the verbs ask for")]
fn say(line: String) {
    let _closed = writeln!(std::io::stdout(), "{line}");
}

/// The same for a line that holds a secret.
fn say_secret(line: String) {
    jeton_cli::keep_from_others();
    say(line);
}

fn fail(error: &anyhow::Error) -> ExitCode {
    let _closed = writeln!(std::io::stderr(), "error: {error:#}");
    ExitCode::FAILURE
}
