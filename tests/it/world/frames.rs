//! HTTP/2 as frames (RFC 9113): what no library would send.

use jeton_testkit::http2;
pub use jeton_testkit::http2::{
    ACK, CANCEL, COMPRESSION_ERROR, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY,
    HEADERS, INITIAL_WINDOW_SIZE, PING, PREFACE, PRIORITY, REFUSED_STREAM, RST_STREAM, SETTINGS,
    WINDOW_UPDATE,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Wire, open};

/// A received frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The error code of an `RST_STREAM` or a GOAWAY.
    pub fn error(&self) -> Option<u32> {
        let at = match self.kind {
            RST_STREAM => 0,
            GOAWAY => 4,
            _ => return None,
        };
        Some(u32::from_be_bytes(self.payload.get(at..at + 4)?.try_into().ok()?))
    }
}

/// A connection on which HTTP/2 has begun.
pub struct Frames(Box<dyn Wire>);

impl Frames {
    /// In plaintext, from an address of its own.
    pub async fn open(address: &str) -> Self {
        Self::over(open(address).await).await
    }

    pub async fn over(wire: impl Wire + 'static) -> Self {
        Self::with_settings(wire, &[]).await
    }

    /// With these settings: each a number and a value.
    pub async fn with_settings(wire: impl Wire + 'static, settings: &[(u16, u32)]) -> Self {
        let said = |(number, value): &(u16, u32)| [&number.to_be_bytes()[..], &value.to_be_bytes()].concat();
        let said: Vec<u8> = settings.iter().flat_map(said).collect();
        let mut frames = Self(Box::new(wire));
        frames.write(&[PREFACE, &frame(SETTINGS, 0, 0, &said)].concat()).await;
        frames
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        // A peer that has told us to go reads no more: its frames can still be read.
        let _gone = self.0.write_all(bytes).await;
        let _gone = self.0.flush().await;
    }

    /// The next frame; none at the end. Answers what must be answered.
    pub async fn next(&mut self) -> Option<Frame> {
        let mut bytes = vec![0; http2::HEAD_BYTES];
        self.0.read_exact(&mut bytes).await.ok()?;
        bytes.resize(http2::HEAD_BYTES + http2::payload_bytes(&bytes)?, 0);
        self.0.read_exact(&mut bytes[http2::HEAD_BYTES..]).await.ok()?;
        let (read, _) = http2::first(&bytes)?;
        let came =
            Frame { kind: read.kind, flags: read.flags, stream: read.stream, payload: read.payload.to_vec() };
        match came.kind {
            SETTINGS if came.flags & ACK == 0 => self.write(&frame(SETTINGS, ACK, 0, &[])).await,
            PING if came.flags & ACK == 0 => self.write(&frame(PING, ACK, 0, &came.payload)).await,
            _ => {}
        }
        Some(came)
    }

    /// All frames until the server has answered a ping of ours, or the end.
    pub async fn until_pong(&mut self) -> Vec<Frame> {
        self.write(&frame(PING, 0, 0, b"are you?")).await;
        let mut came = Vec::new();
        while let Some(next) = self.next().await {
            let last = next.kind == PING && next.flags & ACK != 0;
            came.push(next);
            if last {
                break;
            }
        }
        came
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    http2::push(&mut bytes, kind, flags, stream, payload);
    bytes
}

/// The head of a gRPC request to this method.
pub fn headers(stream: u32, path: &str, more: &[(&str, &str)], flags: u8) -> Vec<u8> {
    let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
    head(stream, "POST", path, &[&grpc[..], more].concat(), flags)
}

/// The head of a request.
pub fn head(stream: u32, method: &str, path: &str, more: &[(&str, &str)], flags: u8) -> Vec<u8> {
    let usual = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "jeton.test")];
    let mut block = Vec::new();
    for (name, value) in usual.iter().chain(more) {
        // A literal that is not indexed, with its name (RFC 7541 section 6.2.2).
        block.push(0);
        for text in [name, value] {
            http2::push_text(&mut block, text);
        }
    }
    frame(HEADERS, flags | END_HEADERS, stream, &block)
}

pub fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}
