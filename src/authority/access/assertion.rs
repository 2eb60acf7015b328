//! Assertions of trusted issuers (RFC 7521, RFC 7523): whom they vouch for, by the rules of their registration.

use std::sync::Arc;

use jeton_assertion::{Assertion, Audience, Expectation, Issuer, KeySet, Outcome, Refused, Typ, Unverified};
use jeton_token::{Revision, UnixSeconds};

use crate::{
    authority::{Authority, Error},
    state::{Snapshot, TrustedIssuer},
    tls::Peer,
    trust::KeysFault,
};

/// The prefix of an issuer that is a SPIFFE trust domain.
const SPIFFE: &str = "spiffe://";

/// Whom an assertion vouches for. It holds as long as its issuer's registration stays as it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vouched {
    /// The short id of the issuer.
    pub issuer_id: String,
    /// The revision of the registration by which it was judged.
    pub issuer_revision: Revision,
    /// The client that the caller is.
    pub client_id: String,
    /// The subject that the caller speaks for.
    pub subject: String,
    /// `exp` of the assertion: nothing that is obtained by it ends later.
    pub expire_time: UnixSeconds,
    /// The claim `client_id`, which an ID-JAG has.
    pub named_client: Option<String>,
}

/// Why an assertion vouches for nobody, as a sentence that follows "The assertion is refused: ".
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AssertionRefused {
    /// Its text, its signature or its claims.
    #[error(transparent)]
    Token(#[from] Refused),
    /// No trusted issuer has this `iss`, or this trust domain.
    #[error("its issuer is not trusted here")]
    UnknownIssuer,
    /// The keys of its issuer are not there.
    #[error(transparent)]
    Keys(#[from] KeysFault),
    /// No rule of the registration fits its claims.
    #[error("no rule of its issuer fits its claims")]
    NoRule,
    /// The rule names a client that may not call.
    #[error("the rule names a client that is not registered, or disabled")]
    UnknownClient,
}

impl AssertionRefused {
    /// Returns whether it may be otherwise in a moment.
    #[must_use]
    pub fn is_for_now(&self) -> bool {
        matches!(self, Self::Keys(KeysFault::NotYet))
    }
}

/// How an assertion fares.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tested {
    /// The short id of its issuer; empty: none is known.
    pub issuer_id: String,
    /// The client that its bearer would be; empty: no rule fits.
    pub client_id: String,
    /// The subject that it would speak for.
    pub subject: String,
    /// How each rule fares, in the order in which they are tried.
    pub rules: Vec<TestedRule>,
}

/// How a rule fares.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TestedRule {
    /// Its place in the registration.
    pub rule: usize,
    /// Its priority.
    pub priority: i32,
    /// In words.
    pub outcome: String,
    /// It decides.
    pub decides: bool,
}

/// The purpose of an assertion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// It says who somebody is.
    Identity,
    /// An identity assertion authorization grant, which names the client that may use it.
    IdJag,
}

impl Purpose {
    fn typ(self) -> Typ<'static> {
        match self {
            // Not an access token: those of this issuer are none, either.
            Self::Identity => Typ::ORDINARY,
            Self::IdJag => Typ::ID_JAG,
        }
    }
}

impl Authority {
    /// Judges an assertion by the keys that are held, without waiting.
    pub fn vouched(
        &self,
        snapshot: &Snapshot,
        text: &str,
        purpose: Purpose,
    ) -> Result<Vouched, AssertionRefused> {
        let token = Unverified::parse(text)?;
        let issuer = trusted(snapshot, &token)?;
        let keys = self.issuer_keys.of(&issuer, token.key_id())?;
        self.judged(snapshot, &token, &issuer, &keys, purpose)
    }

    /// The same, once the keys of its issuer have been read; if they lack the key, once they have been read again.
    pub async fn vouched_when_ready(
        &self,
        snapshot: &Snapshot,
        text: &str,
        purpose: Purpose,
    ) -> Result<Vouched, AssertionRefused> {
        let token = Unverified::parse(text)?;
        let issuer = trusted(snapshot, &token)?;
        let keys = self.issuer_keys.ready(&issuer, token.key_id()).await?;
        self.judged(snapshot, &token, &issuer, &keys, purpose)
    }

    fn judged(
        &self,
        snapshot: &Snapshot,
        token: &Unverified<'_>,
        issuer: &TrustedIssuer,
        keys: &KeySet,
        purpose: Purpose,
    ) -> Result<Vouched, AssertionRefused> {
        mapped(snapshot, issuer, &self.verified(token, issuer, keys, purpose)?)
    }

    /// How an assertion fares, for people who set up an issuer. Nothing is obtained by it.
    pub(in crate::authority) async fn tested(
        &self,
        snapshot: &Snapshot,
        text: &str,
    ) -> (Tested, Option<AssertionRefused>) {
        let mut tested = Tested::default();
        let refused = self.test(snapshot, text, &mut tested).await.err();
        (tested, refused)
    }

    async fn test(
        &self,
        snapshot: &Snapshot,
        text: &str,
        tested: &mut Tested,
    ) -> Result<(), AssertionRefused> {
        let token = Unverified::parse(text)?;
        let issuer = trusted(snapshot, &token)?;
        tested.issuer_id.clone_from(&issuer.issuer_id);
        let keys = self.issuer_keys.ready(&issuer, token.key_id()).await?;
        let verified = match self.verified(&token, &issuer, &keys, Purpose::Identity) {
            Err(AssertionRefused::Token(Refused::WrongType)) => {
                self.verified(&token, &issuer, &keys, Purpose::IdJag)
            }
            verified => verified,
        };
        let assertion = verified?;
        for explained in issuer.rules.explain(&assertion.claims) {
            let priority = issuer.registration.rules.get(explained.rule).map_or(0, |rule| rule.priority);
            let decides = matches!(explained.outcome, Outcome::Applies { .. });
            let outcome = explained.outcome.to_string();
            tested.rules.push(TestedRule { rule: explained.rule, priority, outcome, decides });
        }
        if let Some(found) = issuer.rules.evaluate(&assertion.claims) {
            (tested.client_id, tested.subject) = (found.client_id, found.subject);
        }
        mapped(snapshot, &issuer, &assertion).map(|_| ())
    }

    /// Counts an assertion that was refused, for the address that sent it. Beyond a rate, the refusal is another one.
    pub fn assertion_refused(&self, peer: &Peer) -> Error {
        self.refusals.count_stranger(peer.address, "CALLER_UNAUTHENTICATED", "an assertion");
        self.rates.failed(peer.address, &self.clock)
    }

    fn verified(
        &self,
        token: &Unverified<'_>,
        issuer: &TrustedIssuer,
        keys: &KeySet,
        purpose: Purpose,
    ) -> Result<Assertion, AssertionRefused> {
        let own = [self.issuer.as_str()];
        let registered: Vec<&str> = issuer.audiences.iter().map(String::as_str).collect();
        // The `iss` that a SPIFFE server puts into its tokens is its own affair: their trust domain counts.
        let iss = token.issuer().map(str::to_owned);
        let expectation = Expectation {
            issuer: match issuer.issuer.strip_prefix(SPIFFE) {
                Some(trust_domain) => Issuer::Spiffe { trust_domain, issuer: iss.as_deref() },
                None => Issuer::Exact(&issuer.issuer),
            },
            algorithms: &issuer.algorithms,
            typ: purpose.typ(),
            audience: Audience::AnyOf(if registered.is_empty() { &own } else { &registered }),
            age_max_ms: Some(issuer.max_age_s.saturating_mul(1_000)),
            life_max_ms: None,
            now_ms: self.clock.now_ms(),
        };
        Ok(token.verify(keys, &expectation)?)
    }
}

/// The issuer that a token says it is of.
fn trusted(snapshot: &Snapshot, token: &Unverified<'_>) -> Result<Arc<TrustedIssuer>, AssertionRefused> {
    let issuers = snapshot.root.issuing.issuers.load();
    let by_name = token.issuer().and_then(|iss| issuers.by_issuer(iss));
    let by_domain =
        || token.trust_domain().and_then(|domain| issuers.by_issuer(&format!("{SPIFFE}{domain}")));
    let found = by_name.or_else(by_domain).filter(|issuer| !issuer.disabled);
    found.cloned().ok_or(AssertionRefused::UnknownIssuer)
}

/// The client and the subject that the rules give.
fn mapped(
    snapshot: &Snapshot,
    issuer: &TrustedIssuer,
    assertion: &Assertion,
) -> Result<Vouched, AssertionRefused> {
    let found = issuer.rules.evaluate(&assertion.claims).ok_or(AssertionRefused::NoRule)?;
    let clients = snapshot.root.issuing.clients.load();
    if clients.get(&found.client_id).is_none_or(|client| client.disabled) {
        return Err(AssertionRefused::UnknownClient);
    }
    let named_client = assertion.claims.get("client_id").and_then(|it| it.as_str()).map(str::to_owned);
    Ok(Vouched {
        issuer_id: issuer.issuer_id.clone(),
        issuer_revision: issuer.revision,
        client_id: found.client_id,
        subject: found.subject,
        expire_time: UnixSeconds::new(assertion.expire_time_ms.div_euclid(1_000)),
        named_client,
    })
}

/// Returns whether a text has the outer form of a JWS, which no API key has.
pub(in crate::authority) fn is_jws(text: &str) -> bool {
    text.starts_with("ey") && text.split('.').count() == 3
}
