//! `jeton policy explain`, `diff` and `apply`.

use jeton::proto::v1 as pb;

use crate::world::{Shell, World, policy, seconds};

/// The page for people.
const PAGE: &str = include_str!("../../../docs/policies.md");

const FILE: &str = r#"
[[policy]]
audience = "*"
max_ttl = "4h"

[[policy]]
audience = "orders"
default_ttl = "10m"
max_ttl = "2h"
scopes = ["read", "write"]
daily_boundary = "00:00 Europe/Berlin"

[[policy]]
audience = "orders"
client = "web"
max_ttl = "30m"
audit_issue = false
"#;

#[tokio::test]
async fn policies_become_what_a_file_says_and_nothing_is_removed_unasked() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let mut admin = world.api("admin").await;
    admin.set_policy(pb::Policy { max_ttl: Some(seconds(60)), ..policy("other") }).await.unwrap();
    shell.write("policies.toml", FILE);
    let diff = shell.run(&["policy", "diff", "-f", "policies.toml"]).await;
    assert_eq!(diff.code, 3, "{diff:?}");
    assert!(diff.out.contains("+ audience orders, client web\n  max ttl: (wider) -> 30m"), "{diff:?}");
    assert!(diff.err.contains("not in the file: other (client *)"), "{diff:?}");
    let dry = shell.run(&["policy", "apply", "-f", "policies.toml", "--dry-run"]).await;
    assert!(dry.code == 0 && dry.err.contains("Nothing was changed"), "{dry:?}");
    assert_eq!(shell.run(&["policy", "diff", "-f", "policies.toml"]).await.code, 3);
    shell.run(&["policy", "apply", "-f", "policies.toml"]).await.data();
    let again = shell.run(&["policy", "apply", "-f", "policies.toml"]).await;
    assert!(again.code == 0 && again.err.contains("Nothing differs."), "{again:?}");
    assert_eq!(shell.run(&["policy", "diff", "-f", "policies.toml"]).await.code, 0);
    // The same as JSON. A rule that the file does not have any more is taken from the next wider policy.
    let json = r#"{"policy": [{"audience": "*", "max_ttl": "4h"}, {"audience": "orders", "max_ttl": "1h"}]}"#;
    shell.write("policies.json", json);
    let diff = shell.run(&["policy", "diff", "-f", "policies.json", "--output", "json"]).await;
    let diff: serde_json::Value = serde_json::from_str(&diff.out).unwrap();
    assert_eq!((diff.as_array().unwrap().len(), diff[0]["change"].as_str()), (1, Some("update")), "{diff}");
    let lowered = shell.run(&["policy", "apply", "-f", "policies.json", "--prune"]).await;
    assert_eq!(lowered.code, 0, "{lowered:?}");
    // What a shorter maximum does not reach is said.
    let lives_on = "issued before live until their exp, at most 2h more";
    assert!(lowered.err.contains(lives_on), "{lowered:?}");
    let stored = admin.admin.list_policies(pb::ListPoliciesRequest::default()).await.unwrap().into_inner();
    let names: Vec<_> =
        stored.policies.iter().map(|it| (it.audience.as_str(), it.client_id.as_str())).collect();
    assert_eq!(names, [("*", "*"), ("orders", "*")], "the others were pruned");
    assert!(stored.policies[1].allowed_scopes.is_empty(), "the file has them no more");
}

#[tokio::test]
async fn each_rule_in_effect_names_the_policy_that_it_is_from() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    shell.write("policies.toml", FILE);
    shell.run(&["policy", "apply", "-f", "policies.toml"]).await.data();
    let explained = shell.run(&["policy", "explain", "orders", "web", "--output", "json"]).await;
    let explained: serde_json::Value = serde_json::from_str(explained.data()).unwrap();
    let of = |rule: &str| {
        let rules = explained.as_array().unwrap();
        let found = rules.iter().find(|it| it["rule"] == rule).unwrap();
        [found["value"].as_str().unwrap().to_owned(), found["from"].as_str().unwrap().to_owned()]
    };
    assert_eq!(of("max ttl"), ["30m", "the policy of audience orders, client web"]);
    assert_eq!(of("default ttl"), ["10m", "the policy of audience orders"]);
    assert_eq!(of("leeway")[1], "built in");
    let table = shell.run(&["policy", "explain", "unknown"]).await;
    assert!(table.data().contains("the policy of any audience"), "{table:?}");
}

#[tokio::test]
async fn a_file_that_makes_no_sense_is_refused_before_anything_is_written() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    for (name, text, said) in [
        ("a.toml", "[[policy]]\naudience = \"a\"\nmax_til = \"1h\"\n", "max_til"),
        ("b.toml", "[[policy]]\naudience = \"a\"\nmax_ttl = \"3600\"\n", "max_ttl"),
        ("c.toml", "[[policy]]\naudience = \"a\"\n[[policy]]\naudience = \"a\"\n", "there twice"),
        ("d.json", "{\"policy\": [{\"client\": \"web\"}]}", "audience"),
        ("e.toml", "[[policy]]\naudience = \"a\"\nexcess = \"drop\"\n", "neither"),
    ] {
        shell.write(name, text);
        let refused = shell.run(&["policy", "apply", "-f", name]).await;
        assert!(refused.code == 2 && refused.err.contains(said), "{name}: {refused:?}");
    }
    // The second is refused by the server: the first is not written either.
    let (good, bad) = (
        "[[policy]]\naudience = \"a\"\nmax_ttl = \"1h\"\n",
        "[[policy]]\naudience = \"b\"\nmax_ttl = \"48h\"\n",
    );
    shell.write("half.toml", &[good, bad].concat());
    let refused = shell.run(&["policy", "apply", "-f", "half.toml"]).await;
    assert!(refused.with_code(2).contains("Nothing was changed."), "{refused:?}");
    assert_eq!(world.number("select count(*) from policy").await, 0);
    shell.write("client.toml", "[[policy]]\naudience = \"a\"\nclient = \"bilbing\"\nmax_ttl = \"1h\"\n");
    for verb in [&["policy", "diff"], &["policy", "apply"]] {
        let warned = shell.run(&[&verb[..], &["-f", "client.toml"]].concat()).await;
        assert!(warned.err.contains("warning: no client bilbing is on record"), "{warned:?}");
    }
    let set = shell.run(&["policy", "set", "b", "--client", "bilbing", "--max-ttl", "1h"]).await;
    assert!(set.err.contains("warning: no client bilbing is on record"), "{set:?}");
    let absent = shell.run(&["policy", "diff", "-f", "absent.toml"]).await;
    assert!(absent.code == 2 && absent.err.contains("absent.toml"), "{absent:?}");
}

#[tokio::test]
async fn every_command_of_the_page_on_policies_works_as_it_stands() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let file = PAGE.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    shell.write("policies.toml", file);
    let blocks = PAGE.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let commands: Vec<_> = blocks.flat_map(str::lines).filter_map(|line| line.strip_prefix("$ ")).collect();
    assert!(commands.len() >= 12, "{commands:?}");
    for command in commands {
        let said = shell.script(command).await;
        assert_eq!(said.code, 0, "{command}: {said:?}");
    }
}
