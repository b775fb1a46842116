//! The index of a document: how long each key and value is, so that a load need not look for them.
//!
//! Five characters stand for one value: 7 bits for the length of the key, 18 for that of the value, 5
//! bits a character from `0` to `O`. A document with longer ones, with keys that hold escapes or with
//! more than [`MAX_ENTRIES`] has no index and is scanned.

use bytes::Bytes;

use super::scan::Span;
use super::{Data, Document};

/// Up to here a search from the front is as good as any.
pub(super) const MAX_ENTRIES: usize = 64;
const CODE: usize = 5;
const MAX_KEY: usize = (1 << 7) - 1;
const MAX_VALUE: usize = (1 << 18) - 1;

const HEAD: &[u8] = b"{\"v\":1,\"created\":";
pub(super) const LIFETIME: &[u8] = b",\"lifetime\":";
pub(super) const DATA: &[u8] = b",\"data\":{";
pub(super) const FLASH: &[u8] = b",\"flash\":";
const INDEX: &[u8] = b",\"index\":\"";
const TAIL: &[u8] = b"\"}";

/// An index that fits its document.
#[derive(Clone, Copy)]
pub(super) struct Packed {
    /// Where the first key's quote stands.
    first: usize,
    codes: Span,
}

/// The lengths of keys and values while a document is written.
#[derive(Default)]
pub(super) struct Codes {
    codes: Vec<u8>,
    unfit: bool,
}

/// Reads a document by its index; `None` when it has none, or one that does not fit.
pub(super) fn read(raw: &Bytes) -> Option<Document> {
    let rest = raw.strip_prefix(HEAD)?;
    let (created, rest) = number(rest)?;
    let (lifetime, rest) = match rest.strip_prefix(LIFETIME) {
        Some(rest) => number(rest).map(|(lifetime, rest)| (Some(lifetime), rest))?,
        None => (None, rest),
    };
    let rest = rest.strip_prefix(DATA)?;
    let first = raw.len() - rest.len();

    let end = raw.len().checked_sub(TAIL.len())?;
    let before = raw.strip_suffix(TAIL)?;
    // Codes hold no quote, so the last one opens them. They are few: look from the back.
    let start = before.iter().rposition(|byte| *byte == b'"')? + 1;
    let codes = Span::new(start, end);
    let closed = start.checked_sub(INDEX.len())?;
    if before.get(closed..start)? != INDEX {
        return None;
    }

    let packed = Packed { first, codes };
    let data_end = packed.check(raw)?;
    let flash = match raw.get(data_end + 1..closed)? {
        [] => Vec::new(),
        flash => serde_json::from_slice(flash.strip_prefix(FLASH)?).ok()?,
    };
    Some(Document { raw: raw.clone(), created, lifetime, data: Data::Packed(packed), flash })
}

impl Packed {
    pub(super) fn len(&self) -> usize {
        self.codes.range().len() / CODE
    }

    /// Keys (without quotes) and values.
    pub(super) fn entries<'a>(
        &self,
        raw: &'a [u8],
    ) -> impl Iterator<Item = (Span, Span)> + use<'a> {
        let mut at = self.first;
        let codes = self.codes.of(raw).chunks_exact(CODE);
        codes.map(move |code| {
            let (key, value) = decode(code);
            let key_end = at + 1 + key;
            let value_end = key_end + 2 + value;
            let entry = (Span::new(at + 1, key_end), Span::new(key_end + 2, value_end));
            at = value_end + 1;
            entry
        })
    }

    /// Whether every key stands in quotes before a colon and every value before a comma or the end;
    /// where the closing brace stands.
    fn check(&self, raw: &[u8]) -> Option<usize> {
        let codes = self.codes.of(raw);
        let valid = |code: &u8| code.wrapping_sub(b'0') < 32;
        if !codes.len().is_multiple_of(CODE) || !codes.iter().all(valid) {
            return None;
        }
        let mut after = b',';
        let mut end = self.first;
        for (key, value) in self.entries(raw) {
            let key = key.range();
            let value = value.range();
            end = value.end;
            let fits = after == b','
                && raw.get(key.start - 1) == Some(&b'"')
                && raw.get(key.end..value.start) == Some(b"\":")
                && !value.is_empty();
            after = *raw.get(end)?;
            if !fits {
                return None;
            }
        }
        (after == b'}').then_some(end)
    }
}

impl Codes {
    pub(super) fn push(&mut self, key: usize, value: usize, escaped: bool) {
        if escaped || key > MAX_KEY || value > MAX_VALUE || self.len() == MAX_ENTRIES {
            self.unfit = true;
        }
        if !self.unfit {
            let code = key << 18 | value;
            let digit = |n: usize| b'0' + u8::try_from(code >> (5 * n) & 31).unwrap_or_default();
            self.codes.extend_from_slice(&[digit(4), digit(3), digit(2), digit(1), digit(0)]);
        }
    }

    fn len(&self) -> usize {
        self.codes.len() / CODE
    }

    /// Appends the index to a document whose values begin at `first`, if it can have one.
    pub(super) fn write(self, out: &mut Vec<u8>, first: usize) -> Option<Packed> {
        if self.unfit || self.codes.is_empty() {
            return None;
        }
        out.extend_from_slice(INDEX);
        let start = out.len();
        out.extend_from_slice(&self.codes);
        out.push(b'"');
        Some(Packed { first, codes: Span::new(start, out.len() - 1) })
    }
}

fn decode(code: &[u8]) -> (usize, usize) {
    let code =
        code.iter().fold(0, |code, digit| code << 5 | usize::from(digit.wrapping_sub(b'0') & 31));
    (code >> 18, code & MAX_VALUE)
}

/// A number of at most 18 digits, and what follows it.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || digits > 18 {
        return None;
    }
    let (number, rest) = text.split_at(digits);
    Some((number.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')), rest))
}
