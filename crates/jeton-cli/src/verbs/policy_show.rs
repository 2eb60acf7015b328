//! A policy, for people.

use crate::term::{exit::Failure, output, time};
use jeton_proto::v1::{DailyBoundary, ExcessTtlAction, Policy};

/// The name of a policy.
#[derive(Debug, clap::Args)]
pub struct PolicyName {
    /// The audience, or `*` for any
    pub audience: String,
    /// The client, or `*` for any
    #[arg(long, default_value = "*")]
    pub client: String,
}

/// Prints a policy, its name and rules on a line each.
pub fn print(policy: &Policy) -> Result<(), Failure> {
    let mut facts = vec![("audience", policy.audience.clone()), ("client", policy.client_id.clone())];
    facts.extend(rules(policy));
    facts.push(("etag", policy.etag.clone()));
    facts.push(("updated", time::show(policy.update_time.as_ref())));
    output::facts(&facts)
}

/// The rules as text. An empty one is taken from the next wider policy.
pub fn rules(policy: &Policy) -> [(&'static str, String); 12] {
    let excess = match policy.excess_ttl_action() {
        ExcessTtlAction::Unspecified => "",
        ExcessTtlAction::Reject => "reject",
        ExcessTtlAction::Clamp => "clamp",
    };
    let audited = match policy.audit_issue {
        None => "",
        Some(true) => "yes",
        Some(false) => "no",
    };
    [
        ("default ttl", time::show_duration(policy.default_ttl.as_ref())),
        ("max ttl", time::show_duration(policy.max_ttl.as_ref())),
        ("excess", excess.to_owned()),
        ("leeway", time::show_duration(policy.leeway.as_ref())),
        ("idle", time::show_duration(policy.refresh_idle_lifetime.as_ref())),
        ("absolute", time::show_duration(policy.refresh_absolute_lifetime.as_ref())),
        ("grace", time::show_duration(policy.refresh_replay_grace.as_ref())),
        ("daily boundary", policy.daily_boundary.as_ref().map(boundary).unwrap_or_default()),
        ("scopes", policy.allowed_scopes.join(" ")),
        ("algorithm", policy.algorithm.clone()),
        ("issue audited", audited.to_owned()),
        (
            "sessions per subject",
            policy.max_sessions_per_subject.map(|most| most.to_string()).unwrap_or_default(),
        ),
    ]
}

/// `03:00 Europe/Berlin`.
pub fn boundary(boundary: &DailyBoundary) -> String {
    format!("{:02}:{:02} {}", boundary.hours, boundary.minutes, boundary.time_zone)
}
