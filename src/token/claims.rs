//! What an access token says.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::custom::{CustomClaimError, check_custom};
use super::json::{self, push_string};
use super::limits::{AUDIENCES_MAX, JTI_IAT_SPREAD_S, SCOPES_MAX, TIME_MAX_S};
use super::malformed::Malformed;
use super::revision::Revision;
use super::text;
use super::thumbprint::Thumbprint;
use super::time::UnixSeconds;

/// The claims of an access token (RFC 9068 section 2.2, and ours).
///
/// `parse` takes what `to_json` can write and nothing else (V5).
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    /// `iss`: who minted it.
    pub issuer: String,
    /// `sub`: whom it speaks for.
    pub subject: String,
    /// `aud`: 1 to 10 values.
    pub audiences: Vec<String>,
    /// `scope`: at most 64 scope tokens; none leaves the claim out.
    pub scopes: Vec<String>,
    /// `client_id`: who obtained it.
    pub client_id: String,
    /// `jti`: a `UUIDv7`, within 60 s of `iat`.
    pub jti: Uuid,
    /// `sid`: its session, a `UUIDv7`.
    pub session_id: Option<Uuid>,
    /// `iat`.
    pub issue_time: UnixSeconds,
    /// `nbf`.
    pub not_before: Option<UnixSeconds>,
    /// `exp`: later than `iat`. The cap on the lifetime is judged elsewhere, as it has a status of its own.
    pub expire_time: UnixSeconds,
    /// `rev`: the place in the log that the minting replica had applied.
    pub revision: Revision,
    /// `cnf.x5t#S256`: the client certificate that it is bound to (RFC 8705 section 3.1).
    pub certificate_thumbprint: Option<Thumbprint>,
    /// Claims of the caller's own.
    pub custom: Map<String, Value>,
}

impl Claims {
    /// The payload as JSON: numbers whole, members in a fixed order, custom claims last.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = String::with_capacity(512);
        out.push_str("{\"iss\":");
        push_string(&mut out, &self.issuer);
        out.push_str(",\"sub\":");
        push_string(&mut out, &self.subject);
        let mut before = ",\"aud\":[";
        for audience in &self.audiences {
            out.push_str(before);
            push_string(&mut out, audience);
            before = ",";
        }
        out.push(']');
        push_number(&mut out, "exp", self.expire_time.get());
        push_number(&mut out, "iat", self.issue_time.get());
        if let Some(not_before) = self.not_before {
            push_number(&mut out, "nbf", not_before.get());
        }
        push_uuid(&mut out, "jti", self.jti);
        out.push_str(",\"client_id\":");
        push_string(&mut out, &self.client_id);
        push_number(&mut out, "rev", self.revision.as_i64());
        if !self.scopes.is_empty() {
            out.push_str(",\"scope\":");
            push_string(&mut out, &self.scopes.join(" "));
        }
        if let Some(session_id) = self.session_id {
            push_uuid(&mut out, "sid", session_id);
        }
        if let Some(thumbprint) = &self.certificate_thumbprint {
            out.push_str(",\"cnf\":{\"x5t#S256\":\"");
            out.push_str(&thumbprint.to_string());
            out.push_str("\"}");
        }
        for (name, value) in &self.custom {
            out.push(',');
            push_string(&mut out, name);
            out.push(':');
            // Writing to a text cannot fail.
            let _infallible = write!(out, "{value}");
        }
        out.push('}');
        out.into_bytes()
    }

    /// Reads a payload: strict JSON, one object. Every claim is present that must be, and of a type and form that Issue
    /// could have made; no registered name is there that Issue does not set.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut members = Members::default();
        json::parse_members(payload, |name, value| members.put(name, value))?;
        Self::of(members)
    }

    fn of(members: Members) -> Result<Self, Malformed> {
        let claims = Self {
            issuer: string(members.iss, "`iss` is a text", text::check_issuer)?,
            subject: string(members.sub, "`sub` is a text of 1 to 255 bytes", text::check_subject)?,
            audiences: audiences(members.aud)?,
            scopes: scopes(members.scope)?,
            client_id: string(members.client_id, "`client_id` is a client's id", text::check_client_id)?,
            jti: uuid(members.jti, JTI_RULE)?.ok_or(Malformed::new(JTI_RULE))?,
            session_id: uuid(members.sid, "`sid` is a canonical UUIDv7")?,
            issue_time: time(members.iat, IAT_RULE)?.ok_or(Malformed::new(IAT_RULE))?,
            not_before: time(members.nbf, "`nbf` is whole seconds since the epoch")?,
            expire_time: time(members.exp, EXP_RULE)?.ok_or(Malformed::new(EXP_RULE))?,
            revision: revision(members.rev.as_ref())?,
            certificate_thumbprint: confirmation(members.cnf)?,
            custom: members.custom,
        };
        claims.check_times()?;
        check_custom(&claims.custom).map_err(|error| {
            Malformed::new(match error {
                CustomClaimError::Reserved { .. } => {
                    "a registered claim is there that this issuer does not set"
                }
                CustomClaimError::NumberUnsafe { .. } => "a number in a custom claim is beyond ±(2^53 − 1)",
                CustomClaimError::TooLarge { .. } => "custom claims take at most 2048 bytes of JSON",
                CustomClaimError::Form { rule, .. } => rule,
            })
        })?;
        Ok(claims)
    }

    fn check_times(&self) -> Result<(), Malformed> {
        if self.expire_time <= self.issue_time {
            return Err(Malformed::new("`exp` is later than `iat`"));
        }
        let issue_ms = self.issue_time.get().saturating_mul(1_000);
        let spread_ms = text::uuid_unix_ms(self.jti).abs_diff(issue_ms);
        if spread_ms > JTI_IAT_SPREAD_S.saturating_mul(1_000).unsigned_abs() {
            return Err(Malformed::new("the time in `jti` is within 60 s of `iat`"));
        }
        Ok(())
    }
}

/// The members of a payload, each where it belongs: what is read for every token never seen before is not put into a
/// map first, to be looked for there.
#[derive(Default)]
struct Members {
    iss: Option<Value>,
    sub: Option<Value>,
    aud: Option<Value>,
    exp: Option<Value>,
    iat: Option<Value>,
    nbf: Option<Value>,
    jti: Option<Value>,
    client_id: Option<Value>,
    rev: Option<Value>,
    scope: Option<Value>,
    sid: Option<Value>,
    cnf: Option<Value>,
    custom: Map<String, Value>,
}

impl Members {
    /// Whether the name was new.
    fn put(&mut self, name: Cow<'_, str>, value: Value) -> bool {
        let slot = match name.as_ref() {
            "iss" => &mut self.iss,
            "sub" => &mut self.sub,
            "aud" => &mut self.aud,
            "exp" => &mut self.exp,
            "iat" => &mut self.iat,
            "nbf" => &mut self.nbf,
            "jti" => &mut self.jti,
            "client_id" => &mut self.client_id,
            "rev" => &mut self.rev,
            "scope" => &mut self.scope,
            "sid" => &mut self.sid,
            "cnf" => &mut self.cnf,
            _ => return self.custom.insert(name.into_owned(), value).is_none(),
        };
        slot.replace(value).is_none()
    }
}

const JTI_RULE: &str = "`jti` is a canonical UUIDv7";
const IAT_RULE: &str = "`iat` is whole seconds since the epoch";
const EXP_RULE: &str = "`exp` is whole seconds since the epoch";

fn string(
    value: Option<Value>,
    rule: &'static str,
    check: fn(&str) -> Result<(), &'static str>,
) -> Result<String, Malformed> {
    match value {
        Some(Value::String(text)) if check(&text).is_ok() => Ok(text),
        _ => Err(Malformed::new(rule)),
    }
}

/// An array always, also for one: Issue writes no bare string.
fn audiences(value: Option<Value>) -> Result<Vec<String>, Malformed> {
    const RULE: Malformed = Malformed::new("`aud` is an array of 1 to 10 audiences");
    let Some(Value::Array(items)) = value else { return Err(RULE) };
    if items.is_empty() || items.len() > AUDIENCES_MAX {
        return Err(RULE);
    }
    let one = |item| {
        let Value::String(text) = item else { return Err(RULE) };
        text::check_audience(&text).map(|()| text).map_err(|_| RULE)
    };
    items.into_iter().map(one).collect()
}

fn scopes(value: Option<Value>) -> Result<Vec<String>, Malformed> {
    const RULE: Malformed = Malformed::new("`scope` is 1 to 64 scope tokens, one space between");
    let joined = match value {
        None => return Ok(Vec::new()),
        Some(Value::String(joined)) => joined,
        Some(_) => return Err(RULE),
    };
    let scopes: Vec<String> = joined.split(' ').map(str::to_owned).collect();
    let good = scopes.len() <= SCOPES_MAX && scopes.iter().all(|scope| text::check_scope(scope).is_ok());
    if good { Ok(scopes) } else { Err(RULE) }
}

fn uuid(value: Option<Value>, rule: &'static str) -> Result<Option<Uuid>, Malformed> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => text::parse_uuid_v7(&text).map(Some).ok_or(Malformed::new(rule)),
        Some(_) => Err(Malformed::new(rule)),
    }
}

/// A JSON integer: `1.0`, `1e3` and `"1"` are none.
fn time(value: Option<Value>, rule: &'static str) -> Result<Option<UnixSeconds>, Malformed> {
    match value {
        None => Ok(None),
        Some(value) => match value.as_i64() {
            Some(seconds) if (0..=TIME_MAX_S).contains(&seconds) => Ok(Some(UnixSeconds::new(seconds))),
            _ => Err(Malformed::new(rule)),
        },
    }
}

fn revision(value: Option<&Value>) -> Result<Revision, Malformed> {
    let stored = value.and_then(Value::as_i64);
    stored.and_then(Revision::from_i64).ok_or(Malformed::new("`rev` is a revision as an integer"))
}

/// `cnf` has one member: a second way to confirm would be one that nobody checks.
fn confirmation(value: Option<Value>) -> Result<Option<Thumbprint>, Malformed> {
    const RULE: Malformed = Malformed::new("`cnf` is {\"x5t#S256\": a thumbprint} and nothing more");
    let mut members = match value {
        None => return Ok(None),
        Some(Value::Object(members)) => members,
        Some(_) => return Err(RULE),
    };
    let thumbprint = match members.remove("x5t#S256") {
        Some(Value::String(text)) => text.parse().map_err(|_| RULE)?,
        _ => return Err(RULE),
    };
    if members.is_empty() { Ok(Some(thumbprint)) } else { Err(RULE) }
}

fn push_number(out: &mut String, name: &str, value: i64) {
    push_name(out, name);
    // Writing to a text cannot fail.
    let _infallible = write!(out, "{value}");
}

fn push_uuid(out: &mut String, name: &str, id: Uuid) {
    push_name(out, name);
    out.push('"');
    out.push_str(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
    out.push('"');
}

fn push_name(out: &mut String, name: &str) {
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":");
}
