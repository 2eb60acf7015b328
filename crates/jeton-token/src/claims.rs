//! The claims of an access token.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::actor::Actor;
use super::custom::{CustomClaimError, check_custom};
use super::json::{Rule, Text, push_string, read_object};
use super::limits::{AUDIENCES_MAX, JTI_IAT_SPREAD_S, SCOPES_MAX, TIME_MAX_S};
use super::malformed::Malformed;
use super::revision::Revision;
use super::text;
use super::thumbprint::Thumbprint;
use super::time::UnixSeconds;

/// The claims of an access token (RFC 9068 section 2.2, and ours).
///
/// `parse` accepts what `to_json` can write and nothing else (V5). Texts without escapes are borrowed from the payload:
/// this code runs for every token that was never seen before.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims<'t> {
    /// `iss`: the issuer that minted it.
    pub issuer: Cow<'t, str>,
    /// `sub`: the subject that it speaks for.
    pub subject: Cow<'t, str>,
    /// `aud`: 1 to 10 values.
    pub audiences: Vec<Cow<'t, str>>,
    /// `scope`: at most 64 scope tokens; none leaves the claim out.
    pub scopes: Vec<Cow<'t, str>>,
    /// `client_id`: the client that obtained it.
    pub client_id: Cow<'t, str>,
    /// `jti`: a `UUIDv7`, within 60 s of `iat`.
    pub jti: Uuid,
    /// `sid`: its session, a `UUIDv7`.
    pub session_id: Option<Uuid>,
    /// `iat`.
    pub issue_time: UnixSeconds,
    /// `nbf`.
    pub not_before: Option<UnixSeconds>,
    /// `exp`: later than `iat`. The cap on the lifetime is checked elsewhere, because it has a status of its own.
    pub expire_time: UnixSeconds,
    /// `rev`: the revision that the minting replica had applied.
    pub revision: Revision,
    /// `cnf.x5t#S256`: the client certificate that it is bound to (RFC 8705 section 3.1).
    pub certificate_thumbprint: Option<Thumbprint>,
    /// `idp`: the trusted issuer by whose assertion it was obtained, by its short id.
    pub identity_provider: Option<Cow<'t, str>>,
    /// `act`: who acts for the subject (RFC 8693 section 4.1).
    pub actor: Option<Actor>,
    /// Custom claims.
    pub custom: Map<String, Value>,
}

impl<'t> Claims<'t> {
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
        if let Some(identity_provider) = &self.identity_provider {
            out.push_str(",\"idp\":");
            push_string(&mut out, identity_provider);
        }
        if let Some(actor) = &self.actor {
            push_name(&mut out, "act");
            // Writing to a text cannot fail.
            let _infallible = write!(out, "{}", actor.to_json());
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

    /// Parses a payload: strict JSON, one object. Every required claim is present, and each claim is of a type and form
    /// that Issue could have made; no registered name is present that Issue does not set.
    pub fn parse(payload: &'t [u8]) -> Result<Self, Malformed> {
        let rule = Rule::default();
        Self::of(read_object(payload, &rule, Payload(&rule))?)
    }

    fn of(members: Members<'t>) -> Result<Self, Malformed> {
        let claims = Self {
            issuer: text_of(members.iss, ISS_RULE, text::check_issuer)?,
            subject: text_of(members.sub, SUB_RULE, text::check_subject)?,
            audiences: audiences(members.aud)?,
            scopes: scopes(members.scope)?,
            client_id: text_of(members.client_id, CLIENT_ID_RULE, text::check_client_id)?,
            jti: uuid(members.jti, JTI_RULE)?.ok_or(Malformed::new(JTI_RULE))?,
            session_id: uuid(members.sid, SID_RULE)?,
            issue_time: time(members.iat, IAT_RULE)?.ok_or(Malformed::new(IAT_RULE))?,
            not_before: time(members.nbf, NBF_RULE)?,
            expire_time: time(members.exp, EXP_RULE)?.ok_or(Malformed::new(EXP_RULE))?,
            revision: members.rev.and_then(Revision::from_i64).ok_or(Malformed::new(REV_RULE))?,
            certificate_thumbprint: confirmation(members.cnf)?,
            identity_provider: members
                .idp
                .map(|idp| text_of(Some(idp), IDP_RULE, text::check_issuer_id))
                .transpose()?,
            actor: members
                .act
                .map(|act| Actor::from_json(act).ok_or(Malformed::new(ACT_RULE)))
                .transpose()?,
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

const ISS_RULE: &str = "`iss` is a text";
const SUB_RULE: &str = "`sub` is a text of 1 to 255 bytes";
const AUD_RULE: &str = "`aud` is an array of 1 to 10 audiences";
const CLIENT_ID_RULE: &str = "`client_id` is a client's id";
const SCOPE_RULE: &str = "`scope` is 1 to 64 scope tokens, one space between";
const JTI_RULE: &str = "`jti` is a canonical UUIDv7";
const SID_RULE: &str = "`sid` is a canonical UUIDv7";
const IDP_RULE: &str = "`idp` is the short id of a trusted issuer";
const ACT_RULE: &str = "`act` is {\"sub\": a subject}, with `act` for the one before, 4 at most";
const IAT_RULE: &str = "`iat` is whole seconds since the epoch";
const NBF_RULE: &str = "`nbf` is whole seconds since the epoch";
const EXP_RULE: &str = "`exp` is whole seconds since the epoch";
const REV_RULE: &str = "`rev` is a revision as an integer";

/// The members of a payload, each with its type. Integers are JSON integers: `1.0`, `1e3` and `"1"` are none.
#[derive(Default)]
struct Members<'t> {
    iss: Option<Text<'t>>,
    sub: Option<Text<'t>>,
    aud: Option<Vec<Text<'t>>>,
    exp: Option<i64>,
    iat: Option<i64>,
    nbf: Option<i64>,
    jti: Option<Text<'t>>,
    client_id: Option<Text<'t>>,
    rev: Option<i64>,
    scope: Option<Text<'t>>,
    sid: Option<Text<'t>>,
    cnf: Option<Value>,
    idp: Option<Text<'t>>,
    act: Option<Value>,
    custom: Map<String, Value>,
}

/// Reads the outermost object of a payload.
struct Payload<'r>(&'r Rule);

impl Payload<'_> {
    /// The value of the next member, which must not have occurred before.
    fn once<'de, A: MapAccess<'de>, T: Deserialize<'de>>(
        &self,
        members: &mut A,
        slot: &mut Option<T>,
        rule: &'static str,
    ) -> Result<(), A::Error> {
        if slot.is_some() {
            return Err(self.0.twice());
        }
        *slot = Some(self.0.or(rule, || members.next_value())?);
        Ok(())
    }
}

impl<'de> Visitor<'de> for Payload<'_> {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expect_object(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Members<'de>, A::Error> {
        let mut to = Members::default();
        while let Some(Text(name)) = from.next_key()? {
            match name.as_ref() {
                "iss" => self.once(&mut from, &mut to.iss, ISS_RULE)?,
                "sub" => self.once(&mut from, &mut to.sub, SUB_RULE)?,
                "aud" => self.once(&mut from, &mut to.aud, AUD_RULE)?,
                "exp" => self.once(&mut from, &mut to.exp, EXP_RULE)?,
                "iat" => self.once(&mut from, &mut to.iat, IAT_RULE)?,
                "nbf" => self.once(&mut from, &mut to.nbf, NBF_RULE)?,
                "jti" => self.once(&mut from, &mut to.jti, JTI_RULE)?,
                "client_id" => self.once(&mut from, &mut to.client_id, CLIENT_ID_RULE)?,
                "rev" => self.once(&mut from, &mut to.rev, REV_RULE)?,
                "scope" => self.once(&mut from, &mut to.scope, SCOPE_RULE)?,
                "sid" => self.once(&mut from, &mut to.sid, SID_RULE)?,
                "idp" => self.once(&mut from, &mut to.idp, IDP_RULE)?,
                "cnf" | "act" => {
                    let value = from.next_value_seed(self.0.any_value())?;
                    let slot = if name == "cnf" { &mut to.cnf } else { &mut to.act };
                    if slot.replace(value).is_some() {
                        return Err(self.0.twice());
                    }
                }
                _ => {
                    let value = from.next_value_seed(self.0.any_value())?;
                    if to.custom.insert(name.into_owned(), value).is_some() {
                        return Err(self.0.twice());
                    }
                }
            }
        }
        Ok(to)
    }
}

fn text_of<'t>(
    value: Option<Text<'t>>,
    rule: &'static str,
    check: fn(&str) -> Result<(), text::Rule>,
) -> Result<Cow<'t, str>, Malformed> {
    match value {
        Some(Text(text)) if check(&text).is_ok() => Ok(text),
        _ => Err(Malformed::new(rule)),
    }
}

/// Always an array, also for one value: Issue writes no bare string.
fn audiences(value: Option<Vec<Text<'_>>>) -> Result<Vec<Cow<'_, str>>, Malformed> {
    const RULE: Malformed = Malformed::new(AUD_RULE);
    let audiences = value.ok_or(RULE)?;
    if audiences.is_empty() || audiences.len() > AUDIENCES_MAX {
        return Err(RULE);
    }
    audiences
        .into_iter()
        .map(|Text(one)| text::check_audience(&one).map(|()| one).map_err(|_| RULE))
        .collect()
}

fn scopes(value: Option<Text<'_>>) -> Result<Vec<Cow<'_, str>>, Malformed> {
    let Some(Text(joined)) = value else { return Ok(Vec::new()) };
    let scopes: Vec<Cow<'_, str>> = match joined {
        Cow::Borrowed(joined) => joined.split(' ').map(Cow::Borrowed).collect(),
        Cow::Owned(joined) => joined.split(' ').map(|scope| scope.to_owned().into()).collect(),
    };
    let good = scopes.len() <= SCOPES_MAX && scopes.iter().all(|scope| text::check_scope(scope).is_ok());
    if good { Ok(scopes) } else { Err(Malformed::new(SCOPE_RULE)) }
}

fn uuid(value: Option<Text<'_>>, rule: &'static str) -> Result<Option<Uuid>, Malformed> {
    value.map(|Text(text)| text::parse_uuid_v7(&text).ok_or(Malformed::new(rule))).transpose()
}

fn time(value: Option<i64>, rule: &'static str) -> Result<Option<UnixSeconds>, Malformed> {
    match value {
        Some(seconds) if !(0..=TIME_MAX_S).contains(&seconds) => Err(Malformed::new(rule)),
        seconds => Ok(seconds.map(UnixSeconds::new)),
    }
}

/// `cnf` has one member: a second method of confirmation would be one that nobody checks.
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
