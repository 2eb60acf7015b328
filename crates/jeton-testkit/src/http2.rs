//! Frames of HTTP/2 (RFC 9113 section 4), and the head of a gRPC call in HPACK (RFC 7541). Written out by hand: a
//! library's client costs as much as the server that a bench measures, and sends nothing that a test of faults wants.

/// The beginning of a connection.
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

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
/// PADDED and PRIORITY: no server that we measure sends them.
pub const UNREAD: u8 = 0x28;

/// Error codes.
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const COMPRESSION_ERROR: u32 = 9;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// Settings.
pub const MAX_CONCURRENT_STREAMS: u16 = 3;
/// The bytes of an answer that the peer may send before it is given more room.
pub const INITIAL_WINDOW_SIZE: u16 = 4;
pub const MAX_FRAME_SIZE: u16 = 5;

/// The bytes of a frame before its payload.
pub const HEAD_BYTES: usize = 9;

/// One frame, as it arrived.
pub struct Frame<'a> {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: &'a [u8],
}

/// The length of the payload of the frame that begins with these bytes.
pub fn payload_bytes(bytes: &[u8]) -> Option<usize> {
    let [a, b, c] = *bytes.first_chunk()?;
    Some(u32::from_be_bytes([0, a, b, c]) as usize)
}

/// The first frame of these bytes, and how many it takes; none: not all of it is there.
pub fn first(bytes: &[u8]) -> Option<(Frame<'_>, usize)> {
    let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
    let length = payload_bytes(bytes)?;
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
    let payload = rest.get(..length)?;
    Some((Frame { kind: head[3], flags: head[4], stream, payload }, HEAD_BYTES + length))
}

/// Appends a frame.
pub fn push(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Appends one setting of ours, in a frame of its own.
pub fn push_setting(out: &mut Vec<u8>, name: u16, value: u32) {
    let payload = [&name.to_be_bytes()[..], &value.to_be_bytes()].concat();
    push(out, SETTINGS, 0, 0, &payload);
}

/// The settings in a frame.
pub fn settings(payload: &[u8]) -> impl Iterator<Item = (u16, u32)> {
    payload.chunks_exact(6).map(|setting| {
        let name = u16::from_be_bytes([setting[0], setting[1]]);
        (name, u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]))
    })
}

pub fn number(payload: &[u8]) -> u32 {
    payload.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// The head of every call of one method. The first on a connection teaches the server's table its fields, as clients
/// do; those after it name them.
#[derive(Clone)]
pub struct Head {
    pub first: Vec<u8>,
    pub rest: Vec<u8>,
}

impl Head {
    pub fn new(path: &str, authority: &str, authorization: &str, timeout_s: Option<u64>) -> Self {
        // By their number in the static table (RFC 7541 appendix A), 0: not in it.
        const POST: u8 = 0x80 | 3;
        const HTTP: u8 = 0x80 | 6;
        const FIRST_DYNAMIC: usize = 62;
        let mut fields = vec![(4, "", path), (1, "", authority)];
        fields.extend([(0, "te", "trailers"), (31, "", "application/grpc"), (58, "", "jeton-bench")]);
        fields.push((23, "", authorization));
        let timeout = timeout_s.map(|seconds| format!("{seconds}S"));
        fields.extend(timeout.as_deref().map(|timeout| (0, "grpc-timeout", timeout)));
        let (mut first, mut rest) = (vec![POST, HTTP], vec![POST, HTTP]);
        for (index, (name_index, name, value)) in fields.iter().enumerate() {
            first.push(0x40 | name_index);
            if *name_index == 0 {
                push_text(&mut first, name);
            }
            push_text(&mut first, value);
            // The latest that was learnt comes first.
            rest.push(0x80 | u8::try_from(FIRST_DYNAMIC + fields.len() - 1 - index).unwrap());
        }
        Self { first, rest }
    }
}

/// Appends a text of HPACK, without a Huffman code; its length fits the prefix of seven bits (RFC 7541 section 5.2).
pub fn push_text(out: &mut Vec<u8>, text: &str) {
    let length = u8::try_from(text.len()).ok().filter(|length| *length < 127);
    out.push(length.expect("a field of fewer than 127 bytes"));
    out.extend_from_slice(text.as_bytes());
}
