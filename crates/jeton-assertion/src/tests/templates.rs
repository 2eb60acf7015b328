//! The templates of subjects.

use serde_json::{Value, json};

use super::super::{Outcome, RuleFault, Rules, RulesError};
use super::object;
use super::rules::{exact, rule};

/// What a template makes of claims, or the words why it makes nothing.
fn filled(template: &str, claims: &Value) -> Result<String, String> {
    let mut claims = object(claims);
    claims.insert("on".to_owned(), json!("yes"));
    let rules = Rules::new(vec![rule(0, vec![exact("on", "yes")], "ci", template)]).unwrap();
    let subject = rules.evaluate(&claims).map(|found| found.subject);
    match rules.explain(&claims).remove(0).outcome {
        Outcome::Applies { subject: told, .. } => {
            assert_eq!(subject.as_deref(), Some(told.as_str()));
            Ok(told)
        }
        Outcome::NoSubject { words } => {
            assert_eq!(subject, None);
            Err(words)
        }
        Outcome::Preceded { .. } | Outcome::ConditionFailed { .. } => unreachable!("one rule, that holds"),
    }
}

#[test]
fn claims_stand_in_a_template_by_their_names() {
    let claims = json!({
        "sub": "billing",
        "https://a.example/team": "pay",
        "kubernetes.io": {"namespace": "prod", "serviceaccount": {"name": "web"}},
        "list": ["one"],
    });
    for (template, expected) in [
        ("fixed", "fixed"),
        ("{sub}", "billing"),
        ("{sub}{sub}", "billingbilling"),
        ("k8s:{/kubernetes.io/namespace}:{/kubernetes.io/serviceaccount/name}", "k8s:prod:web"),
        ("{https://a.example/team}", "pay"),
        ("{/https:~1~1a.example~1team}", "pay"),
        ("{/list/0}", "one"),
        ("{{{sub}}}", "{billing}"),
        ("{{sub}}", "{sub}"),
        ("a}}b{{c", "a}b{c"),
    ] {
        assert_eq!(filled(template, &claims).as_deref(), Ok(expected), "{template}");
    }
}

/// A claim is text: what it holds is not read as a template again.
#[test]
fn a_claim_does_not_become_a_template() {
    let claims = json!({"a": "{b}", "b": "root"});
    assert_eq!(filled("{a}", &claims).as_deref(), Ok("{b}"));
}

#[test]
fn a_claim_that_is_no_text_makes_no_subject() {
    for (value, words) in [
        (Value::Null, "null"),
        (json!(1), "1"),
        (json!(true), "true"),
        (json!(["a"]), "[\"a\"]"),
        (json!({"a": 1}), "{\"a\":1}"),
        (json!(""), "\"\""),
    ] {
        let said = filled("x:{claim}", &json!({ "claim": value })).unwrap_err();
        let expected =
            format!("its subject needs the claim claim as a string that is not empty, and it is {words}");
        assert_eq!(said, expected);
    }
    let said = filled("x:{claim}", &json!({})).unwrap_err();
    assert_eq!(said, "its subject needs the claim claim, which is missing");
}

/// A subject of a foreign token becomes one of ours: it must be one that ours may have.
#[test]
fn a_subject_has_the_form_of_a_subject() {
    for bad in ["*", "user:*", "a\nb", " a", "a\u{202e}b", "e\u{301}", &"x".repeat(256)] {
        let said = filled("{sub}", &json!({ "sub": bad })).unwrap_err();
        assert!(said.starts_with("its subject must be "), "{said}");
    }
    let longest = "x".repeat(255);
    assert_eq!(filled("{sub}", &json!({ "sub": longest })), Ok(longest.clone()));
    assert!(filled("{sub}x", &json!({ "sub": longest })).is_err());
}

#[test]
fn a_template_is_well_formed_and_bounded() {
    let fault = |template: &str| match Rules::new(vec![rule(0, vec![exact("a", "b")], "ci", template)]) {
        Err(RulesError::Rule { fault, .. }) => Some(fault),
        Err(RulesError::TooMany) => unreachable!("one rule"),
        Ok(_) => None,
    };
    for template in
        ["{", "}", "a{", "a}b", "{a", "a}", "{{a}", "{a}}", "{a{b}", "{a{b}}", "{{{a}}", "{a}{", "}{"]
    {
        assert_eq!(fault(template), Some(RuleFault::Template), "{template}");
    }
    assert_eq!(fault("{}"), Some(RuleFault::ClaimName));
    assert_eq!(fault("{/a~2}"), Some(RuleFault::Pointer));
    assert_eq!(fault(""), Some(RuleFault::TemplateLength));
    assert_eq!(fault(&"x".repeat(1_025)), Some(RuleFault::TemplateLength));
    assert_eq!(fault(&"x".repeat(1_024)), None);
    for template in ["{{", "}}", "{a}", "{a}}}", "{{{a}"] {
        assert_eq!(fault(template), None, "{template}");
    }
}
