//! HTTP/2 as frames (RFC 9113): what no library would send.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Wire, open};

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
pub const ACK: u8 = 1;

/// Error codes.
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const COMPRESSION_ERROR: u32 = 9;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// In SETTINGS: the bytes of an answer that the peer may send before it is given more room.
pub const INITIAL_WINDOW_SIZE: u16 = 4;

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
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        let came = Frame { kind: head[3], flags: head[4], stream, payload };
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
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
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
            // Below the prefix of seven bits: no integer of more than a byte, no Huffman code.
            block.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    frame(HEADERS, flags | END_HEADERS, stream, &block)
}

pub fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}
