//! A message that arrives in parts, copied into blocks of one size. A part of a frame would keep the memory of the
//! whole frame, and one growing block would leave as much freed memory behind it.

use std::collections::VecDeque;

use hyper::body::{Buf, Bytes};

use crate::rpc::wire::unary::PREFIX_BYTES;

/// The size of a block. Bytes.
pub(in crate::rpc) const BLOCK_BYTES: usize = 16 * 1024;
/// The size of the first block: most messages that arrive in parts are short, or never arrive.
const FIRST_BLOCK_BYTES: usize = 1_024;

/// The part of a message that has arrived.
#[derive(Default)]
pub(in crate::rpc) struct Part {
    blocks: Vec<Vec<u8>>,
    pub(in crate::rpc) len: usize,
    room: usize,
}

impl Part {
    pub(in crate::rpc) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes of memory that it takes.
    pub(in crate::rpc) fn room(&self) -> usize {
        self.room
    }

    /// Its first bytes, as many as a prefix has.
    pub(in crate::rpc) fn prefix(&self) -> Vec<u8> {
        self.blocks.iter().flatten().take(PREFIX_BYTES).copied().collect()
    }

    /// The size of the block that the next byte needs, for a message of `needed` bytes; 0 if there is room.
    pub(in crate::rpc) fn next_block(&self, needed: usize) -> usize {
        if self.room > self.len {
            return 0;
        }
        let most = if self.blocks.is_empty() { FIRST_BLOCK_BYTES } else { BLOCK_BYTES };
        needed.saturating_sub(self.len).clamp(PREFIX_BYTES, most)
    }

    /// Takes as many bytes as fit, with a further block of that size. Returns the rest.
    pub(in crate::rpc) fn fill<'a>(&mut self, more: &'a [u8], room: usize) -> &'a [u8] {
        if room > 0 {
            self.blocks.push(Vec::with_capacity(room));
            self.room = self.room.saturating_add(room);
        }
        let fits = self.room.saturating_sub(self.len).min(more.len());
        let (now, later) = more.split_at_checked(fits).unwrap_or((more, &[]));
        if let Some(block) = self.blocks.last_mut() {
            block.extend_from_slice(now);
            self.len = self.len.saturating_add(now.len());
        }
        later
    }
}

/// Bytes that are not contiguous.
#[derive(Clone, Default)]
pub(in crate::rpc) struct Blocks {
    blocks: VecDeque<Bytes>,
    remaining: usize,
}

impl Blocks {
    pub(in crate::rpc) fn one(block: Bytes) -> Self {
        Self { remaining: block.len(), blocks: VecDeque::from([block]) }
    }

    /// Its first bytes, as many as a prefix has.
    pub(in crate::rpc) fn prefix(&self) -> Vec<u8> {
        self.blocks.iter().flatten().take(PREFIX_BYTES).copied().collect()
    }

    /// All bytes, contiguous.
    pub(in crate::rpc) fn in_one(mut self) -> Bytes {
        self.copy_to_bytes(self.remaining)
    }
}

impl From<Part> for Blocks {
    fn from(part: Part) -> Self {
        Self { remaining: part.len, blocks: part.blocks.into_iter().map(Bytes::from).collect() }
    }
}

impl Buf for Blocks {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        self.blocks.front().map(Bytes::as_ref).unwrap_or_default()
    }

    /// Advances no further than to the end. A block is freed as soon as it is used up.
    fn advance(&mut self, count: usize) {
        let mut left = count.min(self.remaining);
        self.remaining = self.remaining.saturating_sub(left);
        while let Some(front) = self.blocks.front_mut() {
            if front.len() > left {
                front.advance(left);
                return;
            }
            left = left.saturating_sub(front.len());
            self.blocks.pop_front();
        }
    }

    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        let len = len.min(self.remaining);
        if let Some(front) = self.blocks.front().filter(|front| front.len() >= len) {
            let taken = front.slice(..len);
            self.advance(len);
            return taken;
        }
        let mut copied = Vec::with_capacity(len);
        while copied.len() < len {
            let chunk = self.chunk();
            let part = chunk.get(..len.saturating_sub(copied.len())).unwrap_or(chunk);
            let count = part.len();
            copied.extend_from_slice(part);
            self.advance(count);
        }
        copied.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(bytes: &[u8], needed: usize) -> Part {
        let mut part = Part::default();
        for piece in bytes.chunks(700) {
            let mut rest = piece;
            while !rest.is_empty() {
                let room = part.next_block(needed);
                rest = part.fill(rest, room);
            }
        }
        part
    }

    #[test]
    fn e15_a_part_takes_little_more_room_than_has_come() {
        let bytes: Vec<u8> = (0..40_000_u32).map(|at| at.to_le_bytes()[0]).collect();
        let whole = part(&bytes, bytes.len());
        assert_eq!((whole.len, whole.room()), (40_000, 40_000));
        assert_eq!(Blocks::from(whole).in_one(), bytes);
        for (come, room) in [(1, 1_024), (1_024, 1_024), (1_025, 17_408), (17_409, 33_792)] {
            let begun = bytes.get(..come).unwrap_or_default();
            assert_eq!(part(begun, bytes.len()).room(), room, "{come}");
        }
    }

    #[test]
    fn e15_blocks_read_as_one() {
        let bytes: Vec<u8> = (0..50_000_u32).map(|at| at.to_le_bytes()[0]).collect();
        let mut blocks = Blocks::from(part(&bytes, bytes.len()));
        let mut read = Vec::new();
        for length in (7..2_200).step_by(7) {
            read.extend_from_slice(&blocks.copy_to_bytes(length));
        }
        assert!(!blocks.has_remaining());
        assert_eq!(read, bytes);
        let mut blocks = Blocks::from(part(&bytes, bytes.len()));
        blocks.advance(20_000);
        assert_eq!((blocks.remaining(), blocks.get_u8()), (30_000, bytes.get(20_000).copied().unwrap_or(1)));
        blocks.advance(usize::MAX);
        assert_eq!((blocks.remaining(), blocks.chunk().len()), (0, 0));
    }
}
