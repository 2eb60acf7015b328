//! Registered claims of foreign tokens (RFC 7519 section 4.1), read from their JSON.

use jeton_token::limits::TIME_MAX_S;
use serde_json::{Map, Number, Value};

use crate::limits::{CLOCK_SKEW_MS, TOKEN_ID_BYTES_MAX};
use crate::refused::Refused;

/// A claim that is a string, if it is there.
pub(crate) fn text<'c>(
    claims: &'c Map<String, Value>,
    claim: &'static str,
) -> Result<Option<&'c str>, Refused> {
    match claims.get(claim) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Refused::WrongForm { claim, form: "a string" }),
    }
}

/// A claim that must be a string.
pub(crate) fn required<'c>(claims: &'c Map<String, Value>, claim: &'static str) -> Result<&'c str, Refused> {
    text(claims, claim)?.ok_or(Refused::Missing(claim))
}

/// `jti`: 1 to 255 bytes, if it is there.
pub(crate) fn token_id(claims: &Map<String, Value>) -> Result<Option<&str>, Refused> {
    let token_id = text(claims, "jti")?;
    if token_id.is_none_or(|it| (1..=TOKEN_ID_BYTES_MAX).contains(&it.len())) {
        Ok(token_id)
    } else {
        Err(Refused::WrongForm { claim: "jti", form: "a text of 1 to 255 bytes" })
    }
}

/// A `NumericDate` (RFC 7519 section 2) in milliseconds since the epoch, if it is there. It may have a fraction; it lies
/// between 1970 and the year 9999, so that sums with it are exact.
pub(crate) fn time_ms(claims: &Map<String, Value>, claim: &'static str) -> Result<Option<i64>, Refused> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    let ms = value.as_number().and_then(milliseconds);
    ms.map(Some).ok_or(Refused::WrongForm { claim, form: "a number of seconds from 1970 to 9999" })
}

fn milliseconds(number: &Number) -> Option<i64> {
    let ms = match number.as_i64() {
        Some(seconds) => seconds.checked_mul(1_000)?,
        None => whole(number.as_f64()? * 1_000.0)?,
    };
    (0..=TIME_MAX_S.saturating_mul(1_000)).contains(&ms).then_some(ms)
}

/// The integer below a number.
fn whole(value: f64) -> Option<i64> {
    /// 2^53: integers up to here are exact.
    const MAX: f64 = 9_007_199_254_740_992.0;
    if !(0.0..=MAX).contains(&value) {
        return None;
    }
    #[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "0 to 2^53, and whole")]
    Some(value.floor() as i64)
}

/// The values of `aud`: a string or an array of strings, not empty (RFC 7519 section 4.1.3).
pub(crate) fn audiences(claims: &Map<String, Value>) -> Result<Vec<&str>, Refused> {
    const FORM: Refused =
        Refused::WrongForm { claim: "aud", form: "a string or an array of strings, with one value at least" };
    let values: Vec<&str> = match claims.get("aud") {
        None => return Err(Refused::Missing("aud")),
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(all)) => all.iter().map(Value::as_str).collect::<Option<_>>().ok_or(FORM)?,
        Some(_) => return Err(FORM),
    };
    if values.is_empty() || values.contains(&"") { Err(FORM) } else { Ok(values) }
}

/// `iat`, if it is there: not in the future, and at most `age_max_ms` ago. Clocks may differ by [`CLOCK_SKEW_MS`].
pub(crate) fn issue_time_ms(
    claims: &Map<String, Value>,
    now_ms: i64,
    age_max_ms: Option<i64>,
) -> Result<Option<i64>, Refused> {
    let Some(issued_ms) = time_ms(claims, "iat")? else { return Ok(None) };
    if issued_ms > now_ms.saturating_add(CLOCK_SKEW_MS) {
        return Err(Refused::IssuedInFuture);
    }
    let is_old = |max: i64| now_ms.saturating_sub(issued_ms) > max.saturating_add(CLOCK_SKEW_MS);
    if age_max_ms.is_some_and(is_old) { Err(Refused::TooOld) } else { Ok(Some(issued_ms)) }
}
