//! The reasons why rules are refused when they are configured.

/// The reason why a list of rules is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// There are more than [`RULES_MAX`](crate::limits::RULES_MAX).
    #[error("there are more than 100 rules")]
    TooMany,
    /// One of them is refused.
    #[error("rule {rule}: {fault}")]
    Rule {
        /// Its place in the list, from 0.
        rule: usize,
        /// The reason.
        fault: RuleFault,
    },
}

/// The reason why a rule is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleFault {
    /// There is no condition: the rule would take every token of the issuer.
    #[error("a rule has at least one condition")]
    NoCondition,
    /// There are more than [`CONDITIONS_MAX`](crate::limits::CONDITIONS_MAX) conditions.
    #[error("a rule has at most 16 conditions")]
    TooManyConditions,
    /// A claim's name is empty, or longer than [`CLAIM_NAME_BYTES_MAX`](crate::limits::CLAIM_NAME_BYTES_MAX).
    #[error("the name of a claim is 1 to 256 bytes")]
    ClaimName,
    /// A claim's name begins with a slash, and is no JSON pointer.
    #[error("a claim's name that begins with / is a JSON pointer, in which ~ stands only in ~0 and ~1")]
    Pointer,
    /// A condition's text is empty, or longer than [`CONDITION_BYTES_MAX`](crate::limits::CONDITION_BYTES_MAX). Every
    /// value begins with the empty text.
    #[error("the value of a condition is 1 to 1024 bytes")]
    Value,
    /// The client's id has a form that no client has; words that complete "must be …".
    #[error("the client id must be {0}")]
    ClientId(String),
    /// The subject's template is empty, or longer than [`TEMPLATE_BYTES_MAX`](crate::limits::TEMPLATE_BYTES_MAX).
    #[error("the subject is 1 to 1024 bytes")]
    TemplateLength,
    /// A brace in the subject's template belongs to no claim.
    #[error("a brace in the subject surrounds the name of a claim, or is doubled")]
    Template,
}
