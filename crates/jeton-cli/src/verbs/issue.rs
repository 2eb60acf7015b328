//! `jeton issue`: mints a token, and on demand opens a session.

use jiff::{SignedDuration, Timestamp};
use prost_types::{Struct, Value, value::Kind as ValueKind};

use crate::{
    invocation::Cli,
    remote::connect::{self, Connection, Identity, Listener, SAFE_AGAIN},
    term::{
        escape::escape,
        exit::{Exit, Failure},
        output, time,
    },
    verbs::credential::{self, CredentialArgs, Form, Handout},
};
use jeton_proto::{
    json,
    v1::{
        IssueRequest, RevocationReason, RevocationTarget, RevokeRequest, issue_request::Expiration,
        revocation_target::Kind,
    },
};

/// Above this a number is not exact in JSON's doubles: the server would see another number than was typed.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// Flags.
#[derive(Debug, clap::Args)]
pub struct IssueArgs {
    /// The subject that the token speaks for
    #[arg(long)]
    subject: String,
    /// An audience of the token; may be repeated
    #[arg(long, required = true)]
    audience: Vec<String>,
    /// A scope of the token; may be repeated
    #[arg(long)]
    scope: Vec<String>,
    /// Its lifetime, as in 15m; the policy's default without it
    #[arg(long, value_name = "DURATION", value_parser = time::parse_duration, conflicts_with = "expire_time")]
    ttl: Option<SignedDuration>,
    /// The time when it ends, as in 2026-01-31T09:00:00Z
    #[arg(long, value_name = "TIME")]
    expire_time: Option<Timestamp>,
    /// A claim whose value is text; may be repeated
    #[arg(long, value_name = "NAME=TEXT", value_parser = text_claim)]
    claim: Vec<(String, Value)>,
    /// A claim whose value is JSON; may be repeated
    #[arg(long, value_name = "NAME=JSON", value_parser = json_claim)]
    claim_json: Vec<(String, Value)>,
    /// Open a session, with a refresh token
    #[arg(long)]
    refreshable: bool,
    #[command(flatten)]
    credential: CredentialArgs,
}

/// Runs it.
pub async fn run(cli: &Cli<'_>, args: IssueArgs) -> Result<Exit, Failure> {
    let form = credential::form(cli, &args.credential, Form::Token);
    if !args.refreshable && credential::names_file(&args.credential) {
        return Err(Failure::Usage(
            "--refresh-token-file without --refreshable would stay empty: no session is opened. Give both, or neither.".into(),
        ));
    }
    if args.refreshable && !credential::hands_out_refresh_token(cli, &args.credential, form) {
        return Err(Failure::Usage(
            "a session would be opened, and its refresh token lost. Give --refresh-token-file FILE, or --output json \
             into a pipe or a file."
                .into(),
        ));
    }
    credential::check(&args.credential)?;
    let handout = Handout {
        form,
        args: &args.credential,
        known: vec![("subject", args.subject.clone()), ("audiences", args.audience.join(" "))],
    };
    let request = IssueRequest {
        subject: args.subject,
        audiences: args.audience,
        scopes: args.scope,
        claims: claims(args.claim.into_iter().chain(args.claim_json))?,
        expiration: args
            .ttl
            .map(|ttl| Expiration::Ttl(time::to_wire_duration(ttl)))
            .or_else(|| args.expire_time.map(|at| Expiration::ExpireTime(time::to_wire_timestamp(at)))),
        refreshable: args.refreshable,
        // The command line knows no certificate to bind a token to.
        certificate_thumbprint: String::new(),
    };
    let connection = connect::open(cli, Listener::Public, Identity::Required).await?;
    let response = connection.change(request, SAFE_AGAIN).await?;
    let token = credential::required(response.token.as_ref())?;
    let kept = credential::keep(&args.credential, token);
    let has_file = kept.is_ok() && credential::names_file(&args.credential);
    let shown = kept.and_then(|()| credential::print(cli, handout, &response, token));
    if shown.is_err() && token.refresh.is_some() && !has_file {
        end_lost(&connection, &token.session_id).await;
    }
    shown.map(|()| Exit::Done)
}

/// Ends the session whose refresh token could not be handed out.
async fn end_lost(connection: &Connection, session_id: &str) {
    let request = RevokeRequest {
        target: Some(RevocationTarget {
            kind: Some(Kind::SessionId(session_id.to_owned())),
            ..RevocationTarget::default()
        }),
        reason: RevocationReason::Administrative.into(),
        note: "its refresh token could not be written".to_owned(),
        ..RevokeRequest::default()
    };
    let session = escape(session_id);
    match connection.call(request).await {
        Ok(_) => {
            output::talk(&format!("Nobody has its refresh token, so session {session} was ended again."));
        }
        Err(failure) => {
            for line in failure.lines() {
                output::talk(&line);
            }
            output::talk(&format!(
                "Session {session} is open, though nobody has its refresh token: jeton revoke --session {session}"
            ));
        }
    }
}

fn claims(given: impl Iterator<Item = (String, Value)>) -> Result<Option<Struct>, Failure> {
    let mut claims = Struct::default();
    for (name, value) in given {
        if claims.fields.insert(name.clone(), value).is_some() {
            return Err(Failure::Usage(format!("the claim {name:?} is given twice. Give it once.")));
        }
    }
    Ok(Some(claims).filter(|claims| !claims.fields.is_empty()))
}

fn text_claim(text: &str) -> Result<(String, Value), String> {
    let (name, value) = pair(text)?;
    Ok((name, Value { kind: Some(ValueKind::StringValue(value.to_owned())) }))
}

fn json_claim(text: &str) -> Result<(String, Value), String> {
    let (name, value) = pair(text)?;
    let given: serde_json::Value = serde_json::from_str(value)
        .map_err(|error| format!("the value of {name} is no JSON ({error}). For plain text use --claim"))?;
    // A strict parser, which takes objects alone: of two members of one name, readers see different ones.
    jeton_token::json::parse_object(format!("{{\"value\":{value}}}").as_bytes())
        .map_err(|malformed| format!("the value of {name} cannot be a claim: {malformed}"))?;
    exact(&given)?;
    Ok((name, json::value(&given)))
}

fn pair(text: &str) -> Result<(String, &str), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value)),
        _ => Err("write NAME=VALUE".into()),
    }
}

/// Returns whether the API keeps every number of this value.
fn exact(json: &serde_json::Value) -> Result<(), String> {
    match json {
        serde_json::Value::Number(number) => {
            let magnitude = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            let unsafe_integer = magnitude.is_some_and(|magnitude| magnitude > MAX_SAFE_INTEGER);
            if unsafe_integer || !number.as_f64().is_some_and(f64::is_finite) {
                return Err(format!("the number {number} cannot be kept exactly. Write it as text"));
            }
            Ok(())
        }
        serde_json::Value::Array(items) => items.iter().try_for_each(exact),
        serde_json::Value::Object(members) => members.values().try_for_each(exact),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::String(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use prost_types::{ListValue, value::Kind};

    use super::*;

    #[test]
    fn claims_keep_their_types() {
        let text = Value { kind: Some(Kind::StringValue("a=b".into())) };
        assert_eq!(text_claim("k=a=b"), Ok(("k".to_owned(), text)));
        let number = Value { kind: Some(Kind::NumberValue(7.0)) };
        assert_eq!(json_claim("k=7"), Ok(("k".to_owned(), number)));
        let list = Value {
            kind: Some(Kind::ListValue(ListValue {
                values: vec![Value { kind: Some(Kind::BoolValue(true)) }],
            })),
        };
        assert_eq!(json_claim("k=[true]"), Ok(("k".to_owned(), list)));
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        assert!(json_claim("k=9007199254740993").is_err());
        assert!(json_claim("k=9007199254740991").is_ok());
        assert!(json_claim("k=-9007199254740992").is_err());
        assert!(json_claim("k=text").is_err());
        for twice in [r#"k={"a":1,"a":2}"#, r#"k=[{"b":{"a":1,"a":1}}]"#] {
            assert!(json_claim(twice).is_err_and(|text| text.contains("twice")), "{twice}");
        }
        assert!(text_claim("novalue").is_err());
        assert!(text_claim("=v").is_err());
    }
}
