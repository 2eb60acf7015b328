//! Trusted issuers: wire ↔ domain.

use crate::{
    authority::{AssertionRefused, Invalid, IssuerField, IssuerUpdate, Tested},
    proto::v1::{self as pb, claim_condition::Match, trusted_issuer::KeySource},
    rpc::convert::{etag_of, timestamp, whole_seconds},
    state::{IssuerRegistration, RegisteredCondition, RegisteredKeys, RegisteredRule, RegisteredTest},
    store::IssuerRow,
};
use jeton_token::Revision;

/// The greatest age of an assertion if none is registered, seconds.
const MAX_AGE_S: i64 = 3_600;

pub(in crate::rpc) fn new_issuer(request: pb::CreateIssuerRequest) -> Result<IssuerRow, Invalid> {
    issuer_of(request.issuer.ok_or_else(|| Invalid::required("issuer"))?)
}

pub(in crate::rpc) fn issuer_update(request: pb::UpdateIssuerRequest) -> Result<IssuerUpdate, Invalid> {
    let given = request.issuer.ok_or_else(|| Invalid::required("issuer"))?;
    let etag = etag_of("issuer.etag", &given.etag)?;
    let fields = match request.update_mask {
        Some(mask) if !mask.paths.is_empty() && mask.paths.iter().all(|path| path != "*") => {
            mask.paths.iter().map(|path| field_of(path)).collect::<Result<_, _>>()?
        }
        _ => IssuerField::ALL.map(|(field, _)| field).to_vec(),
    };
    Ok(IssuerUpdate { issuer: issuer_of(given)?, fields, etag })
}

fn field_of(path: &str) -> Result<IssuerField, Invalid> {
    const SOURCES: [&str; 5] =
        ["jwks_uri", "oidc_discovery", "static_jwks", "spiffe_bundle_uri", "spiffe_bundle_file"];
    if SOURCES.contains(&path) {
        return Ok(IssuerField::KeySource);
    }
    let known = IssuerField::ALL.iter().find(|(_, name)| *name == path).map(|(field, _)| *field);
    known.ok_or_else(|| {
        Invalid::field("update_mask", "names of fields of TrustedIssuer that can be written, or *")
    })
}

/// The fields that can be written. Output-only fields are ignored: so an issuer that was read can be sent back.
fn issuer_of(given: pb::TrustedIssuer) -> Result<IssuerRow, Invalid> {
    let max_age_s = given.max_age.map(|age| whole_seconds("issuer.max_age", age)).transpose()?;
    let rules = given.rules.into_iter().enumerate();
    Ok(IssuerRow {
        issuer_id: given.issuer_id,
        registration: IssuerRegistration {
            display_name: given.display_name,
            issuer: given.issuer,
            key_source: match given.key_source {
                None | Some(KeySource::OidcDiscovery(false)) => RegisteredKeys::None,
                Some(KeySource::OidcDiscovery(true)) => RegisteredKeys::OidcDiscovery,
                Some(KeySource::JwksUri(uri)) => RegisteredKeys::JwksUri(uri),
                Some(KeySource::StaticJwks(keys)) => RegisteredKeys::StaticJwks(keys),
                Some(KeySource::SpiffeBundleUri(uri)) => RegisteredKeys::SpiffeBundleUri(uri),
                Some(KeySource::SpiffeBundleFile(path)) => RegisteredKeys::SpiffeBundleFile(path.into()),
            },
            audiences: given.audiences,
            max_age_s: max_age_s.unwrap_or(MAX_AGE_S),
            algorithms: given.algorithms,
            rules: rules.map(|(index, rule)| rule_of(index, rule)).collect::<Result<_, _>>()?,
            may_revoke: given.may_revoke,
            allow_private_addresses: given.allow_private_addresses,
        },
        disabled: given.disabled,
        revision: Revision::ZERO,
        create_time: jiff::Timestamp::UNIX_EPOCH,
        version: 0,
        refused: None,
    })
}

fn rule_of(index: usize, rule: pb::MappingRule) -> Result<RegisteredRule, Invalid> {
    let condition = |(place, it): (usize, pb::ClaimCondition)| {
        let test = match it.r#match {
            Some(Match::Exact(text)) => RegisteredTest::Exact(text),
            Some(Match::Prefix(text)) => RegisteredTest::Prefix(text),
            None => {
                let field = format!("issuer.rules[{index}].conditions[{place}]");
                return Err(Invalid::field(field, "a condition with exact or prefix"));
            }
        };
        Ok(RegisteredCondition { claim: it.claim, test })
    };
    Ok(RegisteredRule {
        priority: rule.priority,
        conditions: rule.conditions.into_iter().enumerate().map(condition).collect::<Result<_, _>>()?,
        client_id: rule.client_id,
        subject: rule.subject,
    })
}

/// A trusted issuer; `keys_fault`: why this server could not read its keys.
pub(in crate::rpc) fn issuer(row: IssuerRow, keys_fault: String) -> pb::TrustedIssuer {
    let IssuerRow { issuer_id, registration, disabled, revision, create_time, refused, version: _ } = row;
    let key_source = match registration.key_source {
        RegisteredKeys::None => None,
        RegisteredKeys::OidcDiscovery => Some(KeySource::OidcDiscovery(true)),
        RegisteredKeys::JwksUri(uri) => Some(KeySource::JwksUri(uri)),
        RegisteredKeys::StaticJwks(keys) => Some(KeySource::StaticJwks(keys)),
        RegisteredKeys::SpiffeBundleUri(uri) => Some(KeySource::SpiffeBundleUri(uri)),
        RegisteredKeys::SpiffeBundleFile(path) => {
            Some(KeySource::SpiffeBundleFile(path.to_string_lossy().into_owned()))
        }
    };
    pb::TrustedIssuer {
        issuer_id,
        display_name: registration.display_name,
        issuer: registration.issuer,
        key_source,
        audiences: registration.audiences,
        max_age: Some(prost_types::Duration { seconds: registration.max_age_s, nanos: 0 }),
        algorithms: registration.algorithms,
        rules: registration.rules.into_iter().map(rule).collect(),
        may_revoke: registration.may_revoke,
        allow_private_addresses: registration.allow_private_addresses,
        disabled,
        etag: revision.to_string(),
        create_time: Some(timestamp(create_time)),
        refused: refused.map_or_else(String::new, |why| why.to_string()),
        keys_fault,
    }
}

fn rule(rule: RegisteredRule) -> pb::MappingRule {
    let condition = |it: RegisteredCondition| pb::ClaimCondition {
        claim: it.claim,
        r#match: Some(match it.test {
            RegisteredTest::Exact(text) => Match::Exact(text),
            RegisteredTest::Prefix(text) => Match::Prefix(text),
        }),
    };
    pb::MappingRule {
        priority: rule.priority,
        conditions: rule.conditions.into_iter().map(condition).collect(),
        client_id: rule.client_id,
        subject: rule.subject,
    }
}

pub(in crate::rpc) fn tested(
    tested: Tested,
    refused: Option<&AssertionRefused>,
) -> pb::TestAssertionResponse {
    let rules = tested.rules.into_iter().map(|it| pb::RuleOutcome {
        rule: i32::try_from(it.rule).unwrap_or(i32::MAX),
        priority: it.priority,
        outcome: it.outcome,
        decides: it.decides,
    });
    pb::TestAssertionResponse {
        issuer_id: tested.issuer_id,
        refused: refused.map_or_else(String::new, ToString::to_string),
        client_id: tested.client_id,
        subject: tested.subject,
        rules: rules.collect(),
    }
}
