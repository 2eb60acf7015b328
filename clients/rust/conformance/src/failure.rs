//! Why a command is not done.

use jeton_client::JetonError;

/// Why a command fails.
pub(crate) enum Failure {
    Unsupported,
    Jeton(JetonError),
    Other(String),
}

impl From<JetonError> for Failure {
    fn from(error: JetonError) -> Self {
        Self::Jeton(error)
    }
}
