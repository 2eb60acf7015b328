//! "Did you mean": the nearest right spelling, and never a verb or flag that does the opposite.

use clap::error::{ContextKind, ContextValue};

/// Words of which nobody who types the one means the other. Some are no verbs of jeton: they are typed nevertheless.
const OPPOSITES: [(&str, &str); 19] = [
    ("lock", "unlock"),
    ("create", "delete"),
    ("create", "remove"),
    ("add", "delete"),
    ("add", "remove"),
    ("add-key", "delete-key"),
    ("add-key", "remove-key"),
    ("create-key", "delete-key"),
    ("set", "unset"),
    ("set", "delete"),
    ("set", "reset"),
    ("enable", "disable"),
    ("issue", "revoke"),
    ("grant", "revoke"),
    ("import", "export"),
    ("active", "inactive"),
    ("active", "retired"),
    ("keep-keys", "revoke-keys"),
    ("use", "remove"),
];
/// Beginnings that turn a word into its opposite.
const NEGATIONS: [&str; 4] = ["un", "dis", "de", "no-"];

/// The words that were typed, and those that are offered for them.
const PAIRS: [(ContextKind, ContextKind); 4] = [
    (ContextKind::InvalidSubcommand, ContextKind::SuggestedSubcommand),
    (ContextKind::InvalidArg, ContextKind::SuggestedArg),
    (ContextKind::InvalidArg, ContextKind::SuggestedSubcommand),
    (ContextKind::InvalidValue, ContextKind::SuggestedValue),
];

/// The error without suggestions of the opposite.
pub(super) fn without_opposites(mut error: clap::Error) -> clap::Error {
    for (typed, offered) in PAIRS {
        let Some(ContextValue::String(typed)) = error.get(typed) else { continue };
        let typed = typed.clone();
        let kept = match error.get(offered) {
            Some(ContextValue::String(one)) if is_opposite(&typed, one) => None,
            Some(ContextValue::Strings(several)) => {
                let kept: Vec<_> = several.iter().filter(|one| !is_opposite(&typed, one)).cloned().collect();
                Some(ContextValue::Strings(kept)).filter(|kept| *kept != ContextValue::Strings(Vec::new()))
            }
            _ => continue,
        };
        match kept {
            Some(kept) => error.insert(offered, kept),
            None => error.remove(offered),
        };
    }
    error
}

/// Returns whether what was typed is nearer to the opposite of this suggestion than to the suggestion itself.
fn is_opposite(typed: &str, suggestion: &str) -> bool {
    let bare = |word: &str| word.trim_start_matches("--").to_lowercase();
    let (typed, suggestion) = (bare(typed), bare(suggestion));
    let far = distance(&typed, &suggestion);
    let negated = |word: &str, other: &str| {
        let rests = NEGATIONS.iter().filter_map(|negation| word.strip_prefix(negation));
        rests.into_iter().any(|rest| distance(rest, other) < far)
    };
    let known = OPPOSITES.iter().any(|(one, other)| {
        (suggestion == *one && distance(&typed, other) <= far)
            || (suggestion == *other && distance(&typed, one) <= far)
    });
    known || negated(&typed, &suggestion) || negated(&suggestion, &typed)
}

/// The number of letters to add, remove or change.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, letter) in one.chars().enumerate() {
        let mut diagonal = above;
        let mut left = above.saturating_add(1);
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, other) in row.iter_mut().skip(1).zip(&other) {
            let changed = diagonal.saturating_add(usize::from(letter != *other));
            diagonal = *cell;
            left = changed.min(diagonal.saturating_add(1)).min(left.saturating_add(1));
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::args::command;

    #[test]
    fn the_opposite_is_never_offered() {
        for (typed, suggestion) in [
            ("unlock", "lock"),
            ("unlok", "lock"),
            ("lock", "unlock"),
            ("--enabled", "--disable"),
            ("--enable", "--disable"),
            ("--disabled", "--enable"),
            ("remove-key", "add-key"),
            ("undelete", "delete"),
            ("inactive", "active"),
        ] {
            assert!(is_opposite(typed, suggestion), "{typed} {suggestion}");
        }
        for (typed, suggestion) in [
            ("lokc", "lock"),
            ("unlok", "unlock"),
            ("delet", "delete"),
            ("creat", "create"),
            ("--disabel", "--disable"),
            ("revok", "revoke"),
            ("isue", "issue"),
            ("valdiate", "validate"),
            ("isnpect", "inspect"),
        ] {
            assert!(!is_opposite(typed, suggestion), "{typed} {suggestion}");
        }
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn an_error_offers_the_nearest_spelling() {
        let said = |words: &[&str]| {
            let error = command(|_| true).try_get_matches_from(words).unwrap_err();
            without_opposites(error).to_string()
        };
        assert!(said(&["jeton", "revok"]).contains("'revoke'"));
        assert!(said(&["jeton", "client", "updat", "x"]).contains("'update'"));
        let enabled = said(&["jeton", "client", "update", "x", "--enabled"]);
        assert!(enabled.contains("--enable'") && !enabled.contains("--disable"), "{enabled}");
        let disabled = said(&["jeton", "client", "create", "x", "--enabled"]);
        assert!(!disabled.contains("'--disabled'"), "{disabled}");
    }
}
