//! The rules of a Refresh: as input of the statement that spends the token, and as refusals.

use serde_json::{Value, json};

use crate::{
    authority::{
        Denied, Error, RefreshRefused,
        tokens::{mint::lifetime_error, refresh_request::Call},
    },
    state::{FAMILY_ANY, Terms},
    store::SessionRow,
};

/// The policies in force and the caller's registration for each audience, as input of the statement that spends the
/// token: so a request that will be refused spends nothing.
pub(in crate::authority) fn rules(call: &Call<'_>) -> Value {
    let Call { snapshot, caller, request, policies, .. } = call;
    let signers = snapshot.root.issuing.signers.load();
    let client = &caller.client;
    let rule = |audience: &str| {
        let policy = policies.effective(audience, &client.client_id);
        let covered = if audience == FAMILY_ANY {
            client.covers_any_audience()
        } else {
            client.covers_audience(audience)
        };
        let ok = covered
            && policy.refused_scope(&request.scopes).is_none()
            && policy.check_ask(request.ask, snapshot.issue_time()).is_ok()
            && signers.signer(policy.algorithm).is_some();
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
    let Call { snapshot, caller, request, .. } = call;
    let end = row.create_time.saturating_add(terms.refresh_absolute_s());
    if row.now >= end {
        return Err(RefreshRefused::Expired { limit: "absolute", expire_time: end }.into());
    }
    caller.must_cover_audiences(&row.audiences)?;
    caller.must_cover_subject(&row.subject)?;
    if let Some(scope) = request.scopes.iter().find(|scope| !row.scopes.contains(scope)) {
        return Err(caller.denied(Denied::Scope { scope: scope.clone(), audience: String::new() }).into());
    }
    terms
        .check_scopes(&request.scopes)
        .map_err(|(scope, audience)| caller.denied(Denied::Scope { scope, audience }))?;
    let signers = snapshot.root.issuing.signers.load();
    for policy in terms.each() {
        policy
            .check_ask(request.ask, snapshot.issue_time())
            .map_err(|error| lifetime_error(error, policy.audience.clone(), request.ask))?;
        if signers.signer(policy.algorithm).is_none() {
            return Err(Error::SigningKeyUnavailable(Some(policy.algorithm)));
        }
    }
    Ok(())
}
