//! `jeton client add-key`, `rotate-key` and `delete-key`. A key's text is shown once, and to a terminal only with
//! `--show`. A new key that could not be handed out is deleted again.

use std::path::PathBuf;

use jiff::SignedDuration;

use crate::term::escape::escape;
use crate::{
    invocation::Cli,
    remote::connect::{self, Connection, Identity, Listener, SAFE_AGAIN},
    term::private_file::{check_new_secret, write_new_secret},
    term::{
        exit::{Exit, Failure},
        output::{self, Format},
        quoted::shell_word,
        time,
    },
    verbs::client_read,
};
use jeton_proto::v1::{ApiKey, CreateApiKeyRequest, CreateApiKeyResponse, DeleteApiKeyRequest};

/// Where a new key goes.
#[derive(Debug, clap::Args)]
pub struct KeyOut {
    /// Write the key to this new file, for its owner alone
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Print the key even to a terminal
    #[arg(long)]
    show: bool,
}

/// Flags of `add-key`.
#[derive(Debug, clap::Args)]
pub struct AddArgs {
    /// The client
    client_id: String,
    /// The lifetime, as in 90d; without it, the key does not expire
    #[arg(long, value_name = "DURATION", value_parser = time::parse_duration)]
    ttl: Option<SignedDuration>,
    #[command(flatten)]
    out: KeyOut,
}

/// Flags of `rotate-key`.
#[derive(Debug, clap::Args)]
pub struct RotateArgs {
    /// The client
    client_id: String,
    /// The key to replace; needed if the client has several
    api_key_id: Option<String>,
    /// How long the old key stays good beside the new one. It is not deleted by itself: the command for that is printed;
    /// with 0s it is deleted at once
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = time::parse_duration)]
    overlap: SignedDuration,
    /// The lifetime of the new key, as in 90d [default: that of the old key]
    #[arg(long, value_name = "DURATION", value_parser = time::parse_duration)]
    ttl: Option<SignedDuration>,
    #[command(flatten)]
    out: KeyOut,
}

/// Operands of `delete-key`.
#[derive(Debug, clap::Args)]
pub struct DeleteArgs {
    /// The client
    client_id: String,
    /// The public part of the key, as `jeton client get` shows it
    api_key_id: String,
}

/// The output for a new key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Facts,
    Json,
    Token,
    Header,
}

/// Decided before a key is made: a key that nobody gets to see is of no use.
fn form(cli: &Cli<'_>, out: &KeyOut) -> Result<Form, Failure> {
    let seen = out.show || !cli.output.is_terminal();
    let form = match cli.output.format() {
        Some(Format::Json) => Form::Json,
        Some(Format::Header) => Form::Header,
        Some(Format::Env) => {
            return Err(Failure::Usage(
                "an API key is read from a file, not from the environment. Use --key-file.".into(),
            ));
        }
        Some(Format::Table) => Form::Facts,
        None if out.key_file.is_some() => Form::Facts,
        Some(Format::Token) | None => Form::Token,
    };
    let handed_out = out.key_file.is_some() || (seen && form != Form::Facts);
    if !handed_out {
        return Err(Failure::Usage(
            "the key is shown once, and not like this. Give --key-file FILE, pipe it, or --show it on a terminal.".into(),
        ));
    }
    out.key_file.as_deref().map_or(Ok(()), check_new_secret)?;
    if !seen && matches!(form, Form::Token | Form::Header) {
        return Ok(Form::Facts);
    }
    Ok(form)
}

/// Runs `add-key`.
pub async fn add(cli: &Cli<'_>, args: AddArgs) -> Result<Exit, Failure> {
    let form = form(cli, &args.out)?;
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    make(cli, &connection, New { client_id: &args.client_id, ttl: args.ttl, out: &args.out, form }).await?;
    output::talk("The key is good on every replica. It is not stored anywhere: keep it.");
    Ok(Exit::Done)
}

/// What to do after a call that makes a key and whose answer was lost.
const KEY_IN_DOUBT: &str =
    "Whether a key was made is not known: `jeton client get` lists them. Delete one that nobody has.";

/// A key to make.
struct New<'a> {
    client_id: &'a str,
    ttl: Option<SignedDuration>,
    out: &'a KeyOut,
    form: Form,
}

/// Makes a key and hands it out; if that fails, deletes it again.
async fn make(cli: &Cli<'_>, connection: &Connection, new: New<'_>) -> Result<(), Failure> {
    let request =
        CreateApiKeyRequest { client_id: new.client_id.to_owned(), ttl: new.ttl.map(time::to_wire_duration) };
    let response = connection.change(request, KEY_IN_DOUBT).await?;
    if let Err(failure) = hand_out(cli, &new, &response) {
        take_back(connection, &new, response.api_key.unwrap_or_default()).await;
        return Err(failure);
    }
    Ok(())
}

fn hand_out(cli: &Cli<'_>, new: &New<'_>, response: &CreateApiKeyResponse) -> Result<(), Failure> {
    let facts = response.api_key.clone().unwrap_or_default();
    if let Some(path) = &new.out.key_file {
        // Written first: a later failure must not cost the only copy.
        write_new_secret(path, &response.secret)?;
    }
    match new.form {
        Form::Json => cli.output.secret_json(response, new.out.show),
        Form::Token => output::secret(&escape(&response.secret)),
        Form::Header => output::secret(&format!("authorization: Bearer {}", escape(&response.secret))),
        Form::Facts => output::facts(&[
            ("client", new.client_id.to_owned()),
            ("API key", facts.api_key_id),
            ("created", time::show(facts.create_time.as_ref())),
            ("expires", time::show_with_distance(facts.expire_time.as_ref(), (cli.env.now)())),
            (
                "key file",
                new.out.key_file.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
            ),
        ]),
    }
}

/// Deletes a key that could not be handed out: nobody would ever know that it is good.
async fn take_back(connection: &Connection, new: &New<'_>, key: ApiKey) {
    let (client_id, key_id) = (shell_word(new.client_id), shell_word(&key.api_key_id));
    match remove(connection, new.client_id, key.api_key_id).await {
        Ok(()) => {
            if let Some(path) = &new.out.key_file {
                // It holds a key that is refused by now; that it was not written is no error.
                let _gone = std::fs::remove_file(path);
            }
            output::talk(&format!("The new key {key_id} could not be handed out, so it was deleted again."));
        }
        Err(failure) => {
            for line in failure.lines() {
                output::talk(&line);
            }
            output::talk(&format!(
                "The new key {key_id} could not be handed out and is good. Delete it: jeton client delete-key {client_id} {key_id}"
            ));
        }
    }
}

async fn remove(connection: &Connection, client_id: &str, api_key_id: String) -> Result<(), Failure> {
    let request = DeleteApiKeyRequest { client_id: client_id.to_owned(), api_key_id };
    connection.change(request, SAFE_AGAIN).await.map(drop)
}

/// Runs `rotate-key`. The API cannot shorten a key's life, so the old one is deleted by a command of its own.
pub async fn rotate(cli: &Cli<'_>, args: RotateArgs) -> Result<Exit, Failure> {
    let form = form(cli, &args.out)?;
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let keys = client_read::fetch(&connection, &args.client_id).await?.api_keys;
    let old = old_key(&args, keys)?;
    let ttl = args.ttl.or_else(|| life(&old));
    make(cli, &connection, New { client_id: &args.client_id, ttl, out: &args.out, form }).await?;
    let (client_id, old_id) = (shell_word(&args.client_id), shell_word(&old.api_key_id));
    if args.overlap.is_zero() {
        remove(&connection, &args.client_id, old.api_key_id).await?;
        output::talk(&format!("The new key is good on every replica, and the old key {old_id} is refused."));
        return Ok(Exit::Done);
    }
    let now = (cli.env.now)();
    let end = now.saturating_add(args.overlap).ok().map(time::to_wire_timestamp);
    output::talk("The new key is good on every replica. It is not stored anywhere: keep it.");
    output::talk(&format!(
        "The old key {old_id} stays good. Delete it when the new one is in use, at {}:\n  jeton client delete-key {client_id} {old_id}",
        time::show_with_distance(end.as_ref(), now)
    ));
    Ok(Exit::Done)
}

/// The key that is replaced: the named one, or the only one.
fn old_key(args: &RotateArgs, keys: Vec<ApiKey>) -> Result<ApiKey, Failure> {
    let client_id = shell_word(&args.client_id);
    let Some(named) = &args.api_key_id else {
        let ids: Vec<_> = keys.iter().map(|key| shell_word(&key.api_key_id)).collect();
        return match <[ApiKey; 1]>::try_from(keys) {
            Ok([only]) => Ok(only),
            Err(_) if ids.is_empty() => Err(Failure::Usage(format!(
                "client {client_id} has no API key to replace. Make one: jeton client add-key {client_id}"
            ))),
            Err(_) => Err(Failure::Usage(format!(
                "client {client_id} has several API keys. Name the one to replace: {}.",
                ids.join(", ")
            ))),
        };
    };
    keys.into_iter().find(|key| key.api_key_id == *named).ok_or_else(|| {
        Failure::Usage(format!(
            "client {client_id} has no API key of this id. `jeton client get {client_id}` shows them."
        ))
    })
}

/// The lifetime of a key; `None` if it does not expire.
fn life(key: &ApiKey) -> Option<SignedDuration> {
    let at = |time: &Option<prost_types::Timestamp>| time.as_ref().and_then(time::from_wire_timestamp);
    Some(SignedDuration::from_secs(at(&key.expire_time)?.duration_since(at(&key.create_time)?).as_secs()))
}

/// Runs `delete-key`.
pub async fn delete(cli: &Cli<'_>, args: DeleteArgs) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()?;
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let request = DeleteApiKeyRequest { client_id: args.client_id, api_key_id: args.api_key_id };
    let response = connection.change(request, SAFE_AGAIN).await?;
    if as_json {
        cli.output.json(&response, false)?;
    }
    output::talk("The key is refused on every replica.");
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_that_is_replaced_is_the_named_or_the_only_one() {
        let args = |named: Option<&str>| RotateArgs {
            client_id: "c".into(),
            api_key_id: named.map(str::to_owned),
            overlap: SignedDuration::ZERO,
            ttl: None,
            out: KeyOut { key_file: None, show: false },
        };
        let key = |id: &str| ApiKey { api_key_id: id.into(), ..ApiKey::default() };
        let chosen = |named, keys| old_key(&args(named), keys).ok().map(|key| key.api_key_id);
        assert_eq!(chosen(None, vec![key("a")]).as_deref(), Some("a"));
        assert_eq!(chosen(Some("b"), vec![key("a"), key("b")]).as_deref(), Some("b"));
        for (named, keys) in [(None, vec![]), (None, vec![key("a"), key("b")]), (Some("c"), vec![key("a")])] {
            assert_eq!(chosen(named, keys), None);
        }
    }

    #[test]
    fn a_new_key_lives_as_long_as_the_old_one() {
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let key = ApiKey { create_time: at(100), expire_time: at(190), ..ApiKey::default() };
        assert_eq!(life(&key), Some(SignedDuration::from_secs(90)));
        assert_eq!(life(&ApiKey { expire_time: None, ..key }), None);
    }
}
