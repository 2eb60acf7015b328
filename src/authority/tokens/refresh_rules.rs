//! The rules of a Refresh: as input of the statement that spends the token, and as refusals. What policies say is
//! one list for both; what the session's row says is a condition of the statement (`store/sessions/refresh.rs`), which
//! the refusals follow.

use serde_json::{Value, json};

use crate::{
    authority::{
        Denied, Error, RefreshRefused,
        tokens::{mint::lifetime_error, refresh_request::Call},
    },
    mint::LifetimeError,
    state::{Effective, FAMILY_ANY, Terms},
    store::SessionRow,
};

/// The policies in force and the caller's registration for each audience, as input of the statement that spends the
/// token: so a request that will be refused spends nothing.
pub(in crate::authority) fn rules(call: &Call<'_>) -> Value {
    let Call { caller, policies, .. } = call;
    let client = &caller.client;
    let rule = |audience: &str| {
        let policy = policies.effective(audience, &client.client_id);
        let covered = if audience == FAMILY_ANY {
            client.covers_any_audience()
        } else {
            client.covers_audience(audience)
        };
        let ok = covered && broken_rule(call, &policy).is_none();
        json!({ "ok": i32::from(ok), "idle_s": policy.refresh_idle_s, "absolute_s": policy.refresh_absolute_s })
    };
    // An audience outside the caller's registration needs no rule of its own: `*` refuses it.
    let covered = policies.audiences().filter(|audience| client.covers_audience(audience));
    covered
        .chain(client.audiences.iter().map(String::as_str))
        .chain([FAMILY_ANY])
        .map(|audience| (audience.to_owned(), rule(audience)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// The same rules as a refusal.
pub(in crate::authority) fn refuse_by_rules(
    call: &Call<'_>,
    terms: &Terms,
    row: &SessionRow,
) -> Result<(), Error> {
    let Call { caller, request, .. } = call;
    let end = row.create_time.saturating_add(terms.refresh_absolute_s());
    if row.now >= end {
        return Err(RefreshRefused::Expired { limit: "absolute", expire_time: end }.into());
    }
    caller.must_cover_audiences(&row.audiences)?;
    caller.must_cover_subject(&row.subject)?;
    if let Some(scope) = request.scopes.iter().find(|scope| !row.scopes.contains(scope)) {
        return Err(caller.denied(Denied::Scope { scope: scope.clone(), audience: String::new() }).into());
    }
    for policy in terms.each() {
        match broken_rule(call, policy) {
            None => {}
            Some(Rule::Scope(scope)) => {
                let audience = policy.audience.clone();
                return Err(caller.denied(Denied::Scope { scope, audience }).into());
            }
            Some(Rule::Lifetime(error)) => {
                return Err(lifetime_error(error, policy.audience.clone(), request.ask));
            }
            Some(Rule::SigningKey) => return Err(Error::SigningKeyUnavailable(Some(policy.algorithm))),
        }
    }
    Ok(())
}

/// A rule of one audience that a request breaks.
enum Rule {
    /// A requested scope is not allowed.
    Scope(String),
    /// The requested lifetime is not allowed.
    Lifetime(LifetimeError),
    /// No key signs for the audience.
    SigningKey,
}

/// The list of these rules.
fn broken_rule(call: &Call<'_>, policy: &Effective) -> Option<Rule> {
    let Call { snapshot, request, .. } = call;
    if let Some(scope) = policy.refused_scope(&request.scopes) {
        return Some(Rule::Scope(scope.clone()));
    }
    if let Err(error) = policy.check_ask(request.ask, snapshot.issue_time()) {
        return Some(Rule::Lifetime(error));
    }
    let signs = snapshot.root.issuing.signers.load().signer(policy.algorithm).is_some();
    (!signs).then_some(Rule::SigningKey)
}
