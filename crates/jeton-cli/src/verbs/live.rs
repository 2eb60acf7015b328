//! The line that a person sees while a revocation travels. It is a convenience: it never delays the revocation, and is
//! left out if its data cannot be had.

use std::{future::Future, io::IsTerminal, pin::pin, time::Duration};

use tokio::{task::JoinHandle, time::sleep};

use crate::{
    invocation::Cli,
    remote::connect::{self, Connection, Identity, Listener},
    term::{exit::Failure, output},
    verbs::{propagation::names, replica},
};
use jeton_proto::v1::Replica;
use jeton_token::Revision;

/// A revocation that ends sooner gets no line.
const PATIENCE: Duration = Duration::from_millis(150);
/// The pause between two looks.
const POLL: Duration = Duration::from_millis(100);

/// The revisions that the replicas had applied before, still being fetched.
#[derive(Debug)]
pub struct Live {
    before: JoinHandle<Result<(Connection, Option<Revision>), Failure>>,
}

impl Live {
    /// Starts asking, if there is a terminal to draw on and a server to ask beside `listener`, which the revocation
    /// goes to. Returns at once.
    pub fn ask(cli: &Cli<'_>, listener: Listener) -> Option<Self> {
        // If only one of the two flags is given, the other listener may be of another deployment, which must neither be
        // shown nor be sent the credential.
        let is_beside = cli.globals.endpoint.is_some() == cli.globals.admin_endpoint.is_some();
        if !std::io::stderr().is_terminal() || (listener == Listener::Public && !is_beside) {
            return None;
        }
        let destination =
            connect::destination(cli, Listener::Admin, Identity::Required).ok()?.without_patience();
        let before = tokio::spawn(async {
            let connection = destination.dial().await?;
            let before = replica::largest(&replica::list(&connection).await?.replicas);
            Ok((connection, before))
        });
        Some(Self { before })
    }

    /// Draws until dropped, or until there is nothing to draw.
    async fn draw(self) {
        let patience = sleep(PATIENCE);
        let Ok(Ok((connection, Some(before)))) = self.before.await else { return };
        patience.await;
        while let Ok(now) = replica::list(&connection).await {
            output::draw(&line(&now.replicas, before));
            sleep(POLL).await;
        }
    }
}

/// Waits for an answer, with a line beside it. The answer's own future is polled first, so its request is sent first.
pub async fn beside<T>(live: Option<Live>, answer: impl Future<Output = T>) -> T {
    let mut answer = pin!(answer);
    if let Some(live) = live {
        tokio::select! {
            biased;
            answer = &mut answer => {
                output::erase();
                return answer;
            }
            () = live.draw() => output::erase(),
        }
    }
    answer.await
}

/// `2/3 replicas have applied it · waiting for: dev-3`.
fn line(replicas: &[Replica], before: Revision) -> String {
    let head = replica::largest(replicas).unwrap_or(before);
    let differ = replicas.iter().any(|replica| replica::revision(replica) < Some(head));
    // No replica is further than before, but some are further than others: the first look may have come too late, when
    // the revocation was applied already. Those behind must still apply it; more is not known.
    let known = head > before || !differ;
    let is_waiting = |replica: &&Replica| {
        let revision = replica::revision(replica);
        if known { revision <= Some(before) } else { revision < Some(head) }
    };
    let waiting: Vec<_> =
        replicas.iter().filter(is_waiting).map(|replica| replica.replica.as_str()).collect();
    let applied = replicas.len().saturating_sub(waiting.len());
    let count = format!("{applied}/{} replicas have applied it", replicas.len());
    match (known, waiting.as_slice()) {
        (_, []) => count,
        (true, waiting) => format!("{count} · waiting for: {}", names(waiting)),
        (false, waiting) => format!("waiting for: {}", names(waiting)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line_of(replicas: &[(&str, &str)]) -> Option<String> {
        let replicas: Vec<_> = replicas
            .iter()
            .map(|(name, revision)| Replica {
                replica: (*name).to_owned(),
                revision: (*revision).to_owned(),
                ..Replica::default()
            })
            .collect();
        Some(line(&replicas, Revision::new(1, 40)?))
    }

    #[test]
    fn the_line_counts_who_is_further_than_before_and_names_the_others() {
        let drawn = line_of(&[("dev-3", "1.40"), ("dev-1", "1.41"), ("dev-2", "1.43")]);
        assert_eq!(drawn.as_deref(), Some("2/3 replicas have applied it · waiting for: dev-3"));
        let drawn = line_of(&[("dev-1", "1.41"), ("dev-2", "2.1")]);
        assert_eq!(drawn.as_deref(), Some("2/2 replicas have applied it"));
        let drawn =
            line_of(&[("a", "1.40"), ("b", "1.40"), ("c", "1.39"), ("d", ""), ("e\n", "1.1"), ("f", "1.41")]);
        let expected = "1/6 replicas have applied it · waiting for: a, b, c and 2 more";
        assert_eq!(drawn.as_deref(), Some(expected));
    }

    #[test]
    fn a_first_look_that_came_too_late_claims_nothing() {
        let drawn = line_of(&[("dev-3", "1.39"), ("dev-1", "1.40"), ("dev-2", "1.40")]);
        assert_eq!(drawn.as_deref(), Some("waiting for: dev-3"));
        let drawn = line_of(&[("dev-1", "1.40"), ("dev-2", "1.40")]);
        assert_eq!(drawn.as_deref(), Some("0/2 replicas have applied it · waiting for: dev-1, dev-2"));
    }
}
