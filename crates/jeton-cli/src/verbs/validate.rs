//! `jeton validate`: asks a server for its verdict on a token.

use crate::term::escape::escape;
use crate::{
    invocation::Cli,
    remote::connect::{self, Identity, Listener},
    term::{
        exit::{Exit, Failure, Refusal},
        json,
        output::{self, Tone},
        time,
        token_input::{self, TokenArgs},
    },
    verbs::{inspect, pasted_token},
};
use jeton_proto::v1::{TokenStatus, ValidateRequest, Verdict};

/// Flags.
#[derive(Debug, clap::Args)]
pub struct ValidateArgs {
    #[command(flatten)]
    token: TokenArgs,
    /// An audience that is accepted; may be repeated. Without it: those that the caller is registered for; if that is
    /// any, those that the token names
    #[arg(long)]
    audience: Vec<String>,
    /// A scope that the token must have; may be repeated
    #[arg(long)]
    scope: Vec<String>,
}

/// Runs it.
pub async fn run(cli: &Cli<'_>, args: ValidateArgs) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()?;
    let token = pasted_token::bare(&args.token.read(cli, "Token").await?)?;
    let connection = connect::open(cli, Listener::Public, Identity::Required).await?;
    let mut request = ValidateRequest {
        token: token_input::expose(&token),
        audiences: args.audience,
        scopes: args.scope,
        ..ValidateRequest::default()
    };
    let mut answer = connection.call(request.clone()).await;
    if let Err(Failure::Refused(refusal)) = &answer
        && request.audiences.is_empty()
        && wants_audiences(refusal)
        && let Some(audiences) = inspect::claimed_audiences(&request.token)
    {
        output::talk(&escape(&format!(
            "No --audience was given: accepting those that the token itself names: {}.",
            audiences.join(" ")
        )));
        request.audiences = audiences;
        answer = connection.call(request).await;
    }
    let response = answer?;
    let verdict = response.verdict.clone().unwrap_or_default();
    if as_json {
        cli.output.json(&response, false)?;
    } else {
        print(cli, &verdict)?;
    }
    Ok(if verdict.status() == TokenStatus::Active { Exit::Done } else { Exit::Negative })
}

/// The caller is registered for any audience, so the server cannot know which one is meant.
fn wants_audiences(refusal: &Refusal) -> bool {
    refusal.reason == "FIELD_REQUIRED"
        && refusal.metadata.get("field").is_some_and(|field| field == "audiences")
}

fn print(cli: &Cli<'_>, verdict: &Verdict) -> Result<(), Failure> {
    let status = verdict.status();
    let tone = if status == TokenStatus::Active { Tone::Good } else { Tone::Bad };
    let name = status.as_str_name().trim_start_matches("TOKEN_STATUS_");
    output::data(&format!("{}: {}", cli.output.paint(name, tone), meaning(status)))?;
    let now = (cli.env.now)();
    let reason = if status == TokenStatus::Revoked { verdict.revocation_reason().as_str_name() } else { "" };
    output::facts(&[
        ("revoked for", reason.trim_start_matches("REVOCATION_REASON_").to_owned()),
        ("subject", verdict.subject.clone()),
        ("audiences", verdict.audiences.join(" ")),
        ("scopes", verdict.scopes.join(" ")),
        ("jti", verdict.jti.clone()),
        ("session", verdict.session_id.clone()),
        ("client", verdict.client_id.clone()),
        ("issued", time::show_with_distance(verdict.issue_time.as_ref(), now)),
        ("expires", time::show_with_distance(verdict.expire_time.as_ref(), now)),
        ("claims", json::claims(verdict)?),
        ("revision", verdict.revision.clone()),
        ("the text", verdict.surroundings.clone()),
    ])
}

/// The status in words.
fn meaning(status: TokenStatus) -> &'static str {
    match status {
        TokenStatus::Unspecified => "the server answered a status that this program does not know",
        TokenStatus::Active => "the token is good",
        TokenStatus::Malformed => "this is not a token that the issuer could have made",
        TokenStatus::UnknownKey => "it names no key of this issuer",
        TokenStatus::BadSignature => "the signature does not verify",
        TokenStatus::WrongIssuer => "another issuer made it",
        TokenStatus::LifetimeExceedsCap => "it would live longer than any token may",
        TokenStatus::NotYetValid => "its time has not come",
        TokenStatus::Expired => "its time is over",
        TokenStatus::Revoked => "it was revoked",
        TokenStatus::WrongAudience => "it is for someone else",
        TokenStatus::MissingScope => "it lacks a scope",
        TokenStatus::WrongBinding => "it is bound to a certificate that was not presented",
    }
}
