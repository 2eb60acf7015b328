//! What Refresh is asked, and by whom.

use std::sync::Arc;

use crate::{
    authority::{
        Caller, Error, Invalid, Presence,
        tokens::{form::check_scopes, mint::lifetime_error},
    },
    mint::{Ask, Excess},
    state::{Effective, FAMILY_ANY, Policies, Snapshot},
};
use jeton_token::UnixSeconds;

/// A request of Refresh. The token is unchecked text.
#[derive(Clone, Debug)]
pub struct RefreshRequest {
    /// The refresh token.
    pub refresh_token: String,
    /// A subset of the session's scopes; empty: all of them.
    pub scopes: Vec<String>,
    /// The requested lifetime.
    pub ask: Ask,
}

impl RefreshRequest {
    /// Checks the rules that need no look-up.
    pub(super) fn check(&self, now: UnixSeconds) -> Result<(), Error> {
        if self.refresh_token.is_empty() {
            return Err(Invalid::required("refresh_token").into());
        }
        check_scopes(&self.scopes)?;
        // Checked against the widest possible terms: a request that these refuse is refused under all policies.
        let widest =
            Effective { excess: Excess::Clamp, ..Policies::default().effective(FAMILY_ANY, FAMILY_ANY) };
        widest.check_ask(self.ask, now).map_err(|error| lifetime_error(error, String::new(), self.ask))
    }
}

/// A presentation: its caller, its request, and the policies that it is judged by from beginning to end. A policy that
/// changes meanwhile must not refuse a token that is already spent.
pub(in crate::authority) struct Call<'a> {
    pub(in crate::authority) snapshot: &'a Snapshot,
    pub(in crate::authority) caller: &'a Caller,
    pub(in crate::authority) presence: &'a Presence,
    pub(in crate::authority) request: &'a RefreshRequest,
    pub(in crate::authority) policies: Arc<Policies>,
}
