//! HTTP/1.1 as bytes: requests that a library would never send, and every header of the answer.

use std::{
    io,
    net::Ipv4Addr,
    sync::atomic::{AtomicU32, Ordering},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpSocket,
};

/// An answer.
#[derive(Clone, Debug)]
pub struct HttpAnswer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl HttpAnswer {
    /// The value of a header that is there once at most.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers(name);
        assert!(found.len() < 2, "{name} is there twice: {found:?}");
        found.first().copied()
    }

    pub fn headers(&self, name: &str) -> Vec<&str> {
        let it = |(given, _): &&(String, String)| given.eq_ignore_ascii_case(name);
        self.headers.iter().filter(it).map(|(_, value)| value.as_str()).collect()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The `error` of a refusal in the words of OAuth.
    pub fn error(&self) -> String {
        let json = self.json();
        assert!(json["error_description"].as_str().is_some_and(str::is_ascii), "{self:?}");
        json["error"].as_str().unwrap().to_owned()
    }
}

/// Bytes to and fro: TCP, or TLS on it.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// A connection to a listener.
pub struct Http(Box<dyn Wire>);

impl Http {
    /// From an address of its own: what fails too often from one is told so (C5).
    pub async fn open(address: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let from = Ipv4Addr::new(127, 3, 0, 1).to_bits() + NEXT.fetch_add(1, Ordering::Relaxed);
        Self::open_from(Ipv4Addr::from_bits(from), address).await
    }

    pub async fn open_from(from: Ipv4Addr, address: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        Self::over(socket.connect(address.parse().unwrap()).await.unwrap())
    }

    /// Over an open connection.
    pub fn over(wire: impl Wire + 'static) -> Self {
        Self(Box::new(wire))
    }

    pub async fn write(&mut self, bytes: &str) {
        self.try_write(bytes).await.unwrap();
    }

    pub async fn try_write(&mut self, bytes: &str) -> io::Result<()> {
        self.0.write_all(bytes.as_bytes()).await?;
        self.0.flush().await
    }

    /// The next answer; without a body if it answers a HEAD.
    pub async fn read(&mut self, to_head: bool) -> HttpAnswer {
        self.try_read(to_head).await.unwrap()
    }

    /// The same; an error where the connection ends first.
    pub async fn try_read(&mut self, to_head: bool) -> io::Result<HttpAnswer> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status: u16 = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut answer = HttpAnswer { status, headers, body: String::new() };
        if !to_head && ![100, 204, 304].contains(&status) {
            let length = answer.header("content-length").expect("no length").parse().unwrap();
            let mut body = vec![0; length];
            self.0.read_exact(&mut body).await?;
            answer.body = String::from_utf8(body).unwrap();
        }
        Ok(answer)
    }

    /// Everything until the other end closes; a reset is an end, too.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _end = self.0.read_to_end(&mut rest).await;
        rest
    }

    /// Returns whether the peer sends nothing more, and closes.
    pub async fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        // A reset is an end, too.
        self.0.read_to_end(&mut rest).await.is_err() || rest.is_empty()
    }
}

/// The text of a request; its length is said unless a header does.
pub fn http_request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let length = body.len().to_string();
    let own = [("host", "jeton.test"), ("content-length", length.as_str())];
    let given = |name: &str| headers.iter().any(|(other, _)| *other == name);
    let needed = |(name, _): &&(&str, &str)| !given(name) && (*name != "content-length" || !body.is_empty());
    let lines = own.iter().filter(needed).chain(headers).map(|(name, value)| format!("{name}: {value}\r\n"));
    format!("{method} {path} HTTP/1.1\r\n{}\r\n{body}", lines.collect::<String>())
}

/// One request on a connection of its own.
pub async fn http(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> HttpAnswer {
    let mut connection = Http::open(address).await;
    connection.write(&http_request(method, path, headers, body)).await;
    connection.read(method == "HEAD").await
}

/// Sends a form to an endpoint.
pub async fn post_form(address: &str, path: &str, authorization: &str, form: &str) -> HttpAnswer {
    let headers = [("authorization", authorization), ("content-type", "application/x-www-form-urlencoded")];
    http(address, "POST", path, &headers, form).await
}

/// HTTP Basic.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}
