//! `jeton refresh`: spends a refresh token. Losing the successor means losing the session, so the verb first makes sure
//! that the successor can be written.

use crate::{
    invocation::Cli,
    remote::connect::{self, Identity, Listener},
    term::{
        exit::{Exit, Failure},
        output,
        token_input::{self, TokenArgs},
    },
    verbs::{
        credential::{self, CredentialArgs, Form, Handout},
        pasted_token,
    },
};
use jeton_proto::v1::RefreshRequest;

/// What to do about a refresh whose answer was lost.
const SPENT_IN_DOUBT: &str = "Whether the refresh token was spent is not known: run the same command again at once. For a \
                              moment (the policy's replay grace) it gets the same successor.";

/// Flags.
#[derive(Debug, clap::Args)]
pub struct RefreshArgs {
    #[command(flatten)]
    token: TokenArgs,
    #[command(flatten)]
    credential: CredentialArgs,
}

/// Runs it.
pub async fn run(cli: &Cli<'_>, args: RefreshArgs) -> Result<Exit, Failure> {
    let form = credential::form(cli, &args.credential, Form::Json);
    if !credential::hands_out_refresh_token(cli, &args.credential, form) {
        return Err(Failure::Usage(
            "the refresh token is spent by this, and its successor would be lost. Give --refresh-token-file, or \
             --output json into a pipe."
                .into(),
        ));
    }
    credential::check(&args.credential)?;
    let refresh_token = pasted_token::bare(&args.token.read(cli, "Refresh token").await?)?;
    let connection = connect::open(cli, Listener::Public, Identity::Required).await?;
    let request =
        RefreshRequest { refresh_token: token_input::expose(&refresh_token), ..RefreshRequest::default() };
    let response = connection.change(request, SPENT_IN_DOUBT).await?;
    let token = credential::required(response.token.as_ref())?;
    let handout = Handout { form, args: &args.credential, known: Vec::new() };
    let shown = credential::keep(handout.args, token)
        .and_then(|()| credential::print(cli, handout, &response, token));
    if shown.is_err() {
        output::talk(
            "The successor may have reached nobody. For a moment (the policy's replay grace) the same refresh token gets the \
             same successor: run it again at once.",
        );
    }
    shown.map(|()| Exit::Done)
}
