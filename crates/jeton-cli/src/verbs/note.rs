//! The note of an act: free text, which the audit trail keeps and shows.

use crate::term::{output, secrets::without_secrets};

/// The note without the credentials in it. The act goes on, for it may be an emergency, and says so.
#[must_use]
pub fn without_credentials(note: Option<&str>) -> Option<String> {
    let without = without_secrets(note?);
    if note != Some(&*without) {
        output::talk("The note holds a token or an API key: [secret] is written in its place.");
    }
    Some(without)
}
