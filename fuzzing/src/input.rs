//! Random input, and mutations of examples.

use fastrand::Rng;

/// A source of random bytes and text that follows from a seed.
#[derive(Debug)]
pub struct Input(Rng);

impl Input {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Rng::with_seed(seed))
    }

    pub(crate) fn number(&mut self, below: usize) -> usize {
        self.0.usize(..below.max(1))
    }

    pub(crate) fn one_of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.number(all.len())]
    }

    pub(crate) fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.number(most + 1);
        (0..length).map(|_| self.0.u8(..)).collect()
    }

    /// One of the examples with a few changes, or random bytes.
    pub(crate) fn mutated(&mut self, examples: &[&[u8]]) -> Vec<u8> {
        if self.number(8) == 0 {
            return self.bytes(200);
        }
        let mut bytes = self.one_of(examples).to_vec();
        for _ in 0..self.number(6) {
            let at = self.number(bytes.len() + 1);
            match self.number(6) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.number(8),
                1 if at < bytes.len() => drop(bytes.remove(at)),
                2 => bytes.insert(at, self.0.u8(..)),
                3 => bytes.truncate(at),
                4 => {
                    let piece = self.one_of(examples);
                    let from = self.number(piece.len() + 1);
                    let to = from + self.number(piece.len() + 1 - from);
                    bytes.splice(at..at, piece[from..to].iter().copied());
                }
                _ => {
                    let special: [&[u8]; 8] = [
                        b"\0",
                        b"\"",
                        b"}",
                        b"18446744073709551616",
                        b"\xff",
                        b";",
                        b"%00",
                        b"[[[[",
                    ];
                    bytes.splice(at..at, self.one_of(&special).iter().copied());
                }
            }
        }
        bytes
    }

    pub(crate) fn text(&mut self, examples: &[&str]) -> String {
        let examples: Vec<&[u8]> = examples.iter().map(|example| example.as_bytes()).collect();
        String::from_utf8_lossy(&self.mutated(&examples)).into_owned()
    }
}
