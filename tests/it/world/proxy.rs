//! Stands between a server and its database, and counts round trips: the Syncs, each of which the
//! database answers with ReadyForQuery.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, UnixStream},
};

pub struct Proxy {
    /// The database's URL by way of the proxy.
    pub url: String,
    round_trips: Arc<AtomicI64>,
}

impl Proxy {
    /// In front of a database whose URL names a socket's directory.
    pub async fn start(url: &str) -> Self {
        let (base, directory) = url.split_once("?host=").unwrap();
        let (user, rest) = base.strip_prefix("postgres://").unwrap().split_once("@localhost:").unwrap();
        let (port, database) = rest.split_once('/').unwrap();
        let socket = PathBuf::from(directory.replace("%2F", "/")).join(format!(".s.PGSQL.{port}"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("postgres://{user}@{}/{database}?sslmode=disable", listener.local_addr().unwrap());
        let round_trips = Arc::new(AtomicI64::new(0));
        let count = Arc::clone(&round_trips);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, to_server) = UnixStream::connect(&socket).await.unwrap().into_split();
                let count = Arc::clone(&count);
                tokio::spawn(async move { forward(&mut from_client, to_server, &count).await });
                tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
            }
        });
        Self { url, round_trips }
    }

    /// Round trips so far, of connections that do not follow the log.
    pub fn round_trips(&self) -> i64 {
        self.round_trips.load(Ordering::Relaxed)
    }
}

/// Forwards message by message. What the log's reader does goes on all the time: left out.
async fn forward(
    from: &mut (impl AsyncRead + Unpin),
    mut to: impl AsyncWrite + Unpin,
    count: &AtomicI64,
) -> Option<()> {
    let startup = from.read_u32().await.ok()?;
    to.write_u32(startup).await.ok()?;
    let mut body = vec![0; startup as usize - 4];
    from.read_exact(&mut body).await.ok()?;
    to.write_all(&body).await.ok()?;
    let mut reads_log = false;
    loop {
        let kind = from.read_u8().await.ok()?;
        let length = from.read_u32().await.ok()?;
        let mut body = vec![0; length as usize - 4];
        from.read_exact(&mut body).await.ok()?;
        let text = String::from_utf8_lossy(&body);
        reads_log |= kind == b'P' && text.contains("database_time_ms");
        if kind == b'S' && !reads_log {
            count.fetch_add(1, Ordering::Relaxed);
        }
        to.write_u8(kind).await.ok()?;
        to.write_u32(length).await.ok()?;
        to.write_all(&body).await.ok()?;
        to.flush().await.ok()?;
    }
}
