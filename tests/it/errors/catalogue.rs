//! `error_reason.proto` as its comments say it, and a refusal held to it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jeton::proto::v1::ErrorReason;
use prost::Message;
use tonic::{Code, Status};
use tonic_types::{ErrorDetail, StatusExt};

const TEXT: &str = include_str!("../../../proto/jeton/v1/error_reason.proto");

/// The promises in the comment of a reason.
pub struct Entry {
    code: String,
    always: BTreeSet<String>,
    sometimes: BTreeSet<String>,
}

/// Every reason by its name.
pub fn read() -> HashMap<String, Entry> {
    let (mut entries, mut comment) = (HashMap::new(), String::new());
    for line in TEXT.lines().map(str::trim).skip_while(|line| !line.starts_with("enum")).skip(1) {
        if let Some(text) = line.strip_prefix("//") {
            comment += text;
        } else if let Some((name, _)) = line.split_once(" = ") {
            entries.insert(name.to_owned(), entry(std::mem::take(&mut comment).trim()));
        }
    }
    entries
}

fn entry(comment: &str) -> Entry {
    let (code, rest) = comment.split_once('.').unwrap();
    let keys = rest.split_once("Metadata: ").map(|(_, keys)| keys.trim_end_matches('.')).unwrap_or_default();
    let (mut always, mut sometimes) = (BTreeSet::new(), BTreeSet::new());
    for key in keys.split(',').map(str::trim).filter(|key| !key.is_empty()) {
        let key = key.strip_prefix("and ").unwrap_or(key);
        let name = key.split(' ').next().unwrap().to_owned();
        if key.contains(" when ") {
            sometimes.insert(name)
        } else {
            always.insert(name)
        };
    }
    Entry { code: code.to_owned(), always, sometimes }
}

/// Checks E1, and the catalogue's entry for this reason.
pub fn hold(catalogue: &HashMap<String, Entry>, reason: ErrorReason, call: &str, status: &Status) {
    let shown = format!("{call}: {status:?}");
    let entry = &catalogue[reason.as_str_name()];
    let code = format!("{:?}", status.code());
    assert_eq!(code.to_uppercase(), entry.code.replace('_', ""), "the code: {shown}");

    let details = status.get_error_details_vec();
    let count = |is: fn(&ErrorDetail) -> bool| details.iter().filter(|detail| is(detail)).count();
    assert_eq!(count(|detail| matches!(detail, ErrorDetail::ErrorInfo(_))), 1, "one ErrorInfo: {shown}");
    let info = status.get_details_error_info().unwrap();
    assert_eq!(format!("ERROR_REASON_{}", info.reason), reason.as_str_name(), "{shown}");
    assert_eq!(info.domain, "jeton.v1", "{shown}");
    let keys: BTreeSet<_> = info.metadata.keys().cloned().collect();
    let required: BTreeSet<_> = keys.difference(&entry.sometimes).cloned().collect();
    assert_eq!(required, entry.always, "metadata: {shown}");
    let numbers: BTreeMap<_, _> = info
        .metadata
        .iter()
        .filter(|(key, _)| {
            ["Seconds", "Millis", "Bytes", "ize", "Sessions"].iter().any(|unit| key.ends_with(unit))
        })
        .collect();
    for (key, value) in numbers {
        assert!(value.parse::<i64>().is_ok(), "{key} is a number: {shown}");
    }

    let expected = usize::from(status.code() == Code::InvalidArgument);
    assert_eq!(count(|detail| matches!(detail, ErrorDetail::BadRequest(_))), expected, "BadRequest: {shown}");
    for violation in status.get_details_bad_request().into_iter().flat_map(|bad| bad.field_violations) {
        assert!(!violation.field.is_empty() && !violation.description.is_empty(), "{shown}");
        let lower = violation.field.chars().all(|c| c.is_ascii_lowercase() || "_.[]0123456789".contains(c));
        assert!(lower, "a path in snake case: {shown}");
        if let Some(field) = info.metadata.get("field") {
            assert_eq!(field, &violation.field, "{shown}");
        }
    }
    let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
    let helps = matches!(status.code(), Code::Unavailable | Code::ResourceExhausted);
    assert_eq!(delay.is_some_and(|delay| !delay.is_zero()), helps, "RetryInfo where a retry helps: {shown}");
    assert_eq!(details.len(), 1 + expected + usize::from(helps), "and nothing else: {shown}");

    let message = status.message();
    assert!(message.chars().count() <= 300 && !message.chars().any(char::is_control), "{shown}");
    assert!(message.ends_with('.') && message.contains([' ']), "sentences: {shown}");
    let sentences = message.matches(". ").count() + message.matches(": ").count() + 1;
    assert!(sentences >= 2, "what is wrong, and what to do: {shown}");
    for internal in
        ["eyJ", "jtr_", "select ", "insert ", "put_policy", "relation", "sqlx", "src/", "panicked"]
    {
        assert!(!message.contains(internal), "{internal}: {shown}");
    }
    let encoded = tonic_types::pb::Status::decode(status.details()).unwrap();
    assert_eq!(
        (encoded.code, encoded.message.as_str()),
        (i32::from(status.code()), message),
        "google.rpc.Status"
    );
}
