//! The search for what can be revoked, in texts and files of any kind and length, in bounded memory: access and refresh
//! tokens, ids, API keys.
//!
//! A text of at most [`BLOCK`] bytes is searched as a whole: what was folded over several lines is found in it. Of a
//! longer one each thing must stand within a line.

mod forms;
mod found;
mod source;
#[cfg(test)]
mod tests;

use std::io::{self, ErrorKind, Read};

use memchr::{memchr_iter, memmem::Finder};
use zeroize::Zeroizing;

#[cfg(test)]
pub use forms::Claims;
use forms::{Folds, Jwt};
pub use found::{Found, IDS_MAX, Target, Targets, Token};
use jeton_token::limits::PARSED_TOKEN_BYTES_MAX;
pub use source::{is_endless, plain};

/// Read at once.
const BLOCK: usize = 1024 * 1024;
/// The longest thing, and what must be seen behind it.
const AHEAD: usize = 2 * PARSED_TOKEN_BYTES_MAX;
/// What must be seen before a thing to know that it begins there.
const BEHIND: usize = 32;
/// More is not searched: nobody waits for it, and a stream may have no end.
const SEARCH_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;

/// Searches all that a source gives. `each` learns how many bytes were searched, now and then. Returns the text if all
/// of it was searched as a whole.
///
/// An error ends the search; what was read before it has been searched.
pub fn scan(
    source: impl Read,
    found: &mut Found,
    each: &mut dyn FnMut(&Found),
) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    Scanner::new(BLOCK).scan(source, found, each)
}

/// Searches a text as a whole.
pub fn scan_text(text: &[u8], found: &mut Found) {
    Scanner::new(BLOCK).whole(text, found);
}

struct Scanner {
    block: usize,
    jwt: Finder<'static>,
    refresh: Finder<'static>,
    api_key: Finder<'static>,
}

impl Scanner {
    fn new(block: usize) -> Self {
        Self {
            block,
            jwt: Finder::new(forms::JWT),
            refresh: Finder::new(forms::REFRESH),
            api_key: Finder::new(forms::API_KEY),
        }
    }

    fn scan(
        &self,
        mut source: impl Read,
        found: &mut Found,
        each: &mut dyn FnMut(&Found),
    ) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        let room = self.block.saturating_add(AHEAD).saturating_add(BEHIND);
        let mut buffer = Zeroizing::new(vec![0_u8; room]);
        let (mut length, mut end) = fill(&mut source, &mut buffer);
        found.bytes = found.bytes.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        if let Some(end) = end {
            buffer.truncate(length);
            self.whole(&buffer, found);
            return end.map(|()| Some(buffer));
        }
        let mut from = 0;
        loop {
            let to = if end.is_some() { length } else { length.saturating_sub(AHEAD) };
            self.part(buffer.get(..length).unwrap_or_default(), from, to, Folds::None, found);
            each(found);
            match end {
                Some(Ok(())) => return Ok(None),
                Some(Err(error)) => return Err(error),
                None if found.bytes > SEARCH_BYTES_MAX => return Err(ErrorKind::FileTooLarge.into()),
                None => {}
            }
            let keep = to.saturating_sub(BEHIND);
            buffer.copy_within(keep..length, 0);
            let kept = length.saturating_sub(keep);
            from = to.saturating_sub(keep);
            let (read, then) = fill(&mut source, buffer.get_mut(kept..).unwrap_or_default());
            found.bytes = found.bytes.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
            length = kept.saturating_add(read);
            end = then;
        }
    }

    fn whole(&self, text: &[u8], found: &mut Found) {
        self.part(text, 0, text.len(), Folds::Blanks, found);
        // Ids that were folded. Those of other ages were counted, or are none.
        let joined = forms::unfolded(text);
        if joined.len() < text.len() {
            each_uuid(&joined, 0, joined.len(), &mut |id| {
                if found.is_recent(id) {
                    found.add_id(id);
                }
            });
        }
    }

    /// Searches what begins in `from..to`.
    fn part(&self, bytes: &[u8], from: usize, to: usize, folds: Folds, found: &mut Found) {
        let candidates = |finder: &Finder<'static>| {
            let ahead = bytes.get(from..).unwrap_or_default();
            let places: Vec<_> =
                finder.find_iter(ahead).map(|at| at.saturating_add(from)).take_while(|at| *at < to).collect();
            places
        };
        let mut next = 0;
        for at in candidates(&self.jwt) {
            if at >= next
                && let Some((jwt, end)) = read_jwt(bytes, at, folds)
            {
                next = end;
                match jwt {
                    Jwt::Whole(text, claims) => found.add_token(text, claims),
                    Jwt::Unsigned(claims) => found.add_unsigned(&claims),
                    Jwt::Broken => found.broken = found.broken.saturating_add(1),
                }
            }
        }
        for at in candidates(&self.refresh) {
            match tries(folds, |folds| forms::refresh(bytes, at, folds), Result::is_ok) {
                Some(Ok((text, session))) => found.add_refresh(text, session),
                Some(Err(())) => found.broken = found.broken.saturating_add(1),
                None => {}
            }
        }
        for at in candidates(&self.api_key) {
            if let Some(id) = tries(folds, |folds| forms::api_key(bytes, at, folds), |_| true) {
                found.add_api_key(id);
            }
        }
        each_uuid(bytes, from, to, &mut |id| found.add_uuid(id));
        each_bare_uuid(bytes, from, to, found);
    }
}

fn read_jwt(bytes: &[u8], at: usize, folds: Folds) -> Option<(Jwt, usize)> {
    tries(folds, |folds| forms::jwt(bytes, at, folds), |(jwt, _)| matches!(jwt, Jwt::Whole(..)))
}

/// Reads something as it stands, then folded; the first good result, otherwise the first.
fn tries<T>(most: Folds, read: impl Fn(Folds) -> Option<T>, is_good: impl Fn(&T) -> bool) -> Option<T> {
    let mut first = read(Folds::None);
    if most == Folds::None || first.as_ref().is_some_and(&is_good) {
        return first;
    }
    for folds in [Folds::Lines, Folds::Blanks] {
        match read(folds) {
            Some(result) if is_good(&result) => return Some(result),
            other => first = first.or(other),
        }
    }
    first
}

/// UUIDs with hyphens.
fn each_uuid(bytes: &[u8], from: usize, to: usize, add: &mut dyn FnMut(uuid::Uuid)) {
    const FIRST_HYPHEN: usize = 8;
    let ahead = bytes.get(from..).unwrap_or_default();
    for at in memchr_iter(b'-', ahead) {
        let hyphen = at.saturating_add(from);
        if hyphen >= to.saturating_add(FIRST_HYPHEN) {
            break;
        }
        let is_hyphen = |behind: usize| bytes.get(hyphen.saturating_add(behind)) == Some(&b'-');
        if let Some(start) = hyphen.checked_sub(FIRST_HYPHEN)
            && start >= from
            && is_hyphen(5)
            && is_hyphen(10)
            && is_hyphen(15)
            && let Some(id) = forms::uuid(bytes, start)
        {
            add(id);
        }
    }
}

/// UUIDs without hyphens. So are ids of traces and hashes written: one counts only if it can be of jeton, and no other
/// is mentioned.
fn each_bare_uuid(bytes: &[u8], from: usize, to: usize, found: &mut Found) {
    const DIGITS: usize = 32;
    // A run of 32 digits covers a place of every sixteen.
    const STEP: usize = 16;
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    let mut at = from;
    while at < to.saturating_add(STEP) {
        if is_digit(at) && is_digit(at.saturating_add(STEP).saturating_sub(1)) {
            let back = (0..DIGITS).take_while(|back| {
                at.checked_sub(back.saturating_add(1))
                    .is_some_and(|before| before >= from && is_digit(before))
            });
            let start = at.saturating_sub(back.count());
            let length = (0..=DIGITS).take_while(|ahead| is_digit(start.saturating_add(*ahead))).count();
            let end = start.saturating_add(DIGITS);
            if length == DIGITS
                && start < to
                && forms::begins(bytes, start)
                && !bytes.get(end).is_some_and(u8::is_ascii_alphanumeric)
                && let Some(text) = bytes.get(start..end)
                && let Ok(id) = uuid::Uuid::try_parse_ascii(text)
                && found.is_recent(id)
            {
                found.add_id(id);
            }
        }
        at = at.saturating_add(STEP);
    }
}

/// Reads until the buffer is full. The second value is there at the end: of the source, or by an error.
fn fill(source: &mut impl Read, buffer: &mut [u8]) -> (usize, Option<io::Result<()>>) {
    let mut filled = 0_usize;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match source.read(rest) {
            Ok(0) => return (filled, Some(Ok(()))),
            Ok(read) => filled = filled.saturating_add(read),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (filled, Some(Err(error))),
        }
    }
    (filled, None)
}
