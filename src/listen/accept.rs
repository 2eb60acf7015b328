//! How connections arrive: dealt out to the workers in turn, and no more of them than a listener may have.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

/// Connections of one listener: each costs some ten kB, and a descriptor.
pub(super) const CONNECTIONS_MAX: usize = 20_000;
/// Between two tries when the process is out of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// A connection on its way to a worker: off the accepting runtime, so that the worker's can take it up.
pub(super) struct Arrived {
    pub(super) connection: std::net::TcpStream,
    pub(super) address: IpAddr,
    pub(super) counted: Counted,
}

/// One of the connections of a listener, as long as it is.
pub(super) struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Deals out connections in turn; what comes while `most` are open is closed.
pub(super) async fn accept(
    name: &'static str,
    listener: TcpListener,
    most: usize,
    workers: Vec<mpsc::UnboundedSender<Arrived>>,
    stop: CancellationToken,
) {
    let open = Arc::new(AtomicUsize::new(0));
    let mut turn = workers.iter().cycle();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let arrived = accepted.and_then(|(connection, from)| {
            open.fetch_add(1, Ordering::Relaxed);
            arrive(connection, from, Counted(Arc::clone(&open)))
        });
        match arrived {
            Ok(_) if open.load(Ordering::Relaxed) > most => {
                tracing::warn!(jeton.listener = name, "a connection too many was closed");
            }
            Ok(arrived) => {
                if turn.next().is_none_or(|worker| worker.send(arrived).is_err()) {
                    // Half a server that takes every other connection is worse than none.
                    tracing::error!("a serving thread is gone: the server ends");
                    stop.cancel();
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

fn arrive(connection: TcpStream, from: SocketAddr, counted: Counted) -> io::Result<Arrived> {
    connection.set_nodelay(true)?;
    Ok(Arrived { connection: connection.into_std()?, address: from.ip().to_canonical(), counted })
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    /// Whether the other end closed it.
    async fn is_closed(mut connection: TcpStream) -> io::Result<bool> {
        Ok(connection.read(&mut [0]).await? == 0)
    }

    #[tokio::test]
    async fn e5_a_connection_too_many_is_closed_and_one_that_ends_makes_room() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (worker, mut arriving) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let accepting = tokio::spawn(accept("test", listener, 2, vec![worker], stop.clone()));
        let _first = TcpStream::connect(address).await?;
        let first = arriving.recv().await;
        let _second = TcpStream::connect(address).await?;
        let _second = arriving.recv().await;
        assert!(is_closed(TcpStream::connect(address).await?).await?);
        drop(first);
        let _third = TcpStream::connect(address).await?;
        let third = arriving.recv().await;
        assert!(third.is_some(), "there is room again");
        assert!(is_closed(TcpStream::connect(address).await?).await?);
        stop.cancel();
        assert!(accepting.await.is_ok());
        Ok(())
    }
}
