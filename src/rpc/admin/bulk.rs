//! `BulkRevoke`: a stream of chunks, each answered once it is committed.

use std::pin::Pin;

use futures_util::{Stream, stream::unfold};
use prost::Message as _;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    authority::{Bulk, BulkOpening, Chunk, Error, Failures, Invalid},
    edge::{Origin, Refusal},
    process::others_first,
    proto::v1 as pb,
    rpc::{
        Context,
        convert::{propagation, reason_of},
        tokens::service::revoke_target,
    },
};
use jeton_token::sha256;

/// The targets that are read before others have their turn.
const TARGETS_AT_ONCE: usize = 512;

/// The answers to a bulk revocation.
pub(in crate::rpc) type Answers = Pin<Box<dyn Stream<Item = Result<pb::BulkRevokeResponse, Status>> + Send>>;

/// A call, between two of its messages.
struct Call {
    context: Context,
    origin: Origin,
    incoming: Streaming<pb::BulkRevokeRequest>,
    /// `None` before the first message.
    bulk: Option<Bulk>,
    /// The last message was sent, or a refusal.
    over: bool,
}

/// Answers the messages one after the other. A chunk that is being committed is committed even if the caller goes.
pub(in crate::rpc) fn bulk_revoke(
    context: Context,
    request: Request<Streaming<pb::BulkRevokeRequest>>,
) -> Result<Response<Answers>, Status> {
    let origin = Origin::of(request.extensions())?;
    let call = Call { context, origin, incoming: request.into_inner(), bulk: None, over: false };
    let answers = unfold(call, |mut call| async move {
        if call.over {
            return None;
        }
        let answer = call.next().await;
        call.over |= answer.is_err();
        Some((answer, call))
    });
    Ok(Response::new(Box::pin(answers)))
}

impl Call {
    async fn next(&mut self) -> Result<pb::BulkRevokeResponse, Status> {
        let stop = self.context.stop.clone();
        let message = tokio::select! {
            biased;
            message = self.incoming.message() => message?,
            // The chunks that are committed are known: the call goes on at another replica.
            () = stop.cancelled() => return Err(Error::Draining.into()),
        };
        let (context, origin) = (self.context.clone(), self.origin.clone());
        match (self.bulk.take(), message) {
            (None, Some(opening)) => {
                let opening = opening_of(opening)?;
                let opened = self.context.detached(async move {
                    let (snapshot, caller) = context.snapshot(&origin).await?;
                    context.authority.check_rate(&caller)?;
                    context.authority.open_bulk(&snapshot, &caller, opening).await
                });
                Ok(self.goes_on(opened.await?, Failures::new()))
            }
            (None, None) => Err(Invalid::required("bulk_id").into()),
            (Some(bulk), Some(chunk)) => {
                let chunk = chunk_of(chunk).await?;
                let committed = self.context.detached(async move {
                    let (snapshot, caller) = context.snapshot(&origin).await?;
                    context.authority.check_rate(&caller)?;
                    context.authority.bulk_chunk(&snapshot, &caller, bulk, chunk).await
                });
                let (bulk, failures) = committed.await?;
                Ok(self.goes_on(bulk, failures))
            }
            (Some(bulk), None) => {
                self.over = true;
                let mut answer = answer_of(&bulk, Failures::new());
                if !bulk.validate_only {
                    let closed =
                        self.context.detached(async move { context.authority.close_bulk(&bulk).await });
                    let (revision, reached) = closed.await?;
                    answer.revision = revision.to_string();
                    answer.propagation = Some(propagation(reached));
                }
                Ok(answer)
            }
        }
    }

    fn goes_on(&mut self, bulk: Bulk, failures: Failures) -> pb::BulkRevokeResponse {
        let answer = answer_of(&bulk, failures);
        self.bulk = Some(bulk);
        answer
    }
}

fn opening_of(message: pb::BulkRevokeRequest) -> Result<BulkOpening, Status> {
    if !message.targets.is_empty() || message.chunk_number != 0 {
        return Err(Invalid::field("targets", "not in the first message, which opens the list").into());
    }
    Ok(BulkOpening {
        bulk_id: message.bulk_id,
        reason: reason_of(message.reason)?,
        note: message.note,
        validate_only: message.validate_only,
        target_count: message.target_count,
        force: message.force,
    })
}

/// A chunk. Its thousands of targets are read with turns for others between.
async fn chunk_of(message: pb::BulkRevokeRequest) -> Result<Chunk, Status> {
    if !message.bulk_id.is_empty() || !message.note.is_empty() || message.reason != 0 || message.validate_only
    {
        return Err(Invalid::field("bulk_id", "in the first message alone").into());
    }
    let encoded = message.encode_to_vec();
    others_first().await;
    let digest = sha256(&[&encoded]);
    let mut targets = Vec::with_capacity(message.targets.len());
    let mut arrived = message.targets.into_iter();
    while arrived.len() > 0 {
        others_first().await;
        targets.extend(arrived.by_ref().take(TARGETS_AT_ONCE).map(revoke_target));
    }
    Ok(Chunk { number: message.chunk_number, targets, digest })
}

/// The state of the list, and the refused targets of its latest chunk.
fn answer_of(bulk: &Bulk, failures: Failures) -> pb::BulkRevokeResponse {
    pb::BulkRevokeResponse {
        committed_chunk_number: bulk.committed,
        outcome_counts: bulk.outcomes.clone().into_iter().collect(),
        kind_counts: bulk.kinds.clone().into_iter().collect(),
        failures: failures.into_iter().map(failure).collect(),
        propagation: None,
        revision: bulk.revision.map_or_else(String::new, |revision| revision.to_string()),
    }
}

fn failure((index, error): (usize, Error)) -> pb::bulk_revoke_response::Failure {
    let refusal = Refusal::from(error);
    let reason = pb::ErrorReason::from_str_name(&format!("ERROR_REASON_{}", refusal.reason));
    pb::bulk_revoke_response::Failure {
        target_index: i32::try_from(index).unwrap_or(i32::MAX),
        reason: reason.unwrap_or_default().into(),
        message: refusal.message,
    }
}
