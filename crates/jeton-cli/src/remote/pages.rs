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

/// Fetches page after page until `limit` items have come. `fetch` takes the size and the token of a page, and returns the
/// number of items that have come in all, and the token of the next page. Returns the token of the page that was not
/// fetched any more; empty if there is none.
pub async fn up_to(
    limit: usize,
    mut fetch: impl AsyncFnMut(i32, String) -> Result<(usize, String), Failure>,
) -> Result<String, Failure> {
    let (mut come, mut page_token) = (0, String::new());
    loop {
        (come, page_token) = fetch(page_size(limit, come), page_token).await?;
        if page_token.is_empty() || come >= limit {
            return Ok(page_token);
        }
    }
}

fn page_size(limit: usize, come: usize) -> i32 {
    i32::try_from(limit.saturating_sub(come)).unwrap_or(PAGE_SIZE).min(PAGE_SIZE)
}
