//! Lists that come in pages.

use crate::term::exit::Failure;

/// Items of one page.
pub const PAGE_SIZE: i32 = 200;

/// Fetches page after page: `fetch` takes the token of a page and returns that of the next, which is empty after the
/// last one.
pub async fn each(mut fetch: impl AsyncFnMut(String) -> Result<String, Failure>) -> Result<(), Failure> {
    let mut page_token = String::new();
    loop {
        page_token = fetch(page_token).await?;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

/// The size of the next page, if at most `limit` items are wanted, and so many were fetched.
pub fn page_size(limit: usize, fetched: usize) -> i32 {
    i32::try_from(limit.saturating_sub(fetched)).unwrap_or(PAGE_SIZE).min(PAGE_SIZE)
}
