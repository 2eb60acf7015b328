//! The form of a revocation's target.

use jiff::Timestamp;

use crate::{authority::Invalid, state::MarkKind};
use jeton_token::{UnixSeconds, pasted::uuid_in_any_form, text};

/// A cutoff that is less than this before now, seconds, counts as none: clocks are no more exact.
const CUTOFF_NOW_S: i64 = 60;

/// The refusal of a text that is no id. If it is an id in another spelling, the refusal names the canonical one.
pub(in crate::authority) fn not_uuid(field: &str, text: &str) -> Invalid {
    if text.is_empty() {
        Invalid::required(field)
    } else {
        let canonical = uuid_in_any_form(text).map(|id| format!(": {id}")).unwrap_or_default();
        Invalid::field(field, format!("a UUIDv7 in canonical lower-case form{canonical}"))
    }
}

/// Refuses a wide target that nothing can have.
pub(in crate::authority) fn check_wide(
    kind: MarkKind,
    target: &str,
    audience: Option<&str>,
    cutoff: Option<Timestamp>,
) -> Result<(), Invalid> {
    let (field, rule) = match kind {
        MarkKind::Subject => ("target.subject", text::check_subject(target)),
        MarkKind::Client => ("target.client_id", text::check_client_id(target)),
        MarkKind::Key => ("target.key_id", Ok(())),
        MarkKind::Audience => ("target.all_for_audience", text::check_audience(target)),
        MarkKind::Issuer => ("target.issuer_id", text::check_issuer_id(target)),
    };
    if target.is_empty() {
        return Err(Invalid::required(field));
    }
    rule.map_err(|rule| Invalid::field(field, rule))?;
    if kind == MarkKind::Key && cutoff.is_some() {
        return Err(Invalid::field(
            "target.issue_cutoff_time",
            "not with a key: a key hits all that it signed",
        ));
    }
    if kind == MarkKind::Key && audience.is_some() {
        return Err(Invalid::field("target.audience", "not with a key: a key hits all that it signed"));
    }
    if kind == MarkKind::Audience && audience.is_some() {
        return Err(Invalid::field("target.audience", "not with all_for_audience, which names one"));
    }
    match audience {
        Some(audience) => {
            text::check_audience(audience).map_err(|rule| Invalid::field("target.audience", rule))
        }
        None => Ok(()),
    }
}

/// The cutoff in whole seconds, rounded up; `0` if it is as good as none. Never in the future.
pub(in crate::authority) fn effective_cutoff(
    cutoff: Timestamp,
    now: Timestamp,
) -> Result<UnixSeconds, Invalid> {
    // Checked before rounding: a caller's "now" is not in the future.
    if cutoff > now {
        return Err(Invalid::field("target.issue_cutoff_time", "not in the future"));
    }
    let floor = UnixSeconds::from_timestamp(cutoff);
    let whole = Timestamp::from(floor) == cutoff;
    let cutoff = if whole { floor } else { floor.saturating_add(1) };
    if cutoff.get() <= 0 {
        return Err(Invalid::field("target.issue_cutoff_time", "after 1970-01-01T00:00:00Z"));
    }
    let as_good_as_none = UnixSeconds::from_timestamp(now).since(cutoff) <= CUTOFF_NOW_S;
    Ok(if as_good_as_none { UnixSeconds::new(0) } else { cutoff })
}
