//! Lists in pages: their size, and the token of the next one.

use uuid::Uuid;

use crate::authority::Invalid;
use jeton_token::{Revision, base64url, sha256};

/// Rows of a page if the request names no number.
const PAGE_SIZE_DEFAULT: i64 = 50;
/// The most rows of a page.
pub(in crate::authority) const PAGE_SIZE_MAX: i64 = 1_000;
/// Bytes of a page token that identify its query.
const QUERY_BYTES: usize = 8;

/// A place in a list. Its token identifies the query, so that a token of another query is refused.
#[derive(Debug)]
pub struct Page {
    query: Vec<u8>,
    size: usize,
    after: Option<Vec<u8>>,
}

/// The requested page.
pub(in crate::authority) fn page(query: &str, page_size: i32, page_token: &str) -> Result<Page, Invalid> {
    if page_size < 0 {
        return Err(Invalid::field("page_size", "not negative"));
    }
    let size = match i64::from(page_size) {
        0 => PAGE_SIZE_DEFAULT,
        size => size.min(PAGE_SIZE_MAX),
    };
    let query: Vec<u8> = sha256(&[query.as_bytes()]).into_iter().take(QUERY_BYTES).collect();
    let after = if page_token.is_empty() {
        None
    } else {
        let token = base64url::decode(page_token).ok_or(Invalid::PageToken)?;
        Some(token.strip_prefix(query.as_slice()).ok_or(Invalid::PageToken)?.to_vec())
    };
    Ok(Page { query, size: usize::try_from(size).unwrap_or_default(), after })
}

impl Page {
    pub(in crate::authority) fn size(&self) -> usize {
        self.size
    }

    pub(in crate::authority) fn after(&self) -> Option<&[u8]> {
        self.after.as_deref()
    }

    /// The name that the page comes after, in a list by names.
    pub(in crate::authority) fn after_name(&self) -> Result<Option<&str>, Invalid> {
        self.after().map(|after| str::from_utf8(after).map_err(|_| Invalid::PageToken)).transpose()
    }

    pub(in crate::authority) fn after_id(&self) -> Result<Option<Uuid>, Invalid> {
        self.after().map(|after| Uuid::from_slice(after).map_err(|_| Invalid::PageToken)).transpose()
    }

    pub(in crate::authority) fn after_revision(&self) -> Result<Option<Revision>, Invalid> {
        let Some(after) = self.after() else { return Ok(None) };
        let number = after.try_into().map(i64::from_be_bytes).map_err(|_| Invalid::PageToken)?;
        Revision::from_i64(number).map(Some).ok_or(Invalid::PageToken)
    }

    /// One row more than the page holds, to see whether there is a next page.
    pub(in crate::authority) fn limit(&self) -> i64 {
        i64::try_from(self.size).unwrap_or(PAGE_SIZE_MAX).saturating_add(1)
    }

    /// Cuts the rows to the page. Returns the token of the next page, which begins after the `place` of the last row, or
    /// an empty text.
    pub(in crate::authority) fn cut<T, P: AsRef<[u8]>>(
        &self,
        rows: &mut Vec<T>,
        place: impl Fn(&T) -> P,
    ) -> String {
        let more = rows.len() > self.size;
        rows.truncate(self.size);
        rows.last().filter(|_| more).map_or_else(String::new, |last| self.next(place(last).as_ref()))
    }

    /// The place of a row that is listed by its revision.
    pub(in crate::authority) fn place_of(revision: Revision) -> [u8; 8] {
        revision.as_i64().to_be_bytes()
    }

    pub(in crate::authority) fn next(&self, after: &[u8]) -> String {
        base64url::encode([self.query.as_slice(), after].concat())
    }
}
