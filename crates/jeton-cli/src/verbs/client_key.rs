//! `jeton client add-key` and `delete-key`. A key's text is shown once, and to a terminal only with `--show`.

use std::path::PathBuf;

use jiff::SignedDuration;

use crate::term::escape::escape;
use crate::{
    invocation::Cli,
    remote::connect::{self, Identity, Listener},
    term::private_file::{check_writable, write_private},
    term::{
        exit::{Exit, Failure},
        output::{self, Format},
        time,
    },
};
use jeton_proto::v1::{CreateApiKeyRequest, DeleteApiKeyRequest, admin_service_client::AdminServiceClient};

/// Flags of `add-key`.
#[derive(Debug, clap::Args)]
pub struct AddArgs {
    /// The client
    client_id: String,
    /// The lifetime, as in 90d; without it, the key does not expire
    #[arg(long, value_name = "DURATION", value_parser = time::parse_duration)]
    ttl: Option<SignedDuration>,
    /// Write the key to this file, for its owner alone
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Print the key even to a terminal
    #[arg(long)]
    show: bool,
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
fn form(cli: &Cli<'_>, args: &AddArgs) -> Result<Form, Failure> {
    let seen = args.show || !cli.output.is_terminal();
    let form = match cli.output.format() {
        Some(Format::Json) => Form::Json,
        Some(Format::Header) => Form::Header,
        Some(Format::Env) => {
            return Err(Failure::Usage(
                "an API key is read from a file, not from the environment. Use --key-file.".into(),
            ));
        }
        Some(Format::Table) => Form::Facts,
        None if args.key_file.is_some() => Form::Facts,
        Some(Format::Token) | None => Form::Token,
    };
    let handed_out = args.key_file.is_some() || (seen && form != Form::Facts);
    if !handed_out {
        return Err(Failure::Usage(
            "the key is shown once, and not like this. Give --key-file FILE, pipe it, or --show it on a terminal.".into(),
        ));
    }
    if !seen && matches!(form, Form::Token | Form::Header) {
        return Ok(Form::Facts);
    }
    Ok(form)
}

/// Runs `add-key`.
pub async fn add(cli: &Cli<'_>, args: AddArgs) -> Result<Exit, Failure> {
    let form = form(cli, &args)?;
    args.key_file.as_deref().map_or(Ok(()), check_writable)?;
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let mut client = AdminServiceClient::new(connection.channel());
    let request =
        CreateApiKeyRequest { client_id: args.client_id.clone(), ttl: args.ttl.map(time::to_wire_duration) };
    let response = connection.call(client.create_api_key(connection.request(request))).await?;
    let facts = response.api_key.clone().unwrap_or_default();
    if let Some(path) = &args.key_file {
        // Written first: a later failure must not cost the only copy.
        write_private(path, format!("{}\n", response.secret).as_bytes())?;
    }
    match form {
        Form::Json => cli.output.secret_json(&response, args.show)?,
        Form::Token => output::secret(&escape(&response.secret))?,
        Form::Header => {
            output::secret(&format!("authorization: Bearer {}", escape(&response.secret)))?;
        }
        Form::Facts => output::facts(&[
            ("client", args.client_id),
            ("API key", facts.api_key_id),
            ("created", time::show(facts.create_time.as_ref())),
            ("expires", time::show_with_distance(facts.expire_time.as_ref(), (cli.env.now)())),
            ("key file", args.key_file.map(|path| path.display().to_string()).unwrap_or_default()),
        ])?,
    }
    output::talk("The key is good on every replica. It is not stored anywhere: keep it.");
    Ok(Exit::Done)
}

/// Runs `delete-key`.
pub async fn delete(cli: &Cli<'_>, args: DeleteArgs) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()?;
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let mut client = AdminServiceClient::new(connection.channel());
    let request = DeleteApiKeyRequest { client_id: args.client_id, api_key_id: args.api_key_id };
    let response = connection.call(client.delete_api_key(connection.request(request))).await?;
    if as_json {
        cli.output.json(&response, false)?;
    }
    output::talk("The key is refused on every replica.");
    Ok(Exit::Done)
}
