//! Validate: judges tokens from memory. A bad token is a verdict, never an error.

use crate::{
    authority::{
        Authority, Caller, Error, Invalid,
        tokens::form::{check_audiences, check_scopes},
    },
    state::{Accepted, Permission, Snapshot, Status, Verdict},
};
use jeton_token::{Revision, Thumbprint, pasted::surroundings};

/// The most requests of one batch.
pub const BATCH_MAX: usize = 1_000;

/// A request of Validate. The token is unchecked text. The form of the rest is checked when the request is made, before
/// anything is waited for: a short message may contain very many names.
#[derive(Clone, Debug)]
pub struct ValidateRequest {
    /// The compact JWS.
    token: String,
    /// Audiences that the caller accepts; empty: those of its registration.
    audiences: Vec<String>,
    /// Scopes that the token must have.
    scopes: Vec<String>,
    /// The verdict must reflect at least this revision.
    min_revision: Option<Revision>,
    /// The thumbprint of the certificate that the bearer presented.
    certificate_thumbprint: Option<Thumbprint>,
}

impl ValidateRequest {
    /// Makes a request, unless its form is wrong.
    pub fn new(
        token: String,
        audiences: Vec<String>,
        scopes: Vec<String>,
        min_revision: Option<Revision>,
        certificate_thumbprint: Option<Thumbprint>,
    ) -> Result<Self, Invalid> {
        if token.is_empty() {
            return Err(Invalid::required("token"));
        }
        check_scopes(&scopes)?;
        check_audiences(&audiences)?;
        Ok(Self { token, audiences, scopes, min_revision, certificate_thumbprint })
    }

    /// The text to judge.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }
}

/// A verdict, and how much of the token the caller may read.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The verdict.
    pub verdict: Verdict,
    /// The caller is registered for one of the token's audiences, and may read all claims; otherwise only the `jti`.
    pub disclosed: bool,
    /// If the token is malformed: the characters around a token in it.
    pub surroundings: Option<&'static str>,
}

impl Authority {
    /// Judges one token. Uses the database only if the caller or the token names a revision that this replica has not
    /// reached.
    pub async fn validate(
        &self,
        snapshot: Snapshot,
        caller: &Caller,
        request: &ValidateRequest,
    ) -> Result<Judged, Error> {
        if let Some(judged) = self.try_validate(&snapshot, caller, request)? {
            return Ok(judged);
        }
        let one = std::slice::from_ref(request);
        let mut judged = self.judge_at(snapshot, caller, one, |invalid, _| invalid).await?;
        let judged = judged.pop().ok_or_else(|| Error::Internal("a request without a verdict".to_owned()))?;
        self.metrics.validated(judged.verdict.status.place());
        Ok(judged)
    }

    /// Judges one token from this snapshot; `None` if the request or the token names a later revision.
    pub fn try_validate(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        request: &ValidateRequest,
    ) -> Result<Option<Judged>, Error> {
        caller.must(Permission::Validate)?;
        if request.min_revision.is_some_and(|wanted| wanted > snapshot.revision) {
            return Ok(None);
        }
        let judged = self.judge_one(snapshot, caller, request)?;
        if judged.verdict.token_is_ahead() {
            return Ok(None);
        }
        self.metrics.validated(judged.verdict.status.place());
        Ok(Some(judged))
    }

    /// Refuses to verify a signature: a token whose signature is remembered passes.
    pub fn must_have_verified(&self, token: &str) -> Result<(), Error> {
        self.cache.get(self.cache.place(token)).map(drop).ok_or(Error::Overloaded)
    }

    /// Judges a part of a batch from one snapshot, in request order. `first` is the place of its first request in the
    /// batch, whose size [`check_batch_size`] has accepted. A fault of one request refuses the whole batch.
    pub async fn validate_part(
        &self,
        snapshot: Snapshot,
        caller: &Caller,
        first: usize,
        requests: &[ValidateRequest],
    ) -> Result<Vec<Judged>, Error> {
        let place = |invalid: Invalid, index: usize| {
            invalid.within(&format!("requests[{}]", first.saturating_add(index)))
        };
        self.judge_at(snapshot, caller, requests, place).await
    }

    /// Counts the verdicts of a batch.
    pub fn validated(&self, statuses: &[Status]) {
        for status in statuses {
            self.metrics.validated(status.place());
        }
    }

    /// A later snapshot for the same call, and the caller as it stands there.
    pub async fn later_snapshot(&self, caller: &Caller) -> Result<(Snapshot, Caller), Error> {
        let snapshot = self.clock_checked_snapshot().await?;
        let caller = caller.again(&snapshot)?;
        Ok((snapshot, caller))
    }

    /// Judges from this snapshot; after a wait, the tokens and the caller from a new one.
    async fn judge_at(
        &self,
        snapshot: Snapshot,
        caller: &Caller,
        requests: &[ValidateRequest],
        place: impl Fn(Invalid, usize) -> Invalid,
    ) -> Result<Vec<Judged>, Error> {
        // A caller without the permission must not make this replica read the log either.
        caller.must(Permission::Validate)?;
        let placed = |error: Error, index| error.map_invalid(|invalid| place(invalid, index));
        let judge_all = |snapshot: &Snapshot, caller: &Caller| {
            caller.must(Permission::Validate)?;
            let judge = |(index, request)| {
                self.judge_one(snapshot, caller, request).map_err(|error| placed(error, index))
            };
            requests.iter().enumerate().map(judge).collect::<Result<Vec<_>, Error>>()
        };
        let wanted = requests.iter().enumerate().filter_map(|(index, one)| Some((one.min_revision?, index)));
        let judged = match wanted.max().filter(|(wanted, _)| *wanted > snapshot.revision) {
            Some((wanted, index)) => {
                let snapshot = self.snapshot_at(wanted).await.map_err(|error| placed(error, index))?;
                judge_all(&snapshot, &caller.again(&snapshot)?)?
            }
            None => judge_all(&snapshot, caller)?,
        };
        // Minted by a replica that has read more of the log: look once more; after that the token's `rev` counts for
        // nothing.
        let judged = if judged.iter().any(|judged| judged.verdict.token_is_ahead()) {
            let snapshot = self.renewed_snapshot().await?;
            judge_all(&snapshot, &caller.again(&snapshot)?)?
        } else {
            judged
        };
        Ok(judged)
    }

    fn judge_one(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        request: &ValidateRequest,
    ) -> Result<Judged, Error> {
        let registered;
        let audiences = if request.audiences.is_empty() {
            registered = registered_audiences(caller);
            registered.as_deref()
        } else {
            caller.must_cover_audiences(&request.audiences)?;
            Some(request.audiences.as_slice())
        };
        let accepted =
            Accepted { audiences, scopes: &request.scopes, thumbprint: request.certificate_thumbprint };
        let verdict = self.judge(&snapshot.root).evaluate(&request.token, accepted, || self.clock.now_ms());
        // Faults that do not depend on an audience are answered even so.
        if audiences.is_none() && verdict.status.depends_on_audience() {
            return Err(Invalid::required("audiences").into());
        }
        let covers = |audience| caller.client.covers_audience(audience);
        let disclosed = verdict.token.as_ref().is_some_and(|token| token.audiences().any(covers));
        let surroundings =
            (verdict.status == Status::Malformed).then(|| surroundings(&request.token)).flatten();
        Ok(Judged { verdict, disclosed, surroundings })
    }
}

/// Refuses an empty batch and one that is too large, before its requests are decoded.
pub fn check_batch_size(size: usize) -> Result<(), Invalid> {
    if size == 0 {
        return Err(Invalid::required("requests"));
    }
    if size > BATCH_MAX {
        return Err(Invalid::BatchTooLarge { size, max_size: BATCH_MAX });
    }
    Ok(())
}

/// The audiences of the caller's registration without `*`; `None` if there are no others: a caller that is registered
/// for any must say which it accepts.
fn registered_audiences(caller: &Caller) -> Option<Vec<String>> {
    let named: Vec<String> =
        caller.client.audiences.iter().filter(|audience| *audience != "*").cloned().collect();
    (!named.is_empty()).then_some(named)
}
