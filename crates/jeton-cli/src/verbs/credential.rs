//! The output of issue and refresh. Token text reaches a terminal only with `--show`: it stays in scrollback and in
//! shared screens.

use std::path::PathBuf;

use prost::{Message, Name};

use crate::term::escape::escape;
use crate::{
    invocation::Cli,
    term::private_file::{check_new_secret, write_new_secret},
    term::{
        exit::Failure,
        output::{self, Format},
        time,
    },
};
use jeton_proto::v1::{IssuedToken, RefreshCredential};

/// Flags of the verbs that hand out tokens.
#[derive(Debug, clap::Args)]
pub struct CredentialArgs {
    /// Print token text even to a terminal
    #[arg(long)]
    show: bool,
    /// Write the refresh token to this new file, for its owner alone
    #[arg(long, value_name = "FILE")]
    refresh_token_file: Option<PathBuf>,
}

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Facts, for people.
    Table,
    /// Everything, as protojson.
    Json,
    /// The access token.
    Token,
    /// The access token as a header.
    Header,
    /// The access token as a variable.
    Env,
}

/// Makes sure, before anything is minted or spent, that the refresh token can be written.
pub fn check(args: &CredentialArgs) -> Result<(), Failure> {
    args.refresh_token_file.as_deref().map_or(Ok(()), check_new_secret)
}

/// Returns whether a file for a refresh token was named.
#[must_use]
pub fn names_file(args: &CredentialArgs) -> bool {
    args.refresh_token_file.is_some()
}

/// Writes the refresh token to the file that was named for it. Done before anything is printed: a later failure must not
/// cost the only copy.
pub fn keep(args: &CredentialArgs, token: &IssuedToken) -> Result<(), Failure> {
    match (&args.refresh_token_file, &token.refresh) {
        (Some(path), Some(refresh)) => write_new_secret(path, &refresh.refresh_token),
        _ => Ok(()),
    }
}

/// The form that follows from the flags and the terminal. `to_pipe` is the default for a pipe.
#[must_use]
pub fn form(cli: &Cli<'_>, args: &CredentialArgs, to_pipe: Form) -> Form {
    let silent = cli.output.is_terminal() && !args.show;
    match cli.output.format() {
        Some(Format::Table) => Form::Table,
        Some(Format::Json) => Form::Json,
        None if cli.output.is_terminal() && !args.show => Form::Table,
        None if cli.output.is_terminal() => Form::Token,
        None => to_pipe,
        Some(Format::Token | Format::Header | Format::Env) if silent => Form::Table,
        Some(Format::Token) => Form::Token,
        Some(Format::Header) => Form::Header,
        Some(Format::Env) => Form::Env,
    }
}

/// Returns whether the refresh token reaches the user.
#[must_use]
pub fn hands_out_refresh_token(cli: &Cli<'_>, args: &CredentialArgs, form: Form) -> bool {
    let readable = args.show || !cli.output.is_terminal();
    args.refresh_token_file.is_some() || (form == Form::Json && readable)
}

/// The output options of a verb.
#[derive(Debug)]
pub struct Handout<'a> {
    /// The form of the output.
    pub form: Form,
    /// The flags.
    pub args: &'a CredentialArgs,
    /// Facts that are not in the answer.
    pub known: Vec<(&'static str, String)>,
}

/// Prints `token`, which came in `response`.
pub fn print<M: Message + Name>(
    cli: &Cli<'_>,
    handout: Handout<'_>,
    response: &M,
    token: &IssuedToken,
) -> Result<(), Failure> {
    let Handout { form, args, mut known } = handout;
    match form {
        Form::Json => cli.output.secret_json(response, args.show)?,
        Form::Token => output::secret(&escape(&token.access_token))?,
        Form::Header => {
            output::secret(&format!("authorization: Bearer {}", escape(&token.access_token)))?;
        }
        Form::Env => output::secret(&format!("JETON_TOKEN={}", escape(&token.access_token)))?,
        Form::Table => {
            known.extend(facts(cli, token));
            output::facts(&known)?;
            output::talk("The token is not shown. Take it with --output token, and --show on a terminal.");
        }
    }
    Ok(())
}

/// The token, which every answer carries.
pub fn required(token: Option<&IssuedToken>) -> Result<&IssuedToken, Failure> {
    token.ok_or_else(|| Failure::Local("the server answered without a token. Is it a jeton?".into()))
}

fn facts(cli: &Cli<'_>, token: &IssuedToken) -> Vec<(&'static str, String)> {
    let now = (cli.env.now)();
    let basis = token.expiration_basis().as_str_name().trim_start_matches("EXPIRATION_BASIS_");
    let refresh = token.refresh.as_ref();
    let idle = |refresh: &RefreshCredential| time::show_with_distance(refresh.expire_time.as_ref(), now);
    let end =
        |refresh: &RefreshCredential| time::show_with_distance(refresh.session_expire_time.as_ref(), now);
    vec![
        ("jti", token.jti.clone()),
        ("session", token.session_id.clone()),
        ("issued", time::show(token.issue_time.as_ref())),
        ("expires", time::show_with_distance(token.expire_time.as_ref(), now)),
        ("because of", basis.to_owned()),
        ("renew", time::show_with_distance(token.refresh_time.as_ref(), now)),
        ("session ends, if idle", refresh.map(idle).unwrap_or_default()),
        ("session ends", refresh.map(end).unwrap_or_default()),
    ]
}
