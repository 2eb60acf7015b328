//! The grants that bring somebody else's word: `jwt-bearer` (RFC 7523) and token exchange (RFC 8693).

use crate::{
    authority::{AssertionRefused, Authority, Caller, IssueRequest, Purpose, Vouched},
    edge::{Admission, Origin},
    http::{
        answer::HttpRefusal,
        form::Form,
        token::{
            answer::refusal,
            request::{ACCESS_TOKEN, JWT, Parameters},
        },
    },
    state::{KnownToken, Snapshot, Status},
};
use jeton_token::{ACTORS_MAX, Actor, Thumbprint, UnixSeconds};

/// An ID token (RFC 8693 section 3).
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// Judges an assertion of a trusted issuer, once its keys have been read.
pub(super) async fn vouched(
    authority: &Authority,
    snapshot: &Snapshot,
    text: &str,
) -> Result<Vouched, AssertionRefused> {
    authority.vouched_when_ready(snapshot, text, Purpose::Identity).await
}

/// A refused assertion, as this error.
pub(super) fn refused(error: &'static str, what: &str, why: &AssertionRefused) -> HttpRefusal {
    if why.is_for_now() {
        return HttpRefusal::unavailable();
    }
    HttpRefusal::described_as(error, &format!("The {what} is refused: {why}."))
}

/// `jwt-bearer`: a token for whom the assertion speaks.
pub(super) async fn by_assertion(
    authority: &Authority,
    origin: &Origin,
    form: &Form,
    parameters: Parameters,
) -> Result<(Admission, IssueRequest), HttpRefusal> {
    let text = required(form, "assertion")?;
    let admission = origin.again(authority).await?;
    let refused = |why: &AssertionRefused| refused("invalid_grant", "assertion", why);
    let vouched = match vouched(authority, &admission.snapshot, text).await {
        Err(AssertionRefused::Token(jeton_assertion::Refused::WrongType)) => {
            id_jag(authority, &admission, text).await?
        }
        vouched => vouched.map_err(|why| refused(&why))?,
    };
    if vouched.client_id != admission.caller.client.client_id {
        return Err(another_client());
    }
    let certificate = certificate_of(origin);
    let request = parameters
        .into_issue(form, &admission.caller.client, certificate)
        .map_err(|it| refusal(it.into()))?;
    // After the wait, what the call is answered from must be fresh.
    let admission = origin.again(authority).await?;
    Ok((admission, spoken_for(request, vouched)))
}

/// An identity assertion authorization grant: for the client that it names, which must have authenticated.
async fn id_jag(authority: &Authority, admission: &Admission, text: &str) -> Result<Vouched, HttpRefusal> {
    let found = authority.vouched_when_ready(&admission.snapshot, text, Purpose::IdJag).await;
    let vouched = found.map_err(|why| refused("invalid_grant", "assertion", &why))?;
    let is_named = vouched.named_client.as_deref() == Some(admission.caller.client.client_id.as_str());
    // An assertion that authenticates its bearer is none that was given to a client.
    if is_named && admission.caller.vouched().is_none() { Ok(vouched) } else { Err(another_client()) }
}

fn another_client() -> HttpRefusal {
    HttpRefusal::bad("invalid_grant", "The assertion is for another client than the one that authenticated.")
}

fn spoken_for(request: IssueRequest, vouched: Vouched) -> IssueRequest {
    IssueRequest {
        subject: vouched.subject,
        identity_provider: vouched.issuer_id,
        latest_end: Some(vouched.expire_time),
        ..request
    }
}

/// A token that is presented to be exchanged.
enum Presented {
    Ours(std::sync::Arc<KnownToken>),
    Foreign(Vouched),
}

impl Presented {
    async fn of(
        authority: &Authority,
        admission: &Admission,
        form: &Form,
        name: &'static str,
        thumbprint: Option<Thumbprint>,
    ) -> Result<Self, HttpRefusal> {
        let text = required(form, name)?;
        let kind =
            required(form, if name == "actor_token" { "actor_token_type" } else { "subject_token_type" })?;
        if ![ACCESS_TOKEN, JWT, ID_TOKEN].contains(&kind) {
            return Err(HttpRefusal::invalid(
                "This type of token is not exchanged: access_token, jwt and id_token are.",
            ));
        }
        if is_ours(authority, text) {
            let found = authority.exchangeable(&admission.snapshot, text, thumbprint);
            return found.map(Self::Ours).map_err(|status| not_active(name, status));
        }
        let found = vouched(authority, &admission.snapshot, text).await;
        found.map(Self::Foreign).map_err(|why| refused("invalid_grant", name, &why))
    }

    fn subject(&self) -> &str {
        match self {
            Self::Ours(token) => token.subject(),
            Self::Foreign(vouched) => &vouched.subject,
        }
    }

    fn end(&self) -> UnixSeconds {
        match self {
            Self::Ours(token) => token.expire_time,
            Self::Foreign(vouched) => vouched.expire_time,
        }
    }

    fn identity_provider(&self) -> &str {
        match self {
            Self::Ours(token) => token.identity_provider(),
            Self::Foreign(vouched) => &vouched.issuer_id,
        }
    }

    fn actor(&self) -> Option<Actor> {
        match self {
            Self::Ours(token) => token.actor(),
            Self::Foreign(_) => None,
        }
    }
}

/// `token-exchange`: a token that says no more than the one that is presented, for the client that calls.
pub(super) async fn exchanged(
    authority: &Authority,
    origin: &Origin,
    form: &Form,
    parameters: Parameters,
) -> Result<(Admission, IssueRequest), HttpRefusal> {
    let certificate = certificate_of(origin);
    // Foreign tokens may have to wait for keys: then all is looked at again from a fresh snapshot.
    let admission = origin.again(authority).await?;
    let (subject, actor) = both(authority, &admission, form, certificate).await?;
    if let Presented::Foreign(_) = subject {
        drop((subject, actor));
        let admission = origin.again(authority).await?;
        let (subject, actor) = both(authority, &admission, form, certificate).await?;
        let request = request_of(form, parameters, &admission.caller, &subject, actor.as_ref(), certificate)?;
        return Ok((admission, request));
    }
    let request = request_of(form, parameters, &admission.caller, &subject, actor.as_ref(), certificate)?;
    Ok((admission, request))
}

async fn both(
    authority: &Authority,
    admission: &Admission,
    form: &Form,
    certificate: Option<Thumbprint>,
) -> Result<(Presented, Option<Presented>), HttpRefusal> {
    let subject = Presented::of(authority, admission, form, "subject_token", certificate).await?;
    let actor = match form.get("actor_token") {
        Some(_) => Some(Presented::of(authority, admission, form, "actor_token", certificate).await?),
        None if form.get("actor_token_type").is_some() => {
            return Err(HttpRefusal::invalid("There is an actor_token_type, and no actor_token."));
        }
        None => None,
    };
    Ok((subject, actor))
}

fn request_of(
    form: &Form,
    parameters: Parameters,
    caller: &Caller,
    subject: &Presented,
    actor: Option<&Presented>,
    certificate: Option<Thumbprint>,
) -> Result<IssueRequest, HttpRefusal> {
    if let Presented::Foreign(vouched) = subject
        && vouched.client_id != caller.client.client_id
    {
        return Err(another_client());
    }
    if form.get("refreshable").is_some_and(|asked| asked != "false") {
        return Err(HttpRefusal::invalid("An exchange opens no session. Leave refreshable out."));
    }
    let end = actor.map_or(subject.end(), |actor| actor.end().min(subject.end()));
    let identity_provider = one_provider(subject, actor)?;
    let acting = match actor {
        Some(actor) => {
            Some(Actor { subject: actor.subject().to_owned(), before: subject.actor().map(Box::new) })
        }
        None => subject.actor(),
    };
    if acting.as_ref().is_some_and(|acting| acting.count() > ACTORS_MAX) {
        return Err(HttpRefusal::invalid("The token would have more than 4 actors."));
    }
    let is_silent = form.all("audience").chain(form.all("resource")).next().is_none();
    let request = match subject {
        Presented::Ours(token) if is_silent => {
            let audiences = token.audiences().map(str::to_owned).collect();
            parameters.into_issue_for(form, audiences, &caller.client, certificate)
        }
        Presented::Ours(_) | Presented::Foreign(_) => {
            parameters.into_issue(form, &caller.client, certificate)
        }
    };
    let request = request.map_err(|invalid| refusal(invalid.into()))?;
    let request = IssueRequest {
        subject: subject.subject().to_owned(),
        identity_provider,
        latest_end: Some(end),
        actor: acting,
        ..request
    };
    match subject {
        Presented::Ours(token) => shrunk(token, request),
        Presented::Foreign(_) => Ok(request),
    }
}

/// The request, if it asks for no more than the token has (RFC 8693 section 2.1); without scopes, for those of the token.
fn shrunk(token: &KnownToken, request: IssueRequest) -> Result<IssueRequest, HttpRefusal> {
    if request.audiences.iter().any(|asked| token.audiences().all(|has| has != asked)) {
        return Err(HttpRefusal::bad("invalid_target", "The subject_token is not for this audience."));
    }
    if request.scopes.iter().any(|asked| token.scopes().all(|has| has != asked)) {
        return Err(HttpRefusal::bad("invalid_scope", "The subject_token has not this scope."));
    }
    let scopes =
        if request.scopes.is_empty() { token.scopes().map(str::to_owned).collect() } else { request.scopes };
    Ok(IssueRequest { scopes, claims: token.custom(), ..request })
}

/// The issuer whose end takes the new token with it. A token can name one.
fn one_provider(subject: &Presented, actor: Option<&Presented>) -> Result<String, HttpRefusal> {
    let (of_subject, of_actor) =
        (subject.identity_provider(), actor.map_or("", Presented::identity_provider));
    if !of_subject.is_empty() && !of_actor.is_empty() && of_subject != of_actor {
        return Err(HttpRefusal::invalid("The subject and the actor come by different trusted issuers."));
    }
    Ok(if of_subject.is_empty() { of_actor } else { of_subject }.to_owned())
}

/// Returns whether a text says that it is a token of this issuer: only then it is judged as one.
pub(super) fn is_ours(authority: &Authority, text: &str) -> bool {
    jeton_token::RawToken::parse(text).is_ok_and(|raw| {
        let claims: Option<serde_json::Value> = serde_json::from_slice(raw.payload()).ok();
        claims.is_some_and(|claims| {
            claims.get("iss").and_then(serde_json::Value::as_str) == Some(&authority.issuer)
        })
    })
}

fn not_active(name: &str, status: Status) -> HttpRefusal {
    let name_of_status = status.name();
    HttpRefusal::described_as("invalid_grant", &format!("The {name} is {name_of_status}, and not ACTIVE."))
}

fn certificate_of(origin: &Origin) -> Option<Thumbprint> {
    origin.connection().peer().certificate.as_ref().map(|it| it.thumbprint)
}

fn required<'a>(form: &'a Form, name: &'static str) -> Result<&'a str, HttpRefusal> {
    form.get(name).ok_or_else(|| refusal(crate::authority::Invalid::required(name).into()))
}
