//! Mapping rules: which applies, and why others do not.

use serde_json::{Value, json};

use super::super::{Condition, Match, Outcome, Rule, RuleFault, Rules, RulesError, Test};
use super::object;

pub(super) fn exact(claim: &str, value: &str) -> Condition {
    Condition { claim: claim.to_owned(), test: Test::Exact(value.to_owned()) }
}

fn prefix(claim: &str, value: &str) -> Condition {
    Condition { claim: claim.to_owned(), test: Test::Prefix(value.to_owned()) }
}

pub(super) fn rule(priority: i32, conditions: Vec<Condition>, client_id: &str, subject: &str) -> Rule {
    Rule { priority, conditions, client_id: client_id.to_owned(), subject: subject.to_owned() }
}

/// The claims of a token of Kubernetes and one of a CI system, in one.
fn claims() -> Value {
    json!({
        "sub": "repo:acme/billing:ref:refs/heads/main",
        "repository": "acme/billing",
        "run_attempt": 1,
        "ratio": 0.5,
        "protected": true,
        "nothing": null,
        "empty": "",
        "groups": ["dev", "ops", 7, false, ["deep"]],
        "/odd": "slash",
        "a/b": {"m~n": "tilde"},
        "kubernetes.io": {"namespace": "prod", "serviceaccount": {"name": "billing", "uid": "7ee30c9d"}},
        "list": [{"name": "first"}, {"name": "second"}],
    })
}

fn holds(condition: Condition) -> bool {
    let rules = Rules::new(vec![rule(0, vec![condition], "ci", "a")]).unwrap();
    rules.evaluate(&object(&claims())).is_some()
}

#[test]
fn conditions_compare_strings_numbers_and_booleans() {
    assert!(holds(exact("repository", "acme/billing")));
    assert!(
        holds(exact("run_attempt", "1")) && holds(exact("protected", "true")) && holds(exact("ratio", "0.5"))
    );
    assert!(holds(prefix("sub", "repo:acme/")) && holds(prefix("repository", "acme/billing")));
    for condition in [
        exact("repository", "acme/bill"),
        exact("repository", "ACME/billing"),
        exact("run_attempt", "01"),
        exact("protected", "True"),
        prefix("sub", "repo:acme-evil/"),
        prefix("repository", "acme/billing2"),
        exact("nothing", "null"),
        exact("absent", "a"),
        exact("kubernetes.io", "prod"),
        prefix("kubernetes.io", "{"),
        prefix("list", "["),
    ] {
        assert!(!holds(condition.clone()), "{condition:?}");
    }
}

#[test]
fn of_an_array_one_element_must_do() {
    assert!(holds(exact("groups", "ops")) && holds(prefix("groups", "de")));
    assert!(holds(exact("groups", "7")) && holds(exact("groups", "false")));
    for value in ["dev,ops", "[\"dev\"]", "deep", "Ops"] {
        assert!(!holds(exact("groups", value)), "{value}");
    }
}

#[test]
fn a_pointer_names_a_nested_claim() {
    assert!(holds(exact("/kubernetes.io/serviceaccount/uid", "7ee30c9d")));
    assert!(holds(exact("/kubernetes.io/namespace", "prod")));
    assert!(holds(exact("/repository", "acme/billing")));
    assert!(holds(exact("/a~1b/m~0n", "tilde")) && holds(exact("/~1odd", "slash")));
    assert!(holds(exact("/list/1/name", "second")) && holds(exact("/groups/0", "dev")));
    for claim in [
        "kubernetes.io/namespace",
        "kubernetes.io.namespace",
        "/kubernetes.io/namespace/",
        "/kubernetes.io",
        "/odd",
        "/a/b",
        "/",
        "/list/01/name",
        "/list/-/name",
        "/list/2/name",
        "/list/99999999999999999999/name",
        "/repository/0",
    ] {
        assert!(!holds(exact(claim, "prod")) && !holds(prefix(claim, "s")), "{claim}");
    }
}

#[test]
fn all_conditions_must_hold() {
    let rules = |second: Condition| {
        Rules::new(vec![rule(0, vec![exact("repository", "acme/billing"), second], "ci", "a")]).unwrap()
    };
    assert!(rules(prefix("sub", "repo:")).evaluate(&object(&claims())).is_some());
    assert_eq!(rules(prefix("sub", "user:")).evaluate(&object(&claims())), None);
}

#[test]
fn the_lowest_priority_is_first_and_among_equals_the_order() {
    let any = || vec![prefix("sub", "repo:")];
    let rules = Rules::new(vec![
        rule(10, any(), "c10", "a"),
        rule(5, vec![exact("repository", "other")], "c5", "a"),
        rule(7, any(), "c7a", "a"),
        rule(7, any(), "c7b", "a"),
        rule(i32::MAX, any(), "last", "a"),
    ])
    .unwrap();
    let found = rules.evaluate(&object(&claims())).unwrap();
    assert_eq!(found, Match { rule: 2, client_id: "c7a".to_owned(), subject: "a".to_owned() });
    let order: Vec<_> = rules.explain(&object(&claims())).into_iter().map(|it| it.rule).collect();
    assert_eq!(order, [1, 2, 3, 0, 4]);
    let first = Rules::new(vec![rule(0, any(), "zero", "a"), rule(i32::MIN, any(), "min", "a")]).unwrap();
    assert_eq!(first.evaluate(&object(&claims())).unwrap().client_id, "min");
    assert_eq!(Rules::new(vec![]).unwrap().evaluate(&object(&claims())), None);
}

#[test]
fn an_explanation_says_what_failed() {
    let rules = Rules::new(vec![
        rule(0, vec![exact("repository", "acme/billing"), exact("run_attempt", "2")], "ci", "a"),
        rule(1, vec![exact("absent", "x")], "ci", "a"),
        rule(2, vec![prefix("/kubernetes.io/namespace", "dev-")], "ci", "a"),
        rule(3, vec![exact("repository", "acme/billing")], "ci", "{empty}"),
        rule(4, vec![exact("repository", "acme/billing")], "ci", "ci:{repository}"),
        rule(5, vec![exact("protected", "true")], "other", "b"),
    ])
    .unwrap();
    let told: Vec<String> = rules.explain(&object(&claims())).iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "rule 0: does not apply: condition 1 does not hold: the claim run_attempt is 1 and not \"2\"",
            "rule 1: does not apply: condition 0 does not hold: there is no claim absent",
            "rule 2: does not apply: condition 0 does not hold: the claim /kubernetes.io/namespace is \"prod\" \
             and does not begin with \"dev-\"",
            "rule 3: does not apply: its subject needs the claim empty as a string that is not empty, and it is \"\"",
            "rule 4: applies: the client is ci, the subject ci:acme/billing",
            "rule 5: would apply, but rule 4 comes first",
        ]
    );
    assert_eq!(rules.evaluate(&object(&claims())).unwrap().rule, 4);
}

#[test]
fn an_explanation_shows_64_characters_and_hides_none() {
    let words = |value: Value| {
        let rules = Rules::new(vec![rule(0, vec![exact("claim", "x")], "ci", "a")]).unwrap();
        let explained = rules.explain(&object(&json!({ "claim": value })));
        let Outcome::ConditionFailed { condition: 0, words } = &explained[0].outcome else {
            unreachable!("it does not hold: {explained:?}")
        };
        words.clone()
    };
    let long = words(json!("é".repeat(65)));
    assert!(long.contains(&format!("\"{}…\"", "é".repeat(64))) && !long.contains(&"é".repeat(65)), "{long}");
    let whole = words(json!("y".repeat(64)));
    assert!(whole.contains(&format!("\"{}\"", "y".repeat(64))), "{whole}");
    let array = words(json!(vec!["secret"; 100]));
    assert!(array.len() < 130 && array.contains('…'), "{array}");
    let hidden = words(json!("a\n\u{1b}[31m\u{202e}b"));
    assert!(hidden.contains(r"a\u{a}\u{1b}[31m\u{202e}b"), "{hidden}");
    assert!(!hidden.contains(char::is_control), "{hidden}");
}

#[test]
fn rules_are_bounded_and_never_take_everything() {
    let fault = |rule: Rule| match Rules::new(vec![rule]) {
        Err(RulesError::Rule { rule: 0, fault }) => Some(fault),
        Err(error) => unreachable!("{error}"),
        Ok(_) => None,
    };
    let one = |condition: Condition| fault(rule(0, vec![condition], "ci", "a"));
    assert_eq!(fault(rule(0, vec![], "ci", "a")), Some(RuleFault::NoCondition));
    assert_eq!(fault(rule(0, vec![exact("a", "b"); 17], "ci", "a")), Some(RuleFault::TooManyConditions));
    assert_eq!(fault(rule(0, vec![exact("a", "b"); 16], "ci", "a")), None);
    for text in [String::new(), "x".repeat(1_025)] {
        assert_eq!(one(prefix("sub", &text)), Some(RuleFault::Value));
        assert_eq!(one(exact("sub", &text)), Some(RuleFault::Value));
    }
    assert_eq!(one(prefix("sub", &"x".repeat(1_024))), None);
    for name in [String::new(), "x".repeat(257)] {
        assert_eq!(one(exact(&name, "x")), Some(RuleFault::ClaimName));
    }
    assert_eq!(one(exact(&"x".repeat(256), "x")), None);
    for name in ["/a~", "/~2", "/a~b", "/a/~~0"] {
        assert_eq!(one(exact(name, "x")), Some(RuleFault::Pointer), "{name}");
    }
    assert_eq!(one(exact("a~b", "x")), None, "no pointer: the name itself");
    for client_id in ["", "a b", "*", "jtk_abc", "é", &"x".repeat(256)] {
        let found = fault(rule(0, vec![exact("a", "b")], client_id, "a"));
        assert!(matches!(found, Some(RuleFault::ClientId(_))), "{client_id}");
    }
    let many = |count| Rules::new(vec![rule(0, vec![exact("a", "b")], "ci", "a"); count]).map(|_| ());
    assert_eq!((many(100), many(101)), (Ok(()), Err(RulesError::TooMany)));
    let second = vec![rule(0, vec![exact("a", "b")], "ci", "a"), rule(-1, vec![], "ci", "a")];
    let error = Rules::new(second).unwrap_err();
    assert_eq!(error.to_string(), "rule 1: a rule has at least one condition");
}
