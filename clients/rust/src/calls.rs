//! Calls: at one endpoint after the other, again where that may be, and never longer than their deadline.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use http::{Uri, uri::PathAndQuery};
use prost::Message;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::{Request, Streaming, client::Grpc};
use tonic_prost::ProstCodec;

use crate::{
    Client, Code, JetonError,
    client::Group,
    clock::deadline_in,
    endpoint_url::EndpointUrl,
    failure::{failed, of_way, way_error},
    health,
    lane::{Caller, Way, WayError},
    policy::{Policy, policy_of},
    stream::Answers,
};

/// The longest answer that is taken.
const ANSWER_MAX: usize = 16 << 20;

struct Failed {
    error: JetonError,
    /// Whether the server may have got the request.
    is_sent: bool,
}

impl Client {
    /// Makes a unary call. `rounds`, if given, takes the place of the policy's.
    pub(crate) async fn unary<Q, A>(
        &self,
        group: &Group,
        path: &'static str,
        message: Q,
        rounds: Option<u32>,
    ) -> Result<A, JetonError>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let policy = policy_of(path);
        let policy = policy.with_rounds(rounds.or(self.in_one_round.then_some(1)));
        let deadline = deadline_in(self.deadline.unwrap_or(policy.timeout));
        let call = Call { client: self, group, policy, path, deadline, is_sent: AtomicBool::new(false) };
        self.shared.pacer.note(&self.shared.closed);
        tokio::select! {
            biased;
            () = self.shared.closed.cancelled() => Err(JetonError::closed("client")),
            outcome = timeout_at(deadline, Box::pin(call.rounds(message))) => {
                outcome.unwrap_or_else(|_| Err(JetonError::deadline_exceeded()))
            }
        }
    }

    /// Opens a stream at the endpoint so many places behind the current one. It is not repeated.
    pub(crate) async fn streaming<Q, A>(
        &self,
        group: &Group,
        skip: usize,
        path: &'static str,
        requests: impl tokio_stream::Stream<Item = Q> + Send + 'static,
    ) -> Result<Answers<A>, JetonError>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let Some((_, at)) = group.behind_current(skip) else {
            return Err(JetonError::endpoint_invalid("There is no endpoint. Give one."));
        };
        let open = Box::pin(async {
            let (lane, authorization) = self.shared.lane(at);
            let way = lane.connect().await.map_err(|error| way_error(&error, at))?;
            let mut request = Request::new(requests);
            if let Some(deadline) = self.deadline {
                request.set_timeout(deadline);
            }
            let mut grpc = grpc(way, authorization, at, false)?;
            let path = PathAndQuery::from_static(path);
            let answers: Streaming<A> = grpc
                .streaming(request, path, ProstCodec::<Q, A>::default())
                .await
                .map_err(|status| failed(&status, at))?
                .into_inner();
            Ok(Answers::new(answers, lane, at.clone(), self.shared.closed.clone(), self.deadline))
        });
        self.bounded(open).await
    }

    /// Connects to the current endpoint, unless a connection is there: that shows early what is wrong with an address,
    /// the network or TLS. No request and no API key is sent. Calls connect by themselves.
    pub async fn connect(&self) -> Result<(), JetonError> {
        let Some((_, at)) = self.shared.public.behind_current(0) else {
            return Err(JetonError::endpoint_invalid("There is no endpoint. Give one."));
        };
        let (lane, _) = self.shared.lane(at);
        let connecting = Box::pin(async { lane.connect().await.map_err(|error| way_error(&error, at)) });
        self.bounded(connecting).await.map(drop)
    }

    /// Waits as long as the client is open, and no longer than the deadline that it was given.
    async fn bounded<T>(
        &self,
        outcome: impl Future<Output = Result<T, JetonError>>,
    ) -> Result<T, JetonError> {
        let timed = async {
            match self.deadline {
                Some(time) => {
                    timeout(time, outcome).await.unwrap_or_else(|_| Err(JetonError::deadline_exceeded()))
                }
                None => outcome.await,
            }
        };
        tokio::select! {
            biased;
            () = self.shared.closed.cancelled() => Err(JetonError::closed("client")),
            outcome = timed => outcome,
        }
    }
}

/// One call, which may ask several endpoints, and each of them again.
struct Call<'a> {
    client: &'a Client,
    group: &'a Group,
    policy: Policy,
    path: &'static str,
    deadline: Instant,
    /// Whether the server may have got the request of the attempt that is under way.
    is_sent: AtomicBool,
}

impl Call<'_> {
    async fn rounds<Q, A>(&self, message: Q) -> Result<A, JetonError>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let mut round = 0_u32;
        loop {
            let error = match self.round(message.clone()).await {
                Ok(answer) => return Ok(answer),
                Err((error, again)) if !again => return Err(error),
                Err((error, _)) => error,
            };
            let pause = self.policy.pause(round).max(error.retry_after().unwrap_or_default());
            round = round.saturating_add(1);
            if round >= self.policy.rounds || pause >= self.left() {
                return Err(error);
            }
            sleep(pause).await;
        }
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Asks each endpoint once. An error comes with whether another round may mend it.
    async fn round<Q, A>(&self, message: Q) -> Result<A, (JetonError, bool)>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let count = self.group.endpoints.len();
        let first = self.group.behind_current(0).map_or(0, |(number, _)| number);
        let mut latest = None;
        for step in 0..count {
            let number = first.wrapping_add(step).checked_rem(count).unwrap_or(0);
            let Some(at) = self.group.endpoints.get(number) else { break };
            self.is_sent.store(false, Ordering::Relaxed);
            let shares = u32::try_from(count.saturating_sub(step)).unwrap_or(u32::MAX);
            let share = self.left().checked_div(shares).unwrap_or_default();
            let once = self.once(at, share, message.clone());
            // The last one has what is left, and the deadline of the call ends it.
            let asked = if shares == 1 { Ok(once.await) } else { timeout(share, once).await };
            let failed = match asked {
                Ok(Ok(answer)) => {
                    self.group.set_current(number);
                    return Ok(answer);
                }
                Ok(Err(failed)) => failed,
                Err(_) => {
                    let is_sent = self.is_sent.load(Ordering::Relaxed);
                    Failed { error: JetonError::deadline_exceeded(), is_sent }
                }
            };
            let Failed { error, is_sent } = failed;
            if !matches!(error.code(), Code::Unavailable | Code::DeadlineExceeded) {
                if is_sent {
                    self.group.set_current(number);
                }
                return Err((error, false));
            }
            if is_sent && !self.policy.repeats {
                return Err((error, false));
            }
            latest = Some(error);
        }
        Err((latest.unwrap_or_else(JetonError::deadline_exceeded), true))
    }

    /// Asks one endpoint.
    async fn once<Q, A>(&self, at: &EndpointUrl, share: Duration, message: Q) -> Result<A, Failed>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        // Once more, if the connection ended before anything was sent: an idle one may have.
        for is_last in [false, true] {
            let (lane, authorization) = self.client.shared.lane(at);
            // Everybody may ask for the health of a server: it gets no credential for that.
            let authorization = authorization.filter(|_| self.path != health::CHECK);
            let unsent = |error: JetonError| Failed { error, is_sent: false };
            let way = lane.connect().await.map_err(|error| unsent(way_error(&error, at)))?;
            let mut request = Request::new(message.clone());
            request.set_timeout(share);
            let mut grpc = grpc(way, authorization, at, true).map_err(unsent)?;
            let path = PathAndQuery::from_static(self.path);
            self.is_sent.store(true, Ordering::Relaxed);
            let status = match grpc.unary(request, path, ProstCodec::<Q, A>::default()).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => status,
            };
            let is_sent = !matches!(of_way(&status), Some(WayError::NotSent));
            if is_sent || is_last {
                return Err(Failed { error: failed(&status, at), is_sent });
            }
        }
        Err(Failed { error: JetonError::deadline_exceeded(), is_sent: false })
    }
}

fn grpc(
    way: Way,
    authorization: Option<http::HeaderValue>,
    at: &EndpointUrl,
    is_unary: bool,
) -> Result<Grpc<Caller>, JetonError> {
    let origin: Uri =
        at.to_string().parse().map_err(|_| JetonError::endpoint_invalid("The endpoint is no URI."))?;
    let caller = Caller { way, authorization, is_unary };
    Ok(Grpc::with_origin(caller, origin).max_decoding_message_size(ANSWER_MAX))
}
