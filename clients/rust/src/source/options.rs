//! What a token source asks for.

use std::{error::Error, fmt, path::PathBuf, sync::Arc, time::Duration};

use serde_json::{Map, Value};

use crate::{Client, JetonError, Secret, TokenSource, proto as pb, source::keeper::Keeper, token};

/// The options of a token source. They are those of an [`IssueRequest`](crate::IssueRequest), and what becomes of the
/// refresh token of a session.
#[derive(Clone)]
#[must_use]
pub struct TokenSourceBuilder {
    pub(crate) client: Client,
    pub(crate) issue: token::IssueRequest,
    pub(crate) session: Option<Secret>,
    pub(crate) keeper: Keeper,
}

impl TokenSourceBuilder {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, issue: token::IssueRequest::default(), session: None, keeper: Keeper::Nowhere }
    }

    /// Whom the token is for.
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.issue.subject = subject.into();
        self
    }

    /// Who shall accept it.
    pub fn audiences(mut self, audiences: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.issue.audiences = audiences.into_iter().map(Into::into).collect();
        self
    }

    /// What it is good for.
    pub fn scopes(mut self, scopes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.issue.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// Custom claims.
    pub fn claims(mut self, claims: Map<String, Value>) -> Self {
        self.issue.claims = claims;
        self
    }

    /// How long a token lives, if not as long as the policy says.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.issue.ttl = Some(ttl);
        self
    }

    /// Opens a session, and renews by Refresh. Without it each renewal is an Issue.
    pub fn refreshable(mut self) -> Self {
        self.issue.refreshable = true;
        self
    }

    /// Begins with a session that somebody else opened: the source never calls Issue.
    pub fn refresh_token(mut self, token: impl Into<Secret>) -> Self {
        self.session = Some(token.into());
        self
    }

    /// Keeps the refresh token across restarts, in a file of mode 0600.
    pub fn refresh_token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.keeper = Keeper::File(path.into());
        self
    }

    /// Gets each refresh token before its access token is shown, in place of a file. It may block.
    pub fn on_refresh_token(
        mut self,
        keep: impl Fn(&Secret) -> Result<(), Box<dyn Error + Send + Sync>> + Send + Sync + 'static,
    ) -> Self {
        self.keeper = Keeper::Callback(Arc::new(keep));
        self
    }

    /// Makes the source. No call is made before the first [`TokenSource::get`].
    pub fn build(self) -> Result<TokenSource, JetonError> {
        let session = match self.keeper.kept()? {
            Some(kept) => Some(kept),
            None => self.session.clone().filter(|token| !token.is_empty()),
        };
        if self.issue.subject.is_empty() && session.is_none() {
            let message = "There is no subject. Give one, or a session that exists: refresh_token or refresh_token_file.";
            return Err(JetonError::field_required("subject", message));
        }
        Ok(TokenSource::new(self, session))
    }

    /// The request that spends a refresh token.
    pub(crate) fn refresh(&self, refresh_token: Secret) -> pb::RefreshRequest {
        let scopes = self.issue.scopes.clone();
        token::RefreshRequest { refresh_token, scopes, ttl: self.issue.ttl }.into()
    }
}

impl fmt::Debug for TokenSourceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource")
            .field("subject", &self.issue.subject)
            .field("audiences", &self.issue.audiences)
            .field("scopes", &self.issue.scopes)
            .finish_non_exhaustive()
    }
}
