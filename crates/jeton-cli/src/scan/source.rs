//! Files as the bytes that are searched: unpacked, and in UTF-8.

use std::{
    fs::File,
    io::{self, BufReader, Cursor, Read},
    os::unix::fs::FileTypeExt as _,
};

use flate2::read::MultiGzDecoder;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const UTF_16_LITTLE: [u8; 2] = [0xff, 0xfe];
const UTF_16_BIG: [u8; 2] = [0xfe, 0xff];
const BUFFER_BYTES: usize = 64 * 1024;

/// Returns whether a file is a device that never ends, such as `/dev/zero`.
pub fn is_endless(file: &File) -> bool {
    use std::io::IsTerminal as _;
    file.metadata().is_ok_and(|facts| facts.file_type().is_char_device()) && !file.is_terminal()
}

/// What a source holds: unpacked if it is packed by gzip, and its ASCII characters as one byte each if it is UTF-16.
pub fn plain(source: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let (first, source) = peek(source)?;
    if first != GZIP {
        return Ok(decoded(first, source));
    }
    let unpacked = MultiGzDecoder::new(BufReader::with_capacity(BUFFER_BYTES, source));
    let (first, unpacked) = peek(unpacked)?;
    Ok(decoded(first, unpacked))
}

fn decoded(first: [u8; 2], source: impl Read + Send + 'static) -> Box<dyn Read + Send> {
    match first {
        UTF_16_LITTLE => Box::new(Utf16 { source: buffered(source), is_big: false }),
        UTF_16_BIG => Box::new(Utf16 { source: buffered(source), is_big: true }),
        _ => Box::new(source),
    }
}

fn buffered<R: Read>(source: R) -> BufReader<R> {
    BufReader::with_capacity(BUFFER_BYTES, source)
}

/// The first two bytes, which are read again behind it. Zeros if there are none.
fn peek<R: Read>(mut source: R) -> io::Result<([u8; 2], impl Read)> {
    let mut start = Vec::with_capacity(2);
    source.by_ref().take(2).read_to_end(&mut start)?;
    let first = match start.as_slice() {
        [a, b] => [*a, *b],
        _ => [0, 0],
    };
    Ok((first, Cursor::new(start).chain(source)))
}

/// UTF-16 as bytes: of other characters than ASCII no more is known than that they are none.
struct Utf16<R> {
    source: BufReader<R>,
    is_big: bool,
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut written = 0_usize;
        for to in out.iter_mut().take(BUFFER_BYTES) {
            let mut pair = [0; 2];
            match self.source.read_exact(&mut pair) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
            let unit = if self.is_big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) };
            *to = u8::try_from(unit).ok().filter(u8::is_ascii).unwrap_or(0xff);
            written = written.saturating_add(1);
        }
        Ok(written)
    }
}
