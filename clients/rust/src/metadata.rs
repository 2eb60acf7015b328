//! The metadata of errors: read into types, and named.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

/// The value of a field of an error.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Field {
    /// A text.
    Text(String),
    /// A whole number.
    Count(i64),
    /// A duration.
    Duration(SignedDuration),
    /// A point in time.
    Time(Timestamp),
}

/// What a field may hold.
pub(crate) trait FieldValue {
    /// The field, if it is set.
    fn field(&self) -> Option<Field>;
}

impl FieldValue for Option<String> {
    fn field(&self) -> Option<Field> {
        self.clone().map(Field::Text)
    }
}

impl FieldValue for Option<i64> {
    fn field(&self) -> Option<Field> {
        self.map(Field::Count)
    }
}

impl FieldValue for Option<SignedDuration> {
    fn field(&self) -> Option<Field> {
        self.map(Field::Duration)
    }
}

impl FieldValue for Option<Timestamp> {
    fn field(&self) -> Option<Field> {
        self.map(Field::Time)
    }
}

type Metadata = HashMap<String, String>;

pub(crate) fn text(metadata: &Metadata, key: &str) -> Option<String> {
    metadata.get(key).cloned()
}

pub(crate) fn count(metadata: &Metadata, key: &str) -> Option<i64> {
    metadata.get(key)?.parse().ok()
}

pub(crate) fn seconds(metadata: &Metadata, key: &str) -> Option<SignedDuration> {
    SignedDuration::try_from_secs_f64(metadata.get(key)?.parse().ok()?).ok()
}

pub(crate) fn millis(metadata: &Metadata, key: &str) -> Option<SignedDuration> {
    count(metadata, key).map(SignedDuration::from_millis)
}

pub(crate) fn time(metadata: &Metadata, key: &str) -> Option<Timestamp> {
    metadata.get(key)?.parse().ok()
}
