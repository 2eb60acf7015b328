//! The messages that are sent, from a file: one gRPC frame after the other, which is also how they are sent.

use std::{cell::Cell, fs, path::Path};

/// A compressed flag, and a length.
const PREFIX: usize = 5;

pub struct Bodies {
    bytes: Vec<u8>,
    /// The beginning of each body, and the end of the last.
    starts: Vec<usize>,
    /// The place where the next run continues: rounds see all of a set that is larger than a round.
    turn: Cell<usize>,
    /// Coprime to their number: in this order none is where the one before it was put.
    stride: usize,
}

impl Bodies {
    pub fn read(file: &Path) -> Self {
        let bytes = fs::read(file).unwrap();
        let mut starts = vec![0];
        while let Some(end) = end(&bytes, *starts.last().unwrap()) {
            starts.push(end);
        }
        let count = starts.len() - 1;
        assert!(count > 0 && starts[count] == bytes.len(), "whole messages");
        // About the golden section, where neighbours are far apart.
        let near = (count as f64 * 0.618) as usize;
        let stride = (near..=near + count).find(|stride| gcd((*stride).max(1), count) == 1).unwrap().max(1);
        Self { bytes, starts, turn: Cell::new(0), stride }
    }

    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    pub fn get(&self, index: usize) -> &[u8] {
        &self.bytes[self.starts[index]..self.starts[index + 1]]
    }

    /// The next to be sent, for ever.
    pub fn next(&self) -> usize {
        let turn = self.turn.get();
        self.turn.set((turn + self.stride) % self.len());
        turn
    }
}

/// The end of the message at `start`; `None` if there is none.
pub fn end(bytes: &[u8], start: usize) -> Option<usize> {
    let prefix = bytes.get(start..start + PREFIX)?;
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    (start + PREFIX + length <= bytes.len()).then_some(start + PREFIX + length)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
