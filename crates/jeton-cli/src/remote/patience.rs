//! `--retry`: calls that are sent again while the server is unavailable. Only calls are repeated of which a second one
//! does no harm; what a first one may have done is not known.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jeton_client::{Client, Code, JetonError};
use jiff::SignedDuration;
use tokio::time::{Instant, sleep};

use crate::{
    invocation::Cli,
    remote::{
        failover::{Access, first_that_answers},
        methods::Method,
        source::DevHome,
    },
    term::{output, time},
};

/// The pause before the next attempt.
const PAUSE: Duration = Duration::from_secs(1);

/// How long to go on.
#[derive(Clone, Debug)]
pub struct Patience {
    until: Instant,
    /// The same as a time of day, for people.
    shown: String,
    /// It was said what is waited for.
    said: Arc<AtomicBool>,
}

impl Patience {
    /// The patience that `--retry` asks for. It is one for all calls of a run.
    pub fn of(cli: &Cli<'_>) -> Option<Self> {
        static ONE: OnceLock<Patience> = OnceLock::new();
        let asked = cli.globals.retry?;
        let one = ONE.get_or_init(|| {
            let end = (cli.env.now)().saturating_add(asked).ok();
            let shown = time::show_time_of_day(end.map(time::to_wire_timestamp).as_ref());
            let started = Instant::now();
            let until = started.checked_add(of_positive(asked)).unwrap_or(started);
            Self { until, shown, said: Arc::default() }
        });
        Some(one.clone())
    }

    /// The time that is left.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Waits for a moment, after having said once what is waited for. Returns false if the time is over.
    pub async fn wait(&self, why: &str) -> bool {
        let left = self.left();
        if left.is_zero() {
            return false;
        }
        if !self.said.swap(true, Ordering::Relaxed) {
            output::talk(&format!("{why} Trying again until {}; Ctrl-C ends it.", self.shown));
        }
        sleep(PAUSE.min(left)).await;
        true
    }
}

fn of_positive(duration: SignedDuration) -> Duration {
    duration.try_into().unwrap_or_default()
}

/// The servers that a call may go to.
#[derive(Debug)]
pub struct Ways {
    /// At least one.
    pub urls: Vec<String>,
    /// If those are the servers of `jeton dev`: where it writes which they are now.
    pub dev: Option<DevHome>,
    /// What they are shown.
    pub access: Access,
    /// The longest wait for a connection.
    pub timeout: Duration,
}

impl Ways {
    /// The servers as they are known now: those of `jeton dev` have other ports when it was started again.
    fn now(&self) -> Vec<String> {
        self.dev.as_ref().and_then(DevHome::urls).unwrap_or_else(|| self.urls.clone())
    }

    /// Makes a call that does no harm twice, by this client at first, until it is answered or the patience is over. Each
    /// attempt has this deadline.
    pub async fn insist<M: Method>(
        &self,
        mut client: Client,
        request: M,
        deadline: Duration,
        patience: &Patience,
    ) -> Result<M::Answer, JetonError> {
        let mut at = String::new();
        loop {
            let error = match request.clone().send(&attempt(&client, deadline)).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            match passing(&error, M::REVOKES) {
                Some(why) if patience.wait(&why).await => {}
                _ => return Err(error),
            }
            // The server may have gone for good, and another one wait: each attempt looks at all of them.
            let timeout = self.timeout.min(patience.left());
            if let Ok(found) = first_that_answers(&self.now(), &self.access, timeout).await {
                if found.url != at {
                    found.tell();
                }
                (client, at) = (found.client, found.url);
            }
        }
    }
}

/// The client for one attempt at a call: when it is made again, and where, is decided here.
pub fn attempt(client: &Client, deadline: Duration) -> Client {
    client.within(deadline).in_one_round()
}

/// A sentence on a failure that passes by itself; `None` if it does not.
fn passing(error: &JetonError, revokes: bool) -> Option<String> {
    if !matches!(error.code(), Code::Unavailable | Code::DeadlineExceeded) {
        return None;
    }
    Some(if !error.is_answer() {
        format!("The server does not answer. {}", meanwhile(revokes, "it"))
    } else if error.reason() == "STORE_UNAVAILABLE" {
        format!("The server does not reach Postgres. {}", meanwhile(revokes, "Postgres"))
    } else {
        format!("The server cannot answer now. {}", meanwhile(revokes, "it"))
    })
}

/// What holds in the meantime.
fn meanwhile(revokes: bool, what: &str) -> String {
    if !revokes {
        return "Nothing was changed.".to_owned();
    }
    format!(
        "Nothing validates while {what} is away, as soon as the leases have run out (within seconds); this revocation \
         takes effect when {what} is back."
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use jeton_client::testing::Double;
    use jeton_proto::v1::GetCallerRequest;

    use super::*;

    /// What is said of a failure of a server that refuses by this code and this reason.
    async fn said(code: Code, reason: &str, revokes: bool) -> Option<String> {
        let double = Double::new();
        double.refuse("GetCaller", code, reason, HashMap::new());
        let client = double.client().ok()?;
        let refused = GetCallerRequest {}.send(&attempt(&client, Duration::from_secs(9))).await.err()?;
        passing(&refused, revokes)
    }

    #[tokio::test]
    async fn what_holds_meanwhile_is_said() {
        let revoke = said(Code::Unavailable, "STORE_UNAVAILABLE", true).await.unwrap_or_default();
        assert!(revoke.starts_with("The server does not reach Postgres. Nothing validates"), "{revoke}");
        assert!(revoke.ends_with("takes effect when Postgres is back."), "{revoke}");
        let read = said(Code::Unavailable, "SERVER_DRAINING", false).await;
        assert_eq!(read.as_deref(), Some("The server cannot answer now. Nothing was changed."));
        assert_eq!(said(Code::NotFound, "NOT_FOUND", true).await, None, "it does not pass");
    }
}
