//! What is said when a person interrupts work that can be continued.

use std::sync::{Mutex, PoisonError};

static WORDS: Mutex<Option<String>> = Mutex::new(None);

/// From now on an interruption is answered with these words; `None`: with the usual ones.
pub fn set_words(words: Option<String>) {
    *WORDS.lock().unwrap_or_else(PoisonError::into_inner) = words;
}

/// The words, if the work has some of its own.
pub fn words() -> Option<String> {
    WORDS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
