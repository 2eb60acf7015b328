//! The endpoints for software that knows nothing of jeton: key set, metadata, tokens, introspection, revocation, and Envoy's
//! `ext_authz`.

mod callers;
mod documents;
mod envoy;
mod forms;
mod introspect;
mod revoke;
mod token;

use crate::world::{HttpAnswer, World, api_key, basic, post_form};

const INTROSPECT: &str = "/oauth2/introspect";
const REVOKE: &str = "/oauth2/revoke";
const TOKEN: &str = "/oauth2/token";

/// Introspects as one of the clients of every world.
async fn introspect(world: &World, client_id: &str, token: &str) -> HttpAnswer {
    let authorization = basic(client_id, &api_key(client_id));
    post_form(&world.server.ready.public, INTROSPECT, &authorization, &format!("token={token}")).await
}

/// Revokes as one of the clients of every world.
async fn revoke(world: &World, client_id: &str, token: &str) -> HttpAnswer {
    let authorization = basic(client_id, &api_key(client_id));
    post_form(&world.server.ready.public, REVOKE, &authorization, &format!("token={token}")).await
}
