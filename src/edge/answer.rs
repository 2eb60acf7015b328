//! The answer of an operation.

use std::pin::Pin;

use crate::authority::Error;

/// The answer of an operation that waits only if it must.
pub enum Answer<T> {
    /// Nothing had to be waited for.
    Now(T),
    /// The rest of the operation waits for Postgres.
    Later(Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>),
}

impl<T> Answer<T> {
    pub(super) fn later(rest: impl Future<Output = Result<T, Error>> + Send + 'static) -> Self {
        Self::Later(Box::pin(rest))
    }

    /// Waits for the answer.
    pub async fn whole(self) -> Result<T, Error> {
        match self {
            Self::Now(answer) => Ok(answer),
            Self::Later(rest) => rest.await,
        }
    }
}
