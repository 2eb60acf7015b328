//! One HTTP/2 connection of the load: calls go out, answers come in. Knows gRPC as far as a status, and nothing of
//! when to call.

use std::{
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use hashbrown::HashMap;
use jeton_testkit::http2::{self as frame, Frame, Head};
use loona_hpack::Decoder;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpSocket, TcpStream},
};

/// The bytes that may arrive without a window update: so that none delays an answer.
const WINDOW: u32 = (1 << 31) - 1;
/// Bytes that arrive until the server is told that they were read.
const WINDOW_STEP: u32 = 1 << 24;
/// The default window (RFC 9113 section 6.9.2).
const WINDOW_DEFAULT: u32 = 65_535;
const INPUT_BYTES: usize = 256 * 1024;
/// A stream that was reset is counted under this plus the code of HTTP/2.
pub const RESET: i32 = 100;
/// UNKNOWN: an answer without a status.
const NO_STATUS: i32 = 2;

/// A call that was answered.
pub struct Answer {
    /// As given with the call.
    pub index: usize,
    pub sent: Instant,
    /// gRPC's, or [`RESET`] and more.
    pub code: i32,
    /// Its message, where bodies are kept.
    pub body: Vec<u8>,
    /// Messages, where it is a stream.
    pub body_bytes: usize,
}

struct Stream {
    index: usize,
    sent: Instant,
    code: Option<i32>,
    body: Vec<u8>,
    body_bytes: usize,
    window: i64,
    unread: u32,
}

/// The connection.
pub struct Connection {
    socket: TcpStream,
    head: Head,
    begun: bool,
    decoder: Decoder<'static>,
    out: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    filled: usize,
    next_stream: u32,
    streams: HashMap<u32, Stream>,
    window: i64,
    window_of_streams: i64,
    frame_bytes_max: usize,
    streams_max: usize,
    unread: u32,
    keeps: bool,
}

impl Connection {
    /// Opens one, from an address of ours where ports are short.
    pub async fn open(
        address: SocketAddr,
        from: Option<IpAddr>,
        head: Head,
        keeps: bool,
    ) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if let Some(from) = from {
            socket.bind((from, 0).into())?;
        }
        let socket = socket.connect(address).await?;
        socket.set_nodelay(true)?;
        let mut out = frame::PREFACE.to_vec();
        frame::push_setting(&mut out, frame::INITIAL_WINDOW_SIZE, WINDOW);
        let more = (WINDOW - WINDOW_DEFAULT).to_be_bytes();
        frame::push(&mut out, frame::WINDOW_UPDATE, 0, 0, &more);
        let mut connection = Self {
            socket,
            head,
            begun: false,
            decoder: Decoder::new(),
            out,
            written: 0,
            input: Vec::new(),
            filled: 0,
            next_stream: 1,
            streams: HashMap::default(),
            window: WINDOW_DEFAULT.into(),
            window_of_streams: WINDOW_DEFAULT.into(),
            frame_bytes_max: 16_384,
            // Until it says.
            streams_max: 0,
            unread: 0,
            keeps,
        };
        while connection.streams_max == 0 {
            connection.exchange().await?;
            connection.receive(|_| {})?;
        }
        Ok(connection)
    }

    pub fn in_flight(&self) -> usize {
        self.streams.len()
    }

    /// Returns whether a call with such a body can be made now.
    pub fn has_room(&self, body: &[u8]) -> bool {
        self.streams.len() < self.streams_max && self.window >= body.len() as i64
    }

    /// Makes a call; it is written at the next [`Self::exchange`].
    pub fn call(&mut self, body: &[u8], index: usize, sent: Instant) {
        let stream = self.begin(index, sent);
        self.data(stream, body, true);
    }

    /// Begins a call without a message.
    pub fn begin(&mut self, index: usize, sent: Instant) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 2;
        let block = if self.begun { &self.head.rest } else { &self.head.first };
        self.begun = true;
        frame::push(&mut self.out, frame::HEADERS, frame::END_HEADERS, stream, block);
        let window = self.window_of_streams;
        let body = Vec::new();
        self.streams
            .insert(stream, Stream { index, sent, code: None, body, body_bytes: 0, window, unread: 0 });
        stream
    }

    /// Returns whether a message can be sent on a stream now.
    pub fn has_room_on(&self, stream: u32, message: &[u8]) -> bool {
        let bytes = message.len() as i64;
        self.window >= bytes && self.streams.get(&stream).is_some_and(|stream| stream.window >= bytes)
    }

    /// Sends a message, or the end alone.
    pub fn data(&mut self, stream: u32, message: &[u8], end: bool) {
        self.window -= message.len() as i64;
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.window -= message.len() as i64;
        }
        let mut rest = message;
        loop {
            let (now, later) = rest.split_at(rest.len().min(self.frame_bytes_max));
            rest = later;
            let flags = if end && rest.is_empty() { frame::END_STREAM } else { 0 };
            frame::push(&mut self.out, frame::DATA, flags, stream, now);
            if rest.is_empty() {
                return;
            }
        }
    }

    /// The part of a stream's answer that has arrived since the last time.
    pub fn take_body(&mut self, stream: u32) -> Vec<u8> {
        self.streams.get_mut(&stream).map(|stream| std::mem::take(&mut stream.body)).unwrap_or_default()
    }

    /// Writes pending data until something has arrived.
    pub async fn exchange(&mut self) -> io::Result<()> {
        poll_fn(|context| self.poll_exchange(context)).await
    }

    /// Writes what can be written now.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        while self.written < self.out.len() {
            match Pin::new(&mut self.socket).poll_write(context, &self.out[self.written..]) {
                Poll::Ready(written) => self.written += written?,
                Poll::Pending => return Ok(()),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    pub fn poll_exchange(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)?;
        if self.input.len() < self.filled + INPUT_BYTES / 2 {
            // Small at first: there may be ten thousand of them.
            let bytes = if self.input.is_empty() { 16 * 1024 } else { self.filled + INPUT_BYTES };
            self.input.resize(bytes, 0);
        }
        let mut buffer = ReadBuf::new(&mut self.input[self.filled..]);
        ready!(Pin::new(&mut self.socket).poll_read(context, &mut buffer))?;
        let read = buffer.filled().len();
        if read == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.filled += read;
        Poll::Ready(Ok(()))
    }

    /// Reads arrived data, and passes on each complete answer.
    pub fn receive(&mut self, mut each: impl FnMut(Answer)) -> io::Result<()> {
        let mut input = std::mem::take(&mut self.input);
        let mut read = 0;
        while let Some((frame, bytes)) = frame::first(&input[read..self.filled]) {
            self.take(&frame, &mut each)?;
            read += bytes;
        }
        input.copy_within(read..self.filled, 0);
        self.filled -= read;
        self.input = input;
        Ok(())
    }

    fn take(&mut self, frame: &Frame<'_>, each: &mut impl FnMut(Answer)) -> io::Result<()> {
        match frame.kind {
            frame::DATA => {
                assert_eq!(frame.flags & frame::UNREAD, 0, "a frame as we read it");
                self.data_arrived(frame);
            }
            frame::HEADERS => {
                let whole = frame.flags & (frame::UNREAD | frame::END_HEADERS) == frame::END_HEADERS;
                assert!(whole, "headers in one frame");
                let code = status(&mut self.decoder, frame.payload);
                if let Some(stream) = self.streams.get_mut(&frame.stream) {
                    stream.code = code.or(stream.code);
                }
            }
            frame::RST_STREAM => {
                if let Some(stream) = self.streams.get_mut(&frame.stream) {
                    // A server that has answered may not want to read the rest: the answer counts.
                    stream.code.get_or_insert(RESET + frame::number(frame.payload) as i32);
                    self.end(frame.stream, each);
                }
                return Ok(());
            }
            frame::SETTINGS if frame.flags & frame::ACK == 0 => self.set(frame.payload),
            frame::PING if frame.flags & frame::ACK == 0 => {
                frame::push(&mut self.out, frame::PING, frame::ACK, 0, frame.payload);
            }
            frame::GOAWAY => return Err(io::ErrorKind::ConnectionAborted.into()),
            frame::WINDOW_UPDATE => {
                let more = i64::from(frame::number(frame.payload));
                if frame.stream == 0 {
                    self.window += more;
                } else if let Some(stream) = self.streams.get_mut(&frame.stream) {
                    stream.window += more;
                }
            }
            _ => {}
        }
        let ends = matches!(frame.kind, frame::DATA | frame::HEADERS) && frame.flags & frame::END_STREAM != 0;
        if ends {
            self.end(frame.stream, each);
        }
        Ok(())
    }

    fn data_arrived(&mut self, frame: &Frame<'_>) {
        let bytes = frame.payload.len() as u32;
        self.unread += bytes;
        if self.unread >= WINDOW_STEP {
            frame::push(&mut self.out, frame::WINDOW_UPDATE, 0, 0, &self.unread.to_be_bytes());
            self.unread = 0;
        }
        let Some(stream) = self.streams.get_mut(&frame.stream) else { return };
        stream.body_bytes += frame.payload.len();
        if self.keeps {
            stream.body.extend_from_slice(frame.payload);
        }
        stream.unread += bytes;
        if stream.unread >= WINDOW_STEP {
            let more = stream.unread.to_be_bytes();
            frame::push(&mut self.out, frame::WINDOW_UPDATE, 0, frame.stream, &more);
            stream.unread = 0;
        }
    }

    fn set(&mut self, payload: &[u8]) {
        self.streams_max = usize::MAX;
        for (name, value) in frame::settings(payload) {
            match name {
                frame::MAX_CONCURRENT_STREAMS => self.streams_max = value as usize,
                frame::INITIAL_WINDOW_SIZE => self.window_of_streams = value.into(),
                frame::MAX_FRAME_SIZE => self.frame_bytes_max = value as usize,
                _ => {}
            }
        }
        frame::push(&mut self.out, frame::SETTINGS, frame::ACK, 0, &[]);
    }

    fn end(&mut self, stream: u32, each: &mut impl FnMut(Answer)) {
        if let Some(Stream { index, sent, code, body, body_bytes, .. }) = self.streams.remove(&stream) {
            each(Answer { index, sent, code: code.unwrap_or(NO_STATUS), body, body_bytes });
        }
    }
}

/// gRPC's status in a block of headers, which must be read in any case: blocks build on each other.
fn status(decoder: &mut Decoder<'static>, block: &[u8]) -> Option<i32> {
    let mut status = None;
    let read = decoder.decode_with_cb(block, |name, value| {
        if name.as_ref() == b"grpc-status" {
            status = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
        }
    });
    read.expect("a block of headers");
    status
}
