//! Tokens: asked for, issued, and judged.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{Client, JetonError, Secret, json, proto as pb, refused::Refused};

/// Asks for a token.
#[derive(Clone, Default, Debug)]
pub struct IssueRequest {
    /// Whom the token is for.
    pub subject: String,
    /// Who shall accept it: at least one.
    pub audiences: Vec<String>,
    /// What it is good for.
    pub scopes: Vec<String>,
    /// Custom claims.
    pub claims: Map<String, Value>,
    /// `None`: the default of the policy.
    pub ttl: Option<Duration>,
    /// Whether it opens a session.
    pub refreshable: bool,
    /// Binds the token to a client certificate (RFC 8705): see [`thumbprint`](crate::thumbprint). Empty: to none.
    pub certificate_thumbprint: String,
}

impl From<IssueRequest> for pb::IssueRequest {
    fn from(request: IssueRequest) -> Self {
        let claims = Some(&request.claims).filter(|claims| !claims.is_empty());
        Self {
            subject: request.subject,
            audiences: request.audiences,
            scopes: request.scopes,
            claims: claims.map(jeton_proto::json::object),
            expiration: request.ttl.map(|ttl| pb::issue_request::Expiration::Ttl(duration(ttl))),
            refreshable: request.refreshable,
            certificate_thumbprint: request.certificate_thumbprint,
        }
    }
}

/// Spends a refresh token.
#[derive(Clone, Default, Debug)]
pub struct RefreshRequest {
    /// The latest one of the session.
    pub refresh_token: Secret,
    /// Some of the session's; none: all of them.
    pub scopes: Vec<String>,
    /// `None`: the default of the policy.
    pub ttl: Option<Duration>,
}

impl From<RefreshRequest> for pb::RefreshRequest {
    fn from(request: RefreshRequest) -> Self {
        Self {
            refresh_token: request.refresh_token.reveal().to_owned(),
            scopes: request.scopes,
            ttl: request.ttl.map(duration),
        }
    }
}

/// Asks for a verdict.
#[derive(Clone, Default, Debug)]
pub struct ValidateRequest {
    /// The token to judge.
    pub token: Secret,
    /// The audiences that the caller accepts; none: those of its registration.
    pub audiences: Vec<String>,
    /// Scopes that the token must have.
    pub scopes: Vec<String>,
    /// Comes from an answer to Revoke: the verdict reflects at least that. Empty: it may be any.
    pub min_revision: String,
    /// Of the certificate that the token's bearer presented. Empty: it presented none.
    pub certificate_thumbprint: String,
}

impl From<ValidateRequest> for pb::ValidateRequest {
    fn from(request: ValidateRequest) -> Self {
        Self {
            token: request.token.reveal().to_owned(),
            audiences: request.audiences,
            scopes: request.scopes,
            min_revision: request.min_revision,
            certificate_thumbprint: request.certificate_thumbprint,
        }
    }
}

/// What Issue and Refresh answer. Times are by the clock of the server: only their differences mean something here.
#[derive(Clone, Default, Debug)]
pub struct IssuedToken {
    /// The token.
    pub access_token: Secret,
    /// `None` if the token is not refreshable.
    pub refresh_token: Option<Secret>,
    /// Identifies the token, for logs.
    pub jti: String,
    /// Empty if the token belongs to no session.
    pub session_id: String,
    /// When it was issued.
    pub issue_time: Option<Timestamp>,
    /// When it expires.
    pub expire_time: Option<Timestamp>,
    /// When it should be renewed.
    pub refresh_time: Option<Timestamp>,
}

impl From<pb::IssuedToken> for IssuedToken {
    fn from(token: pb::IssuedToken) -> Self {
        let refresh = token.refresh.map(|refresh| refresh.refresh_token).filter(|text| !text.is_empty());
        Self {
            access_token: token.access_token.into(),
            refresh_token: refresh.map(Secret::new),
            jti: token.jti,
            session_id: token.session_id,
            issue_time: token.issue_time.and_then(timestamp),
            expire_time: token.expire_time.and_then(timestamp),
            refresh_time: token.refresh_time.and_then(timestamp),
        }
    }
}

/// What jeton says of a token. Only of an active one the rest is to be trusted.
#[derive(Clone, PartialEq, Debug)]
pub struct Verdict {
    /// The status.
    pub status: pb::TokenStatus,
    /// `sub`.
    pub subject: String,
    /// `aud`.
    pub audiences: Vec<String>,
    /// `scope`.
    pub scopes: Vec<String>,
    /// `jti`.
    pub jti: String,
    /// `sid`; empty: the token belongs to no session.
    pub session_id: String,
    /// `client_id`: who had it issued.
    pub client_id: String,
    /// `iat`.
    pub issue_time: Option<Timestamp>,
    /// `exp`.
    pub expire_time: Option<Timestamp>,
    /// The server's clock when it judged.
    pub server_time: Option<Timestamp>,
    /// The revision that the verdict reflects.
    pub revision: String,
    /// Why it was revoked.
    pub revocation_reason: pb::RevocationReason,
    /// Of a malformed token: what surrounds a token in the text.
    pub surroundings: String,
    /// Custom claims, whether this library knows them or not.
    pub claims: Map<String, Value>,
}

impl Verdict {
    /// Returns whether the token is good.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.status == pb::TokenStatus::Active
    }

    /// Asks for more scopes. The error is the answer to the call: `?` returns it from a gRPC handler.
    pub fn require(&self, scopes: &[&str]) -> Result<(), Refused> {
        if scopes.iter().all(|scope| self.scopes.iter().any(|own| own == scope)) {
            return Ok(());
        }
        Err(Refused::missing_scope(scopes.iter().map(|&scope| scope.to_owned()).collect()))
    }
}

impl From<pb::Verdict> for Verdict {
    fn from(verdict: pb::Verdict) -> Self {
        Self {
            status: verdict.status(),
            revocation_reason: verdict.revocation_reason(),
            claims: verdict.claims.as_ref().map(json::members).unwrap_or_default(),
            subject: verdict.subject,
            audiences: verdict.audiences,
            scopes: verdict.scopes,
            jti: verdict.jti,
            session_id: verdict.session_id,
            client_id: verdict.client_id,
            issue_time: verdict.issue_time.and_then(timestamp),
            expire_time: verdict.expire_time.and_then(timestamp),
            server_time: verdict.server_time.and_then(timestamp),
            revision: verdict.revision,
            surroundings: verdict.surroundings,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}: {}", self.jti, self.subject, self.status.as_str_name())
    }
}

impl Client {
    /// Has a token issued. To keep one fresh, use a [`TokenSource`](crate::TokenSource).
    pub async fn issue(&self, request: IssueRequest) -> Result<IssuedToken, JetonError> {
        Ok(self.token_service().issue(request.into()).await?.token.unwrap_or_default().into())
    }

    /// Spends a refresh token. The answer has a new token, and the successor of the refresh token.
    pub async fn refresh(&self, request: RefreshRequest) -> Result<IssuedToken, JetonError> {
        Ok(self.token_service().refresh(request.into()).await?.token.unwrap_or_default().into())
    }

    /// Judges a token. A bad token is a verdict; an error means that nothing was decided.
    pub async fn validate(&self, request: ValidateRequest) -> Result<Verdict, JetonError> {
        Ok(self.token_service().validate(request.into()).await?.verdict.unwrap_or_default().into())
    }

    /// Judges several tokens. Verdicts come in the order of the requests.
    pub async fn batch_validate(&self, requests: Vec<ValidateRequest>) -> Result<Vec<Verdict>, JetonError> {
        let requests = requests.into_iter().map(Into::into).collect();
        let answer = self.token_service().batch_validate(pb::BatchValidateRequest { requests }).await?;
        Ok(answer.verdicts.into_iter().map(Into::into).collect())
    }

    /// Revokes one access token, or the session of a refresh token. The note may be empty.
    pub async fn revoke_token(
        &self,
        token: &Secret,
        reason: pb::RevocationReason,
        note: &str,
    ) -> Result<pb::RevokeResponse, JetonError> {
        let kind = pb::revocation_target::Kind::Token(token.reveal().to_owned());
        let target = pb::RevocationTarget { kind: Some(kind), ..Default::default() };
        let request = pb::RevokeRequest {
            target: Some(target),
            reason: reason.into(),
            note: note.to_owned(),
            ..Default::default()
        };
        self.revoke(request).await
    }

    /// Revokes any target: a wide one at the admin endpoints.
    pub async fn revoke(&self, request: pb::RevokeRequest) -> Result<pb::RevokeResponse, JetonError> {
        use pb::revocation_target::Kind;
        let kind = request.target.as_ref().and_then(|target| target.kind.as_ref());
        let is_narrow = matches!(kind, None | Some(Kind::Token(_) | Kind::Jti(_) | Kind::SessionId(_)));
        let group = if is_narrow { &self.shared.public } else { &self.shared.admin };
        self.unary(group, "/jeton.v1.TokenService/Revoke", request, None).await
    }
}

fn duration(time: Duration) -> prost_types::Duration {
    let limit = prost_types::Duration { seconds: i64::MAX, nanos: 0 };
    prost_types::Duration::try_from(time).unwrap_or(limit)
}

fn timestamp(time: prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(time.seconds, time.nanos).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_tokens_print_no_secret() {
        let issued = IssuedToken::from(pb::IssuedToken {
            access_token: "hidden-1".to_owned(),
            refresh: Some(pb::RefreshCredential {
                refresh_token: "hidden-2".to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        });
        let refresh = RefreshRequest { refresh_token: "hidden-3".into(), ..Default::default() };
        let validate = ValidateRequest { token: "hidden-4".into(), ..Default::default() };
        let text = format!("{issued:?} {refresh:?} {validate:#?}");
        assert!(!text.contains("hidden") && text.contains("[secret]"), "{text}");
    }

    /// As many as there are in the definitions: a new one would print.
    #[test]
    fn messages_print_no_field_that_is_redacted() {
        let definitions = [
            include_str!("../../../proto/jeton/v1/admin_service.proto"),
            include_str!("../../../proto/jeton/v1/revocation.proto"),
            include_str!("../../../proto/jeton/v1/token.proto"),
            include_str!("../../../proto/jeton/v1/token_service.proto"),
        ];
        let redacted: usize =
            definitions.iter().map(|text| text.matches("debug_redact = true").count()).sum();
        let hidden = || "hidden".to_owned();
        let target = pb::revocation_target::Kind::Token(hidden());
        let question = pb::explain_request::Question::Token(hidden());
        let refresh = pb::RefreshCredential { refresh_token: hidden(), ..Default::default() };
        let texts = [
            format!("{:?}", pb::RefreshRequest { refresh_token: hidden(), ..Default::default() }),
            format!("{:?}", pb::ValidateRequest { token: hidden(), ..Default::default() }),
            format!("{refresh:?}"),
            format!(
                "{:?}",
                pb::IssuedToken { access_token: hidden(), refresh: Some(refresh), ..Default::default() }
            ),
            format!("{:?}", pb::RevocationTarget { kind: Some(target), ..Default::default() }),
            format!("{:?}", pb::ExplainRequest { question: Some(question) }),
            format!("{:?}", pb::CreateApiKeyResponse { secret: hidden(), api_key: None }),
            format!("{:?}", pb::TestAssertionRequest { assertion: hidden() }),
        ];
        assert_eq!(texts.len(), redacted);
        for text in texts {
            assert!(text.contains("[secret]") && !text.contains("hidden"), "{text}");
        }
    }
}
