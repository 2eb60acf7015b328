//! `BulkRevoke` from the caller's side: chunk after chunk over one stream, and again from the first that is not committed
//! if the stream breaks.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use jeton_client::{Answers, Code};
use secrecy::ExposeSecret as _;
use tokio::{sync::mpsc, time};
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use crate::{
    fields,
    invocation::Cli,
    remote::{
        connect::{self, Connection, Identity, Listener},
        failures,
    },
    scan::{Target, Targets},
    term::{
        exit::{Exit, Failure, Refusal},
        interrupt, output,
    },
    verbs::{
        revoke::args::{RevokeArgs, to_wire_reason},
        revoke::found::name,
        revoke::progress::Meter,
    },
};
use jeton_proto::v1::{
    BulkRevokeRequest, BulkRevokeResponse, ErrorReason, Propagation, RevocationTarget,
    revocation_target::Kind,
};

/// The most targets of a chunk.
const CHUNK_TARGETS: usize = 10_000;
/// The most bytes of a chunk: below the 1 MiB that a server reads.
const CHUNK_BYTES: usize = 1_000_000;
/// What a target takes beside its text.
const TARGET_BYTES: usize = 16;
/// A chunk is committed within this, or the connection counts as broken.
const ANSWER_MAX: Duration = Duration::from_mins(1);
/// Without a chunk committed for so long, or for as long as `--retry` says, it gives up.
const PATIENCE: Duration = Duration::from_mins(2);
/// The first pause before a connection is made again; each next one is twice as long, up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// The most refused targets that are kept to be named.
const NAMED_MAX: usize = 10_000;

/// What is to be revoked, and how.
pub struct Job<'a> {
    /// The command line.
    pub cli: &'a Cli<'a>,
    /// Its flags.
    pub args: &'a RevokeArgs,
    /// The targets.
    pub targets: &'a Targets,
    /// The id of the whole.
    pub id: Uuid,
    /// The command that goes on with it, and what else is to be known about that.
    pub resume: String,
}

/// What became of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Targets by outcome.
    pub outcomes: BTreeMap<String, i64>,
    /// Targets by what they turned out to be.
    pub kinds: BTreeMap<String, i64>,
    /// Refused targets, and the chunk of each.
    pub failures: Vec<NotDone>,
    /// Revision after it.
    pub revision: String,
    /// Who has applied it.
    pub propagation: Option<Propagation>,
    /// It went by `BulkRevoke`.
    pub by_bulk: bool,
    chunk: usize,
}

/// A target that was not revoked.
#[derive(Debug)]
pub struct NotDone {
    /// Its name: never the text of a token.
    pub target: String,
    /// The reason.
    pub reason: String,
    /// For people.
    pub message: String,
    chunk: usize,
}

impl NotDone {
    /// A target that was sent by itself.
    pub fn alone(target: String, reason: String, message: String) -> Self {
        Self { target, reason, message, chunk: 0 }
    }
}

impl Outcome {
    /// The number of targets of an outcome.
    pub fn count(&self, outcome: &str) -> i64 {
        self.outcomes.get(outcome).copied().unwrap_or(0)
    }
}

/// The reason why it ended early.
pub struct Broken {
    /// What failed.
    pub failure: Failure,
    /// The server had accepted it: it may be done in part.
    pub started: bool,
}

/// The target as the API names it.
pub fn to_wire(target: &Target<'_>) -> RevocationTarget {
    let kind = match target {
        Target::Token(token) => Kind::Token(token.text.expose_secret().to_owned()),
        Target::Refresh(text, _) => Kind::Token(text.expose_secret().to_owned()),
        Target::Session(id) => Kind::SessionId(id.to_string()),
        Target::Id(id) => Kind::Id(id.to_string()),
    };
    RevocationTarget { kind: Some(kind), ..RevocationTarget::default() }
}

fn bytes_of(target: &Target<'_>) -> usize {
    const UUID_CHARS: usize = 36;
    let text = match target {
        Target::Token(token) => token.text.expose_secret().len(),
        Target::Refresh(text, _) => text.expose_secret().len(),
        Target::Session(_) | Target::Id(_) => UUID_CHARS,
    };
    text.saturating_add(TARGET_BYTES)
}

/// Where each chunk begins and ends. The same targets make the same chunks.
fn chunks(targets: &Targets) -> Vec<Range<usize>> {
    let (mut chunks, mut from, mut bytes) = (Vec::new(), 0_usize, 0_usize);
    for (index, target) in targets.iter().enumerate() {
        let more = bytes_of(&target);
        let is_full = index.saturating_sub(from) >= CHUNK_TARGETS || bytes.saturating_add(more) > CHUNK_BYTES;
        if is_full && index > from {
            chunks.push(from..index);
            (from, bytes) = (index, 0);
        }
        bytes = bytes.saturating_add(more);
    }
    if from < targets.len() {
        chunks.push(from..targets.len());
    }
    chunks
}

/// Revokes them all, however often the connection breaks.
pub async fn run(job: &Job<'_>) -> Result<Outcome, Broken> {
    let chunks = chunks(job.targets);
    let mut meter = Meter::new(job.cli, job.args.progress, job.targets.len());
    let mut outcome = Outcome { by_bulk: true, ..Outcome::default() };
    let retry = job.cli.globals.retry.and_then(|retry| Duration::try_from(retry).ok());
    let patience = PATIENCE.max(retry.unwrap_or_default());
    let (mut started, mut pause, mut since, mut committed) =
        (false, FIRST_PAUSE, time::Instant::now(), 0_usize);
    loop {
        let ended = attempt(job, &chunks, &mut outcome, &mut meter, &mut started).await;
        let Err(failure) = ended else {
            interrupt::set_words(None);
            return Ok(outcome);
        };
        if outcome.chunk > committed {
            (committed, pause, since) = (outcome.chunk, FIRST_PAUSE, time::Instant::now());
        }
        // Before it has begun, a person waits only if that was asked for.
        let waits = started || retry.is_some();
        if !waits || !is_passing(&failure) || since.elapsed() > patience {
            interrupt::set_words(None);
            if started && !job.args.dry_run {
                output::talk(&format!("{} {}", so_far(job, &chunks, &outcome), job.resume));
            }
            return Err(Broken { failure, started });
        }
        let why = failure.lines().into_iter().next().unwrap_or_default();
        meter.waiting(&job.id.to_string(), why.trim_start_matches("error: "));
        time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(LAST_PAUSE);
    }
}

/// One connection: opens it, and sends what is not committed.
async fn attempt(
    job: &Job<'_>,
    chunks: &[Range<usize>],
    outcome: &mut Outcome,
    meter: &mut Meter,
    started: &mut bool,
) -> Result<(), Failure> {
    let connection = connect::open(job.cli, Listener::Admin, Identity::Required).await?;
    let (requests, receiver) = mpsc::channel(1);
    // The channel has room for it.
    let _open = requests.send(opening(job)).await;
    let admin = connection.client().admin_service();
    let opened = time::timeout(connection.timeout(), admin.bulk_revoke(ReceiverStream::new(receiver)));
    let mut answers = match Box::pin(opened).await {
        Ok(opened) => opened.map_err(|error| connection.failed(&error))?,
        Err(_) => return Err(Failure::Refused(failures::late(connection.timeout()))),
    };
    let first = next(&connection, &mut answers).await?.ok_or_else(early)?;
    *started = true;
    let mut number = take(outcome, first)?;
    if number > chunks.len() {
        return Err(Failure::Usage(format!(
            "the server has committed {number} chunks of {}, and this input has {}: it is another one. Revoke it \
             without --resume.",
            job.id,
            chunks.len()
        )));
    }
    // Those that follow are sent again, and refused again.
    outcome.failures.retain(|failure| failure.chunk <= number);
    loop {
        show(job, chunks, outcome, meter);
        let Some(range) = chunks.get(number).cloned() else { break };
        number = number.saturating_add(1);
        // If nobody reads it, the answer says why.
        let _sent = requests.send(chunk(job, number, range.clone())).await;
        let mut answer = next(&connection, &mut answers).await?.ok_or_else(early)?;
        let failures = std::mem::take(&mut answer.failures);
        if take(outcome, answer)? != number {
            return Err(Failure::Local(
                "the server committed another chunk than was sent. It is a defect.".into(),
            ));
        }
        keep(job, outcome, failures, range.start, number);
    }
    drop(requests);
    let last = next(&connection, &mut answers).await?.ok_or_else(early)?;
    take(outcome, last)?;
    Ok(())
}

/// The next answer; `None` at the end.
async fn next(
    connection: &Connection,
    answers: &mut Answers<BulkRevokeResponse>,
) -> Result<Option<BulkRevokeResponse>, Failure> {
    let Ok(answer) = time::timeout(ANSWER_MAX, answers.next()).await else {
        let text = format!("No answer within {} s.", ANSWER_MAX.as_secs());
        return Err(Failure::Refused(Refusal::new(Code::DeadlineExceeded, text)));
    };
    answer.map_err(|error| connection.failed(&error))
}

fn early() -> Failure {
    Failure::Refused(Refusal::new(Code::Unavailable, "The server ended the stream before all was done."))
}

fn opening(job: &Job<'_>) -> BulkRevokeRequest {
    BulkRevokeRequest {
        bulk_id: job.id.to_string(),
        reason: to_wire_reason(job.args.reason).into(),
        note: job.args.note.clone().unwrap_or_default(),
        validate_only: job.args.dry_run,
        target_count: i64::try_from(job.targets.len()).unwrap_or(i64::MAX),
        force: job.args.force,
        ..BulkRevokeRequest::default()
    }
}

fn chunk(job: &Job<'_>, number: usize, range: Range<usize>) -> BulkRevokeRequest {
    BulkRevokeRequest {
        chunk_number: i64::try_from(number).unwrap_or(i64::MAX),
        targets: range.filter_map(|index| job.targets.get(index)).map(|target| to_wire(&target)).collect(),
        ..BulkRevokeRequest::default()
    }
}

/// Keeps what an answer says of all committed chunks, and returns their number.
fn take(outcome: &mut Outcome, answer: BulkRevokeResponse) -> Result<usize, Failure> {
    let committed = usize::try_from(answer.committed_chunk_number)
        .map_err(|_| Failure::Local("the server's number of chunks is none. It is a defect.".into()))?;
    outcome.chunk = committed;
    outcome.outcomes = answer.outcome_counts.into_iter().collect();
    outcome.kinds = answer.kind_counts.into_iter().collect();
    if !answer.revision.is_empty() {
        outcome.revision = answer.revision;
    }
    outcome.propagation = answer.propagation;
    Ok(committed)
}

fn keep(
    job: &Job<'_>,
    outcome: &mut Outcome,
    failures: Vec<jeton_proto::v1::bulk_revoke_response::Failure>,
    from: usize,
    chunk: usize,
) {
    for failure in failures {
        if outcome.failures.len() >= NAMED_MAX {
            return;
        }
        let index = usize::try_from(failure.target_index).ok().and_then(|index| index.checked_add(from));
        let target = index.and_then(|index| job.targets.get(index));
        outcome.failures.push(NotDone {
            target: target.map_or_else(|| "a target".to_owned(), |target| name(&target)),
            reason: ErrorReason::try_from(failure.reason).map_or_else(
                |_| failure.reason.to_string(),
                |reason| reason.as_str_name().trim_start_matches("ERROR_REASON_").to_owned(),
            ),
            message: fields::of_target(&failure.message).to_owned(),
            chunk,
        });
    }
}

/// Targets of the committed chunks.
fn done(chunks: &[Range<usize>], outcome: &Outcome) -> usize {
    outcome.chunk.checked_sub(1).and_then(|last| chunks.get(last)).map_or(0, |range| range.end)
}

fn so_far(job: &Job<'_>, chunks: &[Range<usize>], outcome: &Outcome) -> String {
    format!("{} of {} targets are revoked.", done(chunks, outcome), job.targets.len())
}

fn show(job: &Job<'_>, chunks: &[Range<usize>], outcome: &Outcome, meter: &mut Meter) {
    meter.show(&job.id.to_string(), done(chunks, outcome), &outcome.outcomes);
    let words = if job.args.dry_run {
        "interrupted. Nothing was changed (--dry-run).".to_owned()
    } else {
        format!("interrupted. {} {}", so_far(job, chunks, outcome), job.resume)
    };
    interrupt::set_words(Some(words));
}

/// Returns whether another connection may get further.
fn is_passing(failure: &Failure) -> bool {
    match failure {
        Failure::Unreachable(_) => true,
        Failure::Refused(refusal) => match refusal.code {
            Code::Unavailable | Code::DeadlineExceeded | Code::Aborted => true,
            // A connection that broke; a server's own refusal has details.
            Code::Unknown | Code::Internal | Code::Cancelled => refusal.is_bare(),
            Code::ResourceExhausted => failure.exit() == Exit::Unavailable,
            Code::Ok
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::DataLoss
            | Code::Unauthenticated => false,
        },
        Failure::Usage(_) | Failure::Local(_) | Failure::Interrupted | Failure::BadValue { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::Found;

    fn targets(tokens: usize, ids: u128) -> Targets {
        let mut found = Found::new(0);
        for index in 0..tokens {
            found.add_token(format!("{index:08}{}", "x".repeat(8_000)), crate::scan::Claims::default());
        }
        (0..ids).for_each(|id| found.add_id(Uuid::from_u128(id)));
        found.into_targets()
    }

    #[test]
    fn chunks_hold_so_many_targets_and_so_many_bytes_and_all_of_them() {
        for (tokens, ids) in [(0, 0), (1, 0), (0, 1), (0, 10_000), (0, 10_001), (400, 25_000)] {
            let targets = targets(tokens, ids);
            let chunks = chunks(&targets);
            let mut next = 0;
            for range in &chunks {
                assert_eq!(range.start, next);
                next = range.end;
                let bytes: usize =
                    range.clone().filter_map(|index| targets.get(index)).map(|it| bytes_of(&it)).sum();
                assert!(
                    !range.is_empty() && range.len() <= CHUNK_TARGETS && bytes <= CHUNK_BYTES,
                    "{range:?}"
                );
            }
            assert_eq!(next, targets.len(), "{tokens} {ids}");
        }
        assert_eq!(chunks(&targets(0, 10_001)).len(), 2);
    }

    #[test]
    fn the_same_targets_have_one_fingerprint_and_others_another() {
        assert_eq!(targets(3, 9).fingerprint(), targets(3, 9).fingerprint());
        assert_ne!(targets(3, 9).fingerprint(), targets(3, 10).fingerprint());
        assert_ne!(targets(3, 9).fingerprint(), targets(2, 9).fingerprint());
    }

    #[test]
    fn what_passes_is_told_from_what_stays() {
        let refused = |code| is_passing(&Failure::Refused(Refusal::new(code, "x")));
        assert!(refused(Code::Unavailable) && refused(Code::Unknown) && refused(Code::DeadlineExceeded));
        assert!(!refused(Code::PermissionDenied) && !refused(Code::InvalidArgument));
        assert!(!refused(Code::ResourceExhausted), "a quota does not grow by waiting");
        assert!(is_passing(&Failure::Unreachable(String::new())));
        assert!(!is_passing(&Failure::Usage(String::new())));
    }
}
