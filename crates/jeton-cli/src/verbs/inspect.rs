//! `jeton inspect`: shows the claims of a token in words. It contacts nothing, so it cannot know whether the token is
//! revoked; without a key set it cannot even know its issuer.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::term::escape::escape;
use crate::{
    invocation::Cli,
    term::{
        exit::{Exit, Failure},
        json,
        output::{self, Tone},
        time,
        token_input::TokenArgs,
    },
    verbs::pasted_token,
};
use jeton_io::files;
use jeton_token::{
    Claims, Malformed, RawToken, Rejected, Revision, VerifyingKey, base64url, inspect_unverified,
};

/// Flags.
#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    #[command(flatten)]
    token: TokenArgs,
    /// Verify the signature with the keys in this file
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
}

/// The result of checking the signature.
#[derive(Debug, PartialEq, Eq)]
enum Signature {
    /// It was not checked.
    Unchecked,
    /// A key of the set made it.
    Good(String),
    /// It cannot be trusted, for this reason.
    Bad(String),
}

/// A decoded token.
struct Inspected {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    signature: Signature,
    /// A rule of jeton that it breaks.
    broken: Option<Malformed>,
}

/// Runs it.
pub async fn run(cli: &Cli<'_>, args: InspectArgs) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()?;
    let keys = args.jwks.as_deref().map(read_keys).transpose()?;
    let token = pasted_token::bare(&args.token.read(cli, "Token").await?)?;
    let text = token.expose_secret();
    if text.starts_with("jtr_") {
        return refresh_token(text, as_json);
    }
    let inspected = match inspect(text, keys.as_deref()) {
        Ok(inspected) => inspected,
        Err(malformed) => {
            if as_json {
                output::data(&json::of_own(&serde_json::json!({ "malformed": finding(malformed) }))?)?;
            } else {
                output::data(&format!("This is no token: {}.", finding(malformed)))?;
            }
            return Ok(Exit::Negative);
        }
    };
    if as_json {
        print_json(&inspected)?;
    } else {
        print(cli, &inspected)?;
    }
    let is_bad =
        matches!(inspected.signature, Signature::Bad(_)) || (keys.is_some() && inspected.broken.is_some());
    Ok(if is_bad { Exit::Negative } else { Exit::Done })
}

fn inspect(text: &str, keys: Option<&[VerifyingKey]>) -> Result<Inspected, Malformed> {
    let (header, claims) = inspect_unverified(text)?;
    let raw = RawToken::parse(text);
    let signature = match (keys, &raw) {
        (None, _) => Signature::Unchecked,
        (Some(_), Err(malformed)) => Signature::Bad(finding(*malformed)),
        (Some(keys), Ok(raw)) => verify(raw, keys),
    };
    let broken = raw.and_then(|raw| Claims::parse(raw.payload()).map(drop)).err();
    Ok(Inspected { header, claims, signature, broken })
}

/// What was found, rather than the rule that it breaks: `its header is not canonical base64url`.
fn finding(malformed: Malformed) -> String {
    let rule = malformed.rule;
    if let Some((what, limit)) = rule.split_once(" is at most ") {
        let what = if what == "a token" { "it" } else { "its header" };
        return format!("{what} is longer than {limit}");
    }
    // Some rules are findings already.
    let is_found = ["JSON ", "not "].iter().any(|start| rule.starts_with(start)) || rule.contains(" is not ");
    let rule = if is_found { rule.to_owned() } else { rule.replacen(" is ", " is not ", 1) };
    rule.strip_prefix("a token ").map(|rest| format!("it {rest}")).unwrap_or(rule)
}

fn verify(raw: &RawToken<'_>, keys: &[VerifyingKey]) -> Signature {
    let Some(key) = keys.iter().find(|key| key.key_id() == raw.key_id()) else {
        return Signature::Bad(format!("the key set has no key {}", raw.key_id()));
    };
    match key.verify(raw) {
        // Faults of well-signed claims are shown separately: the signature is good.
        Ok(_) | Err(Rejected::MalformedClaims(_)) => Signature::Good(key.key_id().to_owned()),
        Err(Rejected::BadSignature) => Signature::Bad(format!("key {} did not make it", key.key_id())),
    }
}

fn read_keys(path: &Path) -> Result<Vec<VerifyingKey>, Failure> {
    let shown = path.display();
    if path.to_str().is_some_and(|text| text.starts_with("http://") || text.starts_with("https://")) {
        return Err(Failure::Usage(format!(
            "inspect contacts nothing, not even {shown}. Save the key set to a file, and give that."
        )));
    }
    let no_set = |why: String| Failure::Usage(format!("{shown} is no key set: {why}. Give a JWKS file."));
    let text =
        files::read_text(path).map_err(|error| Failure::Usage(format!("cannot read {shown}: {error}.")))?;
    let set: Value = serde_json::from_str(&text).map_err(|error| no_set(error.to_string()))?;
    let keys =
        set.get("keys").and_then(Value::as_array).ok_or_else(|| no_set("it has no `keys`".to_owned()))?;
    // A set may hold keys for other purposes: an unusable key is no error, it just verifies nothing.
    Ok(keys.iter().filter_map(|key| VerifyingKey::from_jwk(&key.to_string()).ok()).collect())
}

fn print(cli: &Cli<'_>, inspected: &Inspected) -> Result<(), Failure> {
    let claims = &inspected.claims;
    let now = (cli.env.now)();
    let trust = match &inspected.signature {
        Signature::Unchecked => "Nothing is verified: these are the claims in its text.".to_owned(),
        Signature::Good(key) => {
            let good = cli.output.paint("The signature is good", Tone::Good);
            format!("{good}: key {key} made it. Only a server knows whether it is revoked.")
        }
        Signature::Bad(why) => {
            let bad = cli.output.paint("The signature is not good", Tone::Bad);
            format!("{bad}: {}. Believe nothing of it.", escape(why))
        }
    };
    output::data(&trust)?;
    output::data(&escape(&sentence(claims, now)))?;
    if let Some(malformed) = inspected.broken {
        output::data(&format!("jeton would refuse it: {}.", finding(malformed)))?;
    }
    let rows = |members: &Map<String, Value>| -> Vec<_> {
        members.iter().map(|(name, value)| (name.clone(), in_words(name, value, now))).collect()
    };
    let all: Vec<_> = rows(&inspected.header).into_iter().chain(rows(claims)).collect();
    let escaped: Vec<_> = all.iter().map(|(name, value)| (escape(name), value.clone())).collect();
    let facts: Vec<_> = escaped.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    output::facts(&facts)
}

/// The subject, the audience and the lifetime, as a sentence.
fn sentence(claims: &Map<String, Value>, now: Timestamp) -> String {
    let text = |name| claims.get(name).map_or("nobody".to_owned(), plain);
    let (subject, audience, client) = (text("sub"), text("aud"), text("client_id"));
    let who = format!("It speaks for {subject} to {audience}; {client} obtained it.");
    let at = |name| claims.get(name).and_then(Value::as_i64).and_then(|at| Timestamp::from_second(at).ok());
    match (at("iat"), at("exp")) {
        (Some(issued), Some(expires)) => {
            let lifetime = time::show_signed(expires.duration_since(issued));
            let verb = if expires <= now { "expired" } else { "expires" };
            let (issued, expires) = (time::distance(issued, now), time::distance(expires, now));
            format!("{who} Issued {issued} for {lifetime}, it {verb} {expires}, by the clock here.")
        }
        _ => format!("{who} It does not say from when to when it is good."),
    }
}

/// A member's value; a number with its meaning.
fn in_words(name: &str, value: &Value, now: Timestamp) -> String {
    let number = value.as_i64();
    match (name, number) {
        ("iat" | "exp" | "nbf", Some(number)) => match Timestamp::from_second(number) {
            Ok(at) => format!("{at} ({})", time::distance(at, now)),
            Err(_) => format!("{number} (no time)"),
        },
        ("rev", Some(number)) => Revision::from_i64(number)
            .map_or_else(|| number.to_string(), |revision| format!("revision {revision}")),
        _ => plain(value),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}

fn print_json(inspected: &Inspected) -> Result<(), Failure> {
    let (signature, detail) = match &inspected.signature {
        Signature::Unchecked => ("unchecked", None),
        Signature::Good(_) => ("good", None),
        Signature::Bad(why) => ("bad", Some(why)),
    };
    let json = serde_json::json!({
        "header": inspected.header,
        "claims": inspected.claims,
        "signature": signature,
        "signatureProblem": detail,
        "malformed": inspected.broken.map(finding),
    });
    output::data(&json::of_own(&json)?)
}

/// A refresh token names its session and its generation; everything else in it is secret.
fn refresh_token(text: &str, as_json: bool) -> Result<Exit, Failure> {
    let Some((session, generation)) = session_of(text) else {
        output::data("This begins like a refresh token but is none: its length or alphabet is wrong.")?;
        return Ok(Exit::Negative);
    };
    if as_json {
        let json = serde_json::json!({ "refreshToken": { "sessionId": session.to_string(), "generation": generation } });
        output::data(&json::of_own(&json)?)?;
    } else {
        output::data("A refresh token. Nothing is verified: this is read from its text.")?;
        output::facts(&[("session", session.to_string()), ("refreshes before it", generation.to_string())])?;
    }
    Ok(Exit::Done)
}

/// Version 1: a byte, then the MAC key's id (4), the session (16) and the generation (4, big endian), of 73.
fn session_of(text: &str) -> Option<(Uuid, u32)> {
    let bytes: [u8; 73] = base64url::decode_array(text.strip_prefix("jtr_")?)?;
    if bytes.first() != Some(&1) {
        return None;
    }
    let session = Uuid::from_slice(bytes.get(5..21)?).ok()?;
    let generation = u32::from_be_bytes(bytes.get(21..25)?.try_into().ok()?);
    Some((session, generation))
}

/// The jti of a text in the form of a token: a name for people, not a fact.
pub fn claimed_jti(text: &str) -> Option<String> {
    let (_, claims) = inspect_unverified(text).ok()?;
    let jti = claims.get("jti")?.as_str()?;
    Uuid::try_parse(jti).ok().map(|jti| jti.to_string())
}

/// The audiences in a token's text: claimed, not a fact.
pub fn claimed_audiences(text: &str) -> Option<Vec<String>> {
    let (_, claims) = inspect_unverified(text).ok()?;
    let audiences = match claims.get("aud")? {
        Value::String(one) => vec![one.clone()],
        Value::Array(all) => all.iter().map(|one| one.as_str().map(str::to_owned)).collect::<Option<_>>()?,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return None,
    };
    Some(audiences).filter(|audiences| !audiences.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jeton_token::{Algorithm, SigningKey};

    fn now() -> Timestamp {
        Timestamp::constant(1_000, 0)
    }

    fn object(json: Value) -> Map<String, Value> {
        if let Value::Object(members) = json { members } else { Map::new() }
    }

    #[test]
    fn a_token_is_put_into_words() {
        let claims = object(serde_json::json!({
            "sub": "svc:billing", "aud": ["orders", "mail"], "client_id": "checkout", "iat": 940, "exp": 1_840,
        }));
        assert_eq!(
            sentence(&claims, now()),
            "It speaks for svc:billing to orders mail; checkout obtained it. Issued 1m ago for 15m, it expires in \
             14m, by the clock here."
        );
        assert_eq!(in_words("rev", &Value::from((1_i64 << 40) + 8_841), now()), "revision 1.8841");
        assert_eq!(in_words("exp", &Value::from(1_000), now()), "1970-01-01T00:16:40Z (now)");
    }

    #[test]
    fn garbage_is_no_token_and_an_unsigned_one_is_not_believed() {
        assert!(inspect("garbage", None).is_err());
        let part = |json: &str| base64url::encode(json);
        let text = format!("{}.{}.", part(r#"{"alg":"none"}"#), part(r#"{"sub":"x"}"#));
        let inspected = inspect(&text, Some(&[]));
        assert!(inspected.is_ok_and(|it| matches!(it.signature, Signature::Bad(_)) && it.broken.is_some()));
    }

    #[test]
    fn a_finding_is_said_and_not_the_rule() {
        for (rule, found) in [
            ("a token is three segments with dots between", "it is not three segments with dots between"),
            ("a token is at most 8192 bytes", "it is longer than 8192 bytes"),
            ("a header is at most 256 bytes", "its header is longer than 256 bytes"),
            ("the header is canonical base64url", "the header is not canonical base64url"),
            ("the header is not UTF-8", "the header is not UTF-8"),
            ("JSON has a member twice", "JSON has a member twice"),
            ("`exp` is later than `iat`", "`exp` is not later than `iat`"),
            ("not JSON", "not JSON"),
        ] {
            assert_eq!(finding(Malformed::new(rule)), found);
        }
    }

    #[test]
    fn a_token_is_verified_by_the_key_that_made_it() -> Result<(), Box<dyn std::error::Error>> {
        let key = SigningKey::generate(Algorithm::Es256)?;
        let claims = object(serde_json::json!({
            "iss": "http://a", "sub": "svc:billing", "aud": ["orders"], "client_id": "checkout",
            "jti": "00000000-03e8-7000-8000-000000000000", "iat": 1, "exp": 901, "rev": 0,
        }));
        let text = key.mint(&Claims::parse(&serde_json::to_vec(&claims)?)?)?;
        let inspected = inspect(&text, Some(&[key.verifying()]))?;
        assert_eq!(inspected.signature, Signature::Good(key.key_id().to_owned()));
        assert_eq!(inspected.broken, None);
        assert_eq!(inspect(&text, None)?.signature, Signature::Unchecked);
        let other = SigningKey::generate(Algorithm::Es256)?;
        assert!(matches!(inspect(&text, Some(&[other.verifying()]))?.signature, Signature::Bad(_)));
        assert_eq!(claimed_jti(&text).as_deref(), Some("00000000-03e8-7000-8000-000000000000"));
        Ok(())
    }

    #[test]
    fn a_refresh_token_names_its_session() {
        let session = Uuid::from_u128(0x0192_f0c8_0000_7000_8000_0000_0000_0001);
        let body = [&[1, 9, 9, 9, 9], session.as_bytes().as_slice(), &[0, 0, 0, 3], &[7; 48]].concat();
        let text = format!("jtr_{}", base64url::encode(body));
        assert_eq!(session_of(&text), Some((session, 3)));
        assert_eq!(session_of("jtr_AAAA"), None);
    }
}
