//! Parses the command line, and runs one verb.

use std::{
    env,
    ffi::{OsStr, OsString},
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use jeton::{
    args::{
        AuditVerb, ClientVerb, Command, CommandLine, DevArgs, EpochCommand, KeyCommand, ServeArgs,
        ServeConfig, command, manual, secret_in_environment, unknown_variables, variable_of, wanted,
    },
    dev::{self, DevOptions, Listen, die_with_parent},
    observe,
    operate::{self, Done},
    process,
    serve::{Listeners, serve},
};
use jeton_cli::{ClientCommand, Environment, Failure, Format, GlobalArgs, escape_lines, without_secrets};
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
    if !matches!(command, Command::Serve(_) | Command::CompleteValues { .. }) {
        for warning in &unknown {
            let _closed = writeln!(std::io::stderr(), "warning: {warning}");
        }
    }
    let done = match command {
        Command::Remote(command) => return run_remote(command, &globals),
        Command::Key(KeyCommand::Remote(command)) => {
            return run_remote(ClientCommand::Key(command), &globals);
        }
        Command::Completion { shell } => print(shell.script().as_bytes()),
        Command::Man { dir: None } => manual::page(shown_command()).and_then(|page| print(&page)),
        Command::Man { dir: Some(dir) } => manual::write_all(shown_command(), &dir).map(|count| {
            say(format!("{count} pages are in {}", dir.display()));
            Done::Whole
        }),
        Command::CompleteValues { words } => complete_values(&words),
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
                one_thread().and_then(|runtime| runtime.block_on(operate::bootstrap_client(args, hand_out)))
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
        Err(error) => fail(&error, globals.output),
    }
}

/// Parses flags and environment, and reports what is wrong with them.
fn parse() -> Result<CommandLine, ExitCode> {
    let words: Vec<OsString> = env::args_os().collect();
    let given: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let as_json = wants_json(&given);
    if let Some(refused) = secret_in_environment(|name| !is_empty(name)) {
        let failure = Failure::Usage(format!("{refused}."));
        let lines = if as_json { vec![failure.json()] } else { failure.lines() };
        let _closed = writeln!(std::io::stderr(), "{}", lines.join("\n"));
        return Err(ExitCode::from(2));
    }
    CommandLine::parse_words(command(is_empty), &words).map_err(|error| {
        let written = error.to_string();
        let shown = escape_lines(&without_secrets(&written));
        let source = variable_of(&error, &given);
        let source = source.map(|name| format!("The value came from the environment: {name}."));
        if as_json && error.use_stderr() {
            let text = first_paragraph(&shown);
            let text = source.map_or(text.clone(), |source| format!("{text} {source}"));
            let _closed = writeln!(std::io::stderr(), "{}", Failure::Usage(text).json());
        } else {
            let _closed = if shown == written || !error.use_stderr() {
                error.print()
            } else {
                writeln!(std::io::stderr(), "{}", shown.trim_end())
            };
            if let Some(source) = source {
                let _closed = writeln!(std::io::stderr(), "{source}");
            }
        }
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    })
}

/// Returns whether errors are wanted as JSON, also those of a command line that cannot be parsed.
fn wants_json(words: &[String]) -> bool {
    let follows =
        words.iter().zip(words.iter().skip(1)).any(|(flag, value)| flag == "--output" && value == "json");
    follows || words.iter().any(|word| word == "--output=json")
}

/// What a refusal of the parser says, without the usage that follows it.
fn first_paragraph(text: &str) -> String {
    let text = text.split("\n\nUsage:").next().unwrap_or_default();
    let text = text.split("\n\nFor more information").next().unwrap_or_default();
    text.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The command line, for pages about it.
fn shown_command() -> clap::Command {
    command(|_| true)
}

/// Prints what may follow these words, a candidate on a line with a few words on it. Nothing is said of failures.
fn complete_values(words: &[String]) -> anyhow::Result<Done> {
    let wanted = wanted(command(is_empty), words);
    let mut found = wanted.values;
    if let Some(kind) = &wanted.names {
        let line =
            ["jeton".to_owned(), "version".to_owned()].into_iter().chain(wanted.globals).map(OsString::from);
        if let Ok(line) = CommandLine::parse_words(command(is_empty), &line.collect::<Vec<_>>()) {
            let env = environment()?;
            let names = one_thread()?.block_on(jeton_cli::known_names(kind, &line.globals, &env));
            found.extend(names.into_iter().map(|name| (name, String::new())));
        }
    }
    for (value, about) in found.into_iter().filter(|(value, _)| value.starts_with(&wanted.typed)) {
        let about = if about.is_empty() { about } else { format!("\t{about}") };
        say(format!("{}{value}{about}", wanted.prefix));
    }
    Ok(Done::Whole)
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
        Err(error) => fail(&error, globals.output),
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

/// Prints data that is complete.
fn print(bytes: &[u8]) -> anyhow::Result<Done> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        // The reader has enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Done::Whole),
        written => written.map(|()| Done::Whole).context("standard output cannot be written"),
    }
}

/// Prints a secret that is kept nowhere else. If that fails, it is written to a file in this directory.
#[expect(clippy::needless_pass_by_value, reason = "the shape that the verb asks for")]
fn hand_out(secret: String) -> anyhow::Result<()> {
    const RESCUE: &str = "bootstrap.key";
    jeton_cli::keep_from_others();
    let mut stdout = std::io::stdout().lock();
    let Err(error) = writeln!(stdout, "{secret}").and_then(|()| stdout.flush()) else { return Ok(()) };
    match jeton_cli::write_new_secret(Path::new(RESCUE), &secret) {
        Ok(()) => bail!(
            "the client is registered, but standard output cannot be written ({error}): its API key is in ./{RESCUE}, for its \
             owner alone"
        ),
        Err(_) => bail!(
            "the client is registered, but nobody has its API key: neither standard output ({error}) nor ./{RESCUE} can be \
             written. Delete the client's row from the database, and run this again"
        ),
    }
}

fn fail(error: &anyhow::Error, output: Option<Format>) -> ExitCode {
    let text = format!("{error:#}");
    let line =
        if output == Some(Format::Json) { Failure::Local(text).json() } else { format!("error: {text}") };
    let _closed = writeln!(std::io::stderr(), "{line}");
    ExitCode::FAILURE
}
