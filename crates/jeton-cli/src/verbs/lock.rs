//! `jeton lock` and `jeton unlock`: for a time nothing is issued for a subject, or to a client.

use std::time::Duration;

use clap::builder::NonEmptyStringValueParser as NonEmpty;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::term::{escape::escape, quoted::shell_word};
use crate::{
    invocation::Cli,
    remote::{
        connect::{self, Connection, Identity, Listener},
        pages,
    },
    term::{
        exit::{Exit, Failure},
        output, time,
    },
    verbs::{note, propagation},
};
use jeton_proto::v1::{
    ListLocksRequest, ListLocksResponse, Lock, LockRequest, LockResponse, Propagation, UnlockRequest,
    UnlockResponse, lock, lock_request, unlock_request,
};

/// The verbs of `lock`.
#[derive(Debug, clap::Subcommand)]
pub enum LockCommand {
    /// Lock a subject: no client is issued anything for it
    Subject(LockArgs),
    /// Lock a client: it is issued nothing
    Client(LockArgs),
    /// List the locks that hold, newest first
    List(ListArgs),
}

/// The verbs of `unlock`.
#[derive(Debug, clap::Subcommand)]
pub enum UnlockCommand {
    /// Unlock a subject
    Subject(UnlockArgs),
    /// Unlock a client
    Client(UnlockArgs),
}

/// Flags of `lock subject` and `lock client`.
#[derive(Debug, clap::Args)]
pub struct LockArgs {
    /// The subject or the client, by its exact name
    #[arg(value_name = "NAME", value_parser = NonEmpty::new())]
    name: String,
    /// For how long: at most 30d. It ends by itself
    #[arg(long, value_name = "DURATION", default_value = "4h", value_parser = parse_ttl)]
    ttl: SignedDuration,
    /// An incident number or note
    #[arg(long)]
    note: Option<String>,
}

/// Flags of `unlock`.
#[derive(Debug, clap::Args)]
pub struct UnlockArgs {
    /// The subject or the client, by its exact name
    #[arg(value_name = "NAME", value_parser = NonEmpty::new())]
    name: String,
    /// An incident number or note
    #[arg(long)]
    note: Option<String>,
}

/// Flags of `lock list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// At most so many rows
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// The longest lock.
const TTL_MAX: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Parses the time of a lock.
pub fn parse_ttl(text: &str) -> Result<SignedDuration, String> {
    let ttl = time::parse_duration(text)?;
    if ttl < SignedDuration::from_secs(1) || ttl > TTL_MAX || ttl.subsec_nanos() != 0 {
        return Err("a lock lasts from 1s to 30d, in whole seconds".into());
    }
    Ok(ttl)
}

/// Runs one of the verbs of `lock`.
pub async fn run(cli: &Cli<'_>, command: LockCommand) -> Result<Exit, Failure> {
    let (target, args) = match command {
        LockCommand::Subject(args) => (lock_request::Target::Subject(args.name.clone()), args),
        LockCommand::Client(args) => (lock_request::Target::ClientId(args.name.clone()), args),
        LockCommand::List(args) => return list(cli, args).await,
    };
    let as_json = cli.output.wants_json()?;
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let request = LockRequest {
        target: Some(target),
        ttl: Some(time::to_wire_duration(args.ttl)),
        note: note::without_credentials(args.note.as_deref()).unwrap_or_default(),
        wait_timeout: None,
    };
    let start = Instant::now();
    let locked = connection.call(request).await?;
    let elapsed = start.elapsed();
    if as_json {
        cli.output.json(&locked, false)?;
    } else {
        print_locked(&locked, elapsed, (cli.env.now)())?;
    }
    Ok(exit(locked.propagation.as_ref()))
}

/// Runs one of the verbs of `unlock`.
pub async fn unlock(cli: &Cli<'_>, command: UnlockCommand) -> Result<Exit, Failure> {
    let (target, what, args) = match command {
        UnlockCommand::Subject(args) => (
            unlock_request::Target::Subject(args.name.clone()),
            format!("subject {}", escape(&args.name)),
            args,
        ),
        UnlockCommand::Client(args) => (
            unlock_request::Target::ClientId(args.name.clone()),
            format!("client {}", escape(&args.name)),
            args,
        ),
    };
    let as_json = cli.output.wants_json()?;
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let note = note::without_credentials(args.note.as_deref()).unwrap_or_default();
    let request = UnlockRequest { target: Some(target), note, wait_timeout: None };
    let start = Instant::now();
    let unlocked: UnlockResponse = connection.call(request).await?;
    let propagation = unlocked.propagation.clone().unwrap_or_default();
    if as_json {
        cli.output.json(&unlocked, false)?;
        return Ok(exit(Some(&propagation)));
    }
    let done = match &unlocked.lock {
        Some(lock) => {
            format!("unlocked {what}, which was locked until {}", time::show(lock.end_time.as_ref()))
        }
        None => format!("{what} was not locked"),
    };
    output::data(&format!("{done}: {}", applied(&propagation, start.elapsed())))?;
    Ok(exit(Some(&propagation)))
}

async fn list(cli: &Cli<'_>, args: ListArgs) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()?;
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let all = held(&connection, limit).await?;
    if as_json {
        cli.output.json(&all, false)?;
        return Ok(Exit::Done);
    }
    let now = (cli.env.now)();
    output::table(
        &["WHAT", "UNTIL", "SINCE", "BY", "NOTE"],
        all.locks.iter().map(|it| row(it, now)).collect(),
    )?;
    if all.locks.is_empty() {
        output::talk("Nothing is locked.");
    }
    if !all.next_page_token.is_empty() {
        output::talk("There are more. Give a larger --limit.");
    }
    Ok(Exit::Done)
}

/// The newest locks that hold.
pub async fn held(connection: &Connection, limit: usize) -> Result<ListLocksResponse, Failure> {
    let mut locks = Vec::new();
    let next_page_token = pages::up_to(limit, async |page_size, page_token| {
        let request = ListLocksRequest { page_size, page_token };
        let page = connection.call(request).await?;
        locks.extend(page.locks);
        Ok((locks.len(), page.next_page_token))
    })
    .await?;
    Ok(ListLocksResponse { locks, next_page_token })
}

fn row(lock: &Lock, now: Timestamp) -> Vec<String> {
    vec![
        what(lock),
        time::show_with_distance(lock.end_time.as_ref(), now),
        time::show(lock.lock_time.as_ref()),
        lock.actor.clone(),
        lock.note.clone(),
    ]
}

/// `subject svc:billing`, `client checkout`.
fn what(lock: &Lock) -> String {
    match &lock.target {
        Some(lock::Target::Subject(subject)) => format!("subject {}", escape(subject)),
        Some(lock::Target::ClientId(client_id)) => format!("client {}", escape(client_id)),
        None => "something that this program does not know".to_owned(),
    }
}

fn print_locked(locked: &LockResponse, elapsed: Duration, now: Timestamp) -> Result<(), Failure> {
    let lock = locked.lock.clone().unwrap_or_default();
    let propagation = locked.propagation.clone().unwrap_or_default();
    output::data(&format!(
        "locked {} until {}: {}",
        what(&lock),
        time::show_with_distance(lock.end_time.as_ref(), now),
        applied(&propagation, elapsed)
    ))?;
    if let Some(earlier) = &locked.earlier_lock {
        output::talk(&beside(earlier, &lock, now));
    }
    output::talk(&format!("{} Tokens from before live on; to end them: {}", effect(&lock), end_them(&lock)));
    Ok(())
}

/// `client checkout is locked until 2026-01-31T09:15:00Z (in 15m), by on-call (INC-1)`
pub fn told(lock: &Lock, now: Timestamp) -> String {
    let end = time::show_with_distance(lock.end_time.as_ref(), now);
    format!("{} is locked until {end}{}", what(lock), by_whom(lock))
}

/// `, by on-call (INC-1)`, as far as it is known.
fn by_whom(lock: &Lock) -> String {
    let by = if lock.actor.is_empty() { String::new() } else { format!(", by {}", escape(&lock.actor)) };
    let note = if lock.note.is_empty() { String::new() } else { format!(" ({})", escape(&lock.note)) };
    format!("{by}{note}")
}

/// What became of a lock that held before this one was made.
pub fn beside(earlier: &Lock, lock: &Lock, now: Timestamp) -> String {
    let end = time::show_with_distance(earlier.end_time.as_ref(), now);
    let before = format!("It was locked already, until {end}{}.", by_whom(earlier));
    if earlier.end_time == lock.end_time {
        format!("{before} A later lock does not shorten that.")
    } else {
        format!("{before} The later end holds, with the note of its lock.")
    }
}

/// What a lock does, and how it is ended.
pub fn effect(lock: &Lock) -> String {
    match &lock.target {
        Some(lock::Target::Subject(subject)) => format!(
            "Nothing is issued for {} until then. To end that earlier: jeton unlock subject {}.",
            escape(subject),
            shell_word(subject)
        ),
        Some(lock::Target::ClientId(client_id)) => format!(
            "Nothing is issued to {} until then. To end that earlier: jeton unlock client {}.",
            escape(client_id),
            shell_word(client_id)
        ),
        None => String::new(),
    }
}

/// The command that ends what was issued before.
fn end_them(lock: &Lock) -> String {
    match &lock.target {
        Some(lock::Target::Subject(subject)) => {
            format!("jeton revoke --subject {} --reason compromised", shell_word(subject))
        }
        Some(lock::Target::ClientId(client_id)) => {
            format!("jeton revoke --client {} --reason compromised", shell_word(client_id))
        }
        None => String::new(),
    }
}

/// `3/3 replicas in 4 ms`.
fn applied(change: &Propagation, elapsed: Duration) -> String {
    format!(
        "{} in {}{}",
        propagation::reach(change),
        propagation::took(elapsed),
        propagation::missing(change, false)
    )
}

fn exit(change: Option<&Propagation>) -> Exit {
    if change.is_some_and(|it| it.complete) { Exit::Done } else { Exit::Incomplete }
}
