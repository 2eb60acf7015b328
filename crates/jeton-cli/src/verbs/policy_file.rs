//! Policies in a file, TOML or JSON: a list `policy`, each with its audience and the rules that it has.

use std::path::Path;

use jiff::SignedDuration;
use serde::Deserialize;

use crate::{
    term::{exit::Failure, time},
    verbs::policy_set::parse_boundary,
};
use jeton_io::files;
use jeton_proto::v1::{ExcessTtlAction, Policy};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    policy: Vec<Written>,
}

/// A policy as people write it. A rule that is not there is taken from the next wider policy.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    audience: String,
    #[serde(default = "any")]
    client: String,
    max_ttl: Option<String>,
    default_ttl: Option<String>,
    excess: Option<String>,
    leeway: Option<String>,
    idle: Option<String>,
    absolute: Option<String>,
    grace: Option<String>,
    daily_boundary: Option<String>,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    algorithm: String,
    audit_issue: Option<bool>,
    sessions_per_subject: Option<i32>,
}

fn any() -> String {
    "*".to_owned()
}

/// Reads the policies of a file. A name that ends in `.json` is JSON, any other TOML.
pub fn read(path: &Path) -> Result<Vec<Policy>, Failure> {
    let shown = path.display();
    let wrong = |error: String| Failure::Usage(format!("{shown}: {error}"));
    let text = files::read_text(path).map_err(|error| wrong(error.to_string()))?;
    let is_json = path.extension().is_some_and(|extension| extension == "json");
    let file: File = if is_json {
        serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?
    } else {
        toml::from_str(&text).map_err(|error| wrong(error.to_string().trim_end().to_owned()))?
    };
    let mut policies: Vec<Policy> = Vec::new();
    for written in file.policy {
        let name = format!("the policy of audience {:?}, client {:?}", written.audience, written.client);
        let policy = policy(written).map_err(|error| wrong(format!("{name}: {error}")))?;
        let same =
            |other: &Policy| (&other.audience, &other.client_id) == (&policy.audience, &policy.client_id);
        if policies.iter().any(same) {
            return Err(wrong(format!("{name} is there twice. Write it once")));
        }
        policies.push(policy);
    }
    Ok(policies)
}

fn policy(written: Written) -> Result<Policy, String> {
    let duration = |rule: &str, text: Option<String>| {
        text.map(|text| time::parse_duration(&text).map_err(|error| format!("{rule}: {error}"))).transpose()
    };
    let wire = |duration: Option<SignedDuration>| duration.map(time::to_wire_duration);
    let excess = match written.excess.as_deref() {
        None => ExcessTtlAction::Unspecified,
        Some("reject") => ExcessTtlAction::Reject,
        Some("clamp") => ExcessTtlAction::Clamp,
        Some(other) => return Err(format!("excess: {other:?} is neither \"reject\" nor \"clamp\"")),
    };
    let boundary = written.daily_boundary.as_deref().map(parse_boundary).transpose();
    let boundary = boundary.map_err(|error| format!("daily_boundary: {error}"))?;
    Ok(Policy {
        audience: written.audience,
        client_id: written.client,
        max_ttl: wire(duration("max_ttl", written.max_ttl)?),
        default_ttl: wire(duration("default_ttl", written.default_ttl)?),
        excess_ttl_action: excess.into(),
        leeway: wire(duration("leeway", written.leeway)?),
        refresh_idle_lifetime: wire(duration("idle", written.idle)?),
        refresh_absolute_lifetime: wire(duration("absolute", written.absolute)?),
        refresh_replay_grace: wire(duration("grace", written.grace)?),
        daily_boundary: boundary.and_then(|boundary| boundary.0),
        allowed_scopes: written.scopes,
        algorithm: written.algorithm,
        audit_issue: written.audit_issue,
        max_sessions_per_subject: written.sessions_per_subject,
        ..Policy::default()
    })
}
