//! Accepts connections: dealt out to the workers in turn, each with a place of its own.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::listen::places::{Place, Places};

/// The pause between two tries when the process is out of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// The interval of repeated log lines.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// A connection on its way to a worker: detached from the accepting runtime, so that the worker's can take it up.
pub(super) struct Arrived {
    pub(super) connection: std::net::TcpStream,
    pub(super) address: IpAddr,
    pub(super) place: Place,
}

/// Deals out connections in turn; those without a place are closed.
pub(super) async fn accept(
    name: &'static str,
    listener: TcpListener,
    places: Arc<Places>,
    workers: Vec<mpsc::UnboundedSender<Arrived>>,
    stop: CancellationToken,
) {
    let mut turn = workers.iter().cycle();
    let mut said: Option<Instant> = None;
    // A peer that opens many connections must not fill the log, too.
    let mut may_say = move || {
        let may = said.is_none_or(|said| said.elapsed() >= SAY_AGAIN);
        if may {
            said = Some(Instant::now());
        }
        may
    };
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted.and_then(|(connection, from)| arrive(connection, from, &places)) {
            Ok(Some(arrived)) => {
                if turn.next().is_none_or(|worker| worker.send(arrived).is_err()) {
                    // A server that serves every other connection is worse than none.
                    tracing::error!("a serving thread is gone: the server ends");
                    stop.cancel();
                    return;
                }
            }
            Ok(None) if may_say() => {
                tracing::warn!(jeton.listener = name, "a connection above the limit was closed");
            }
            Ok(None) => {}
            Err(error) => {
                if may_say() {
                    tracing::warn!(jeton.listener = name, error = %error, "a connection could not be accepted");
                }
                // Perhaps out of descriptors.
                places.make_room();
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

fn arrive(connection: TcpStream, from: SocketAddr, places: &Arc<Places>) -> io::Result<Option<Arrived>> {
    let address = from.ip().to_canonical();
    let Some(place) = places.take(address) else { return Ok(None) };
    connection.set_nodelay(true)?;
    Ok(Some(Arrived { connection: connection.into_std()?, address, place }))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::listen::places::Limits;

    /// Returns whether the peer has closed it.
    async fn is_closed(mut connection: TcpStream) -> io::Result<bool> {
        Ok(connection.read(&mut [0]).await? == 0)
    }

    #[tokio::test]
    async fn e5_whoever_comes_is_served_while_somebody_can_make_room() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (worker, mut arriving) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let limits = Limits { per_client: 2, ..Limits::of(2, 2, Arc::default()) };
        let accepting =
            tokio::spawn(accept("test", listener, Places::new(limits), vec![worker], stop.clone()));
        let _first = TcpStream::connect(address).await?;
        let first = arriving.recv().await;
        let _second = TcpStream::connect(address).await?;
        let second = arriving.recv().await;
        if let Some(first) = first {
            first.place.has_to_leave().await;
        }
        // An authenticated connection makes no room.
        let authenticates = |arrived: &Option<Arrived>| {
            arrived.as_ref().is_some_and(|it| it.place.standing().authenticated("a"))
        };
        assert!(authenticates(&second));
        let _third = TcpStream::connect(address).await?;
        let third = arriving.recv().await;
        assert!(authenticates(&third));
        assert!(is_closed(TcpStream::connect(address).await?).await?);
        stop.cancel();
        assert!(accepting.await.is_ok());
        Ok(())
    }
}
