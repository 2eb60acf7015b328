//! The error of texts with a wrong form.

/// A broken rule of form. The rule is for people (`jeton inspect`, `doctor`): it is a fixed text and never quotes the
/// input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{rule}")]
pub struct Malformed {
    /// The rule that was broken, in words.
    pub rule: &'static str,
}

impl Malformed {
    /// A breach of `rule`.
    #[must_use]
    pub const fn new(rule: &'static str) -> Self {
        Self { rule }
    }
}
