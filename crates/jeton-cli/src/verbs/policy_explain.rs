//! `jeton policy explain`: each rule in effect for an audience and a client, and the policy that it is from.

use crate::term::escape::escape;
use crate::{
    invocation::Cli,
    remote::connect::{self, Connection, Identity, Listener},
    term::{
        exit::{Exit, Failure},
        json, output,
    },
    verbs::policy_show::rules,
};
use jeton_proto::v1::{GetPolicyRequest, GetPolicyResponse, Policy};

/// Stands for any audience and any client.
const ANY: &str = "*";

/// Flags.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// The audience, or `*` for one without a policy of its own
    audience: String,
    /// The client, or `*` for one without a policy of its own
    #[arg(default_value = "*")]
    client: String,
}

/// A rule in effect.
#[derive(serde::Serialize)]
struct InEffect {
    rule: &'static str,
    value: String,
    from: String,
}

/// Runs it.
pub async fn run(cli: &Cli<'_>, args: ExplainArgs) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()?;
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let mut path = vec![(args.audience.as_str(), args.client.as_str())];
    path.extend([(args.audience.as_str(), ANY), (ANY, ANY)]);
    path.dedup();
    let mut effective = Policy::default();
    let mut stored = Vec::new();
    for (index, (audience, client)) in path.into_iter().enumerate() {
        let answer = get(&connection, audience, client).await?;
        if index == 0 {
            effective = answer.effective_policy.unwrap_or_default();
        }
        stored.extend(answer.policy);
    }
    let explained = explain(&effective, &stored);
    if as_json {
        output::data(&json::of_own(&explained)?)?;
        return Ok(Exit::Done);
    }
    let rows = explained.into_iter().map(|it| vec![it.rule.to_owned(), it.value, it.from]).collect();
    output::table(&["RULE", "IN EFFECT", "FROM"], rows)?;
    Ok(Exit::Done)
}

async fn get(connection: &Connection, audience: &str, client: &str) -> Result<GetPolicyResponse, Failure> {
    let request = GetPolicyRequest { audience: audience.to_owned(), client_id: client.to_owned() };
    connection.call(request).await
}

/// The rules, each with the narrowest policy that stores the value in effect. `stored`: the narrowest first.
fn explain(effective: &Policy, stored: &[Policy]) -> Vec<InEffect> {
    let of_stored: Vec<_> = stored.iter().map(|policy| (policy, rules(policy))).collect();
    let from = |index: usize, value: &str| {
        let says = |rules: &[(&str, String); 12]| rules.get(index).map(|(_, said)| said.clone());
        let given: Vec<_> =
            of_stored.iter().filter_map(|(policy, rules)| Some((policy, says(rules)?))).collect();
        if let Some((policy, _)) = given.iter().find(|(_, said)| !said.is_empty() && said == value) {
            return name(policy);
        }
        match given.iter().find(|(_, said)| !said.is_empty()) {
            // A default that is above the maximum, or a maximum that a wider policy has lowered.
            Some((policy, said)) => format!("{said} of {}, lowered", name(policy)),
            None => "built in".to_owned(),
        }
    };
    let rules = rules(effective).into_iter().enumerate();
    rules
        .map(|(index, (rule, value))| {
            let from = from(index, &value);
            InEffect { rule, value: if value.is_empty() { "any".to_owned() } else { value }, from }
        })
        .collect()
}

fn name(policy: &Policy) -> String {
    let audience = match policy.audience.as_str() {
        ANY => "any audience".to_owned(),
        audience => format!("audience {}", escape(audience)),
    };
    match policy.client_id.as_str() {
        ANY => format!("the policy of {audience}"),
        client => format!("the policy of {audience}, client {}", escape(client)),
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Duration;

    use super::*;

    fn policy(audience: &str, client: &str, max_s: Option<i64>, default_s: Option<i64>) -> Policy {
        let duration = |seconds: Option<i64>| seconds.map(|seconds| Duration { seconds, nanos: 0 });
        Policy {
            audience: audience.to_owned(),
            client_id: client.to_owned(),
            max_ttl: duration(max_s),
            default_ttl: duration(default_s),
            ..Policy::default()
        }
    }

    #[test]
    fn each_rule_names_the_policy_that_it_is_from() {
        let stored = [
            policy("orders", "web", None, Some(7200)),
            policy("orders", ANY, Some(1800), None),
            policy(ANY, ANY, Some(3600), Some(600)),
        ];
        let explained = explain(&policy("orders", "web", Some(1800), Some(1800)), &stored);
        let of = |rule: &str| explained.iter().find(|it| it.rule == rule).map(|it| it.from.clone());
        assert_eq!(of("max ttl").as_deref(), Some("the policy of audience orders"));
        assert_eq!(
            of("default ttl").as_deref(),
            Some("2h of the policy of audience orders, client web, lowered")
        );
        assert_eq!(of("leeway").as_deref(), Some("built in"));
    }
}
