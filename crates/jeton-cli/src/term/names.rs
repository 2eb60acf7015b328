//! Names on the command line in which a `*` would be meant as more than it is.

/// A scope that a policy allows.
pub fn scope(text: &str) -> Result<String, String> {
    if text.contains('*') {
        return Err(
            "there are no wildcards for scopes: a policy without --allow-scope allows every scope".into()
        );
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e23_a_wildcard_that_would_match_nothing_is_refused() {
        assert_eq!(scope("orders:read").as_deref(), Ok("orders:read"));
        assert!(scope("*").is_err() && scope("orders:*").is_err());
    }
}
