//! `jeton policy set`: changes the given rules, and no others.

use clap::ValueEnum;
use jiff::SignedDuration;
use prost_types::FieldMask;

use crate::{
    invocation::Cli,
    remote::connect::{self, Identity, Listener, SAFE_AGAIN},
    term::{
        exit::{Exit, Failure},
        names, output, time,
    },
    verbs::{
        policy_clients,
        policy_show::{self, PolicyName},
    },
};
use jeton_proto::v1::{DailyBoundary, ExcessTtlAction, Policy, UpdatePolicyRequest};

/// The treatment of a TTL above the maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Excess {
    /// A refusal.
    Reject,
    /// The maximum.
    Clamp,
}

/// A rule that is on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Answer {
    /// On.
    Yes,
    /// Off.
    No,
}

/// Flags.
#[derive(Debug, clap::Args)]
pub struct SetArgs {
    #[command(flatten)]
    name: PolicyName,
    /// The maximum of any TTL
    #[arg(long, value_name = "DURATION", value_parser = time::parse_duration)]
    max_ttl: Option<SignedDuration>,
    /// The TTL if the caller requests none
    #[arg(long, value_name = "DURATION", value_parser = time::parse_duration)]
    default_ttl: Option<SignedDuration>,
    /// The treatment of a greater request: refused, or lowered to the maximum
    #[arg(long)]
    excess: Option<Excess>,
    /// The tolerance for clocks, up to 60s
    #[arg(long, value_name = "DURATION", value_parser = time::parse_duration)]
    leeway: Option<SignedDuration>,
    /// A session ends when it is not used for so long
    #[arg(long, value_name = "DURATION", value_parser = time::parse_duration)]
    idle: Option<SignedDuration>,
    /// A session ends after so long even if it is used
    #[arg(long, value_name = "DURATION", value_parser = time::parse_duration)]
    absolute: Option<SignedDuration>,
    /// How long a spent refresh token gets the same successor again
    #[arg(long, value_name = "DURATION", value_parser = time::parse_duration)]
    grace: Option<SignedDuration>,
    /// No token outlives this time of day, as in "00:00 Europe/Berlin"; or `none`
    #[arg(long, value_name = "TIME ZONE", value_parser = parse_boundary)]
    daily_boundary: Option<Boundary>,
    /// A scope that may be issued; may be repeated, and replaces the present list
    #[arg(long, value_name = "SCOPE", value_parser = names::scope)]
    allow_scope: Vec<String>,
    /// `ES256` or `EdDSA`
    #[arg(long)]
    algorithm: Option<String>,
    /// Write an audit row for each Issue before it is answered: this puts the database into its path
    #[arg(long)]
    audit_issue: Option<Answer>,
    /// Live sessions that one subject may have for the audience; or `none`
    #[arg(long, value_name = "NUMBER", value_parser = parse_sessions)]
    sessions_per_subject: Option<Sessions>,
    /// Only if the policy still has this etag
    #[arg(long)]
    etag: Option<String>,
    /// Show what would change, change nothing
    #[arg(long, alias = "validate-only")]
    dry_run: bool,
}

/// Runs it.
pub async fn run(cli: &Cli<'_>, args: SetArgs) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()?;
    let dry_run = args.dry_run;
    let request = request_of(args)?;
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let named = request.policy.iter().map(|policy| policy.client_id.clone()).collect::<Vec<_>>();
    let response = connection.change(request, SAFE_AGAIN).await?;
    if as_json {
        cli.output.json(&response, false)?;
    } else {
        policy_show::print(&response.policy.unwrap_or_default())?;
    }
    policy_clients::warn_of_unknown(&connection, named.iter().map(String::as_str)).await;
    output::talk(if dry_run { "Nothing was changed (--dry-run)." } else { "In effect on every replica." });
    Ok(Exit::Done)
}

/// The mask names the given flags, so that changes by others to other rules are kept.
fn request_of(args: SetArgs) -> Result<UpdatePolicyRequest, Failure> {
    let scopes_given = !args.allow_scope.is_empty();
    let given = [
        ("max_ttl", args.max_ttl.is_some()),
        ("default_ttl", args.default_ttl.is_some()),
        ("excess_ttl_action", args.excess.is_some()),
        ("leeway", args.leeway.is_some()),
        ("refresh_idle_lifetime", args.idle.is_some()),
        ("refresh_absolute_lifetime", args.absolute.is_some()),
        ("refresh_replay_grace", args.grace.is_some()),
        ("daily_boundary", args.daily_boundary.is_some()),
        ("allowed_scopes", scopes_given),
        ("algorithm", args.algorithm.is_some()),
        ("audit_issue", args.audit_issue.is_some()),
        ("max_sessions_per_subject", args.sessions_per_subject.is_some()),
    ];
    let paths: Vec<_> = given.into_iter().filter(|(_, is)| *is).map(|(path, _)| path.to_owned()).collect();
    if paths.is_empty() {
        return Err(Failure::Usage("no rule was given. Give at least one, as in --max-ttl 2h.".into()));
    }
    let excess = match args.excess {
        None => ExcessTtlAction::Unspecified,
        Some(Excess::Reject) => ExcessTtlAction::Reject,
        Some(Excess::Clamp) => ExcessTtlAction::Clamp,
    };
    let policy = Policy {
        audience: args.name.audience,
        client_id: args.name.client,
        etag: args.etag.unwrap_or_default(),
        default_ttl: args.default_ttl.map(time::to_wire_duration),
        max_ttl: args.max_ttl.map(time::to_wire_duration),
        excess_ttl_action: excess.into(),
        leeway: args.leeway.map(time::to_wire_duration),
        refresh_idle_lifetime: args.idle.map(time::to_wire_duration),
        refresh_absolute_lifetime: args.absolute.map(time::to_wire_duration),
        refresh_replay_grace: args.grace.map(time::to_wire_duration),
        daily_boundary: args.daily_boundary.and_then(|boundary| boundary.0),
        allowed_scopes: args.allow_scope,
        algorithm: args.algorithm.unwrap_or_default(),
        max_sessions_per_subject: args.sessions_per_subject.and_then(|most| most.0),
        update_time: None,
        audit_issue: args.audit_issue.map(|answer| answer == Answer::Yes),
    };
    Ok(UpdatePolicyRequest {
        policy: Some(policy),
        update_mask: Some(FieldMask { paths }),
        allow_missing: true,
        validate_only: args.dry_run,
    })
}

/// A daily boundary, or `none`. A type of its own, because clap gives `Option<Option<…>>` another meaning.
#[derive(Clone, Debug, PartialEq)]
pub struct Boundary(pub Option<DailyBoundary>);

/// Parses `00:00 Europe/Berlin`, or `none`.
pub fn parse_boundary(text: &str) -> Result<Boundary, String> {
    if text == "none" {
        return Ok(Boundary(None));
    }
    let wrong = || "write a time of day and an IANA zone, as in \"00:00 Europe/Berlin\", or none".to_owned();
    let (time, zone) = text.split_once(' ').ok_or_else(wrong)?;
    let (hours, minutes) = time.split_once(':').ok_or_else(wrong)?;
    let number = |text: &str, below: i32| {
        let is_plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number| is_plain && *number < below).ok_or_else(wrong)
    };
    let boundary = DailyBoundary {
        hours: number(hours, 24)?,
        minutes: number(minutes, 60)?,
        time_zone: zone.trim().to_owned(),
    };
    if boundary.time_zone.is_empty() { Err(wrong()) } else { Ok(Boundary(Some(boundary))) }
}

/// A number of sessions, or `none`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Sessions(Option<i32>);

fn parse_sessions(text: &str) -> Result<Sessions, String> {
    if text == "none" {
        return Ok(Sessions(None));
    }
    let number = text.parse().map_err(|_| "write a number of sessions, as in 5, or none".to_owned())?;
    Ok(Sessions(Some(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daily_boundary_is_a_time_and_a_zone() {
        let berlin = DailyBoundary { hours: 0, minutes: 30, time_zone: "Europe/Berlin".into() };
        assert_eq!(parse_boundary("00:30 Europe/Berlin"), Ok(Boundary(Some(berlin))));
        assert_eq!(parse_boundary("none"), Ok(Boundary(None)));
        for text in ["", "00:00", "24:00 UTC", "00:60 UTC", "0:00 UTC", "+1:00 UTC", "00:00 "] {
            assert!(parse_boundary(text).is_err(), "{text}");
        }
    }
}
