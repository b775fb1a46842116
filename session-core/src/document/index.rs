//! The index of a document: the length of each name and value, so that a load need not scan for
//! them.
//!
//! Five characters from `0` to `O`, with 5 bits each, describe one value: 7 bits are the length of
//! the name, 18 bits the length of the value. A document with a longer name or value, with escapes
//! in a name, or with more than [`MAX_ENTRIES`] values has no index and is scanned.

use memchr::memrchr;

use super::flash::FlashEntry;
use super::span::Span;

/// Up to this number of values a linear search is fast enough.
pub(super) const MAX_ENTRIES: usize = 64;
const CODE: usize = 5;
/// The lengths of one name and its value.
pub(super) type Code = [u8; CODE];
const MAX_NAME: usize = (1 << 7) - 1;
const MAX_VALUE: u32 = (1 << 18) - 1;

const HEAD: &[u8] = b"{\"v\":1,\"created\":";
pub(super) const LIFETIME: &[u8] = b",\"lifetime\":";
pub(super) const LABEL: &[u8] = b",\"label\":";
pub(super) const DATA: &[u8] = b",\"data\":{";
pub(super) const FLASH: &[u8] = b",\"flash\":";
const INDEX: &[u8] = b",\"index\":\"";
const TAIL: &[u8] = b"\"}";

/// An index that matches its document.
#[derive(Clone, Copy)]
pub(super) struct Packed {
    /// The offset of the opening quote of the first name.
    first: usize,
    codes: Span,
}

/// The parts of a document that are decoded.
pub(super) struct Outline {
    pub(super) created: u64,
    pub(super) lifetime: Option<u64>,
    pub(super) label: Option<Box<str>>,
    pub(super) packed: Packed,
    pub(super) flash: Vec<FlashEntry>,
}

/// The lengths of names and values while a document is written.
pub(super) struct Codes {
    codes: Vec<u8>,
    unfit: bool,
}

/// Reads a document by its index; `None` if it has no index, or one that does not match.
pub(super) fn read(raw: &[u8]) -> Option<Outline> {
    let rest = raw.strip_prefix(HEAD)?;
    let (created, rest) = number(rest)?;
    let (lifetime, rest) = match rest.strip_prefix(LIFETIME) {
        Some(rest) => number(rest).map(|(lifetime, rest)| (Some(lifetime), rest))?,
        None => (None, rest),
    };
    let (label, rest) = match rest.strip_prefix(LABEL) {
        Some(rest) => text(rest).map(|(label, rest)| (Some(label), rest))?,
        None => (None, rest),
    };
    let rest = rest.strip_prefix(DATA)?;
    let first = raw.len() - rest.len();

    let end = raw.len().checked_sub(TAIL.len())?;
    let before = raw.strip_suffix(TAIL)?;
    // Codes contain no quote, so the last quote before them opens them.
    let start = memrchr(b'"', before)? + 1;
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
    Some(Outline { created, lifetime, label, packed, flash })
}

/// The string at the beginning, and the rest.
fn text(json: &[u8]) -> Option<(Box<str>, &[u8])> {
    let mut values = serde_json::Deserializer::from_slice(json).into_iter();
    let text = values.next()?.ok()?;
    Some((text, &json[values.byte_offset()..]))
}

impl Packed {
    pub(super) fn len(&self) -> usize {
        self.codes.range().len() / CODE
    }

    /// Names (without quotes), values, and their codes.
    pub(super) fn entries<'a>(&self, raw: &'a [u8]) -> Entries<'a> {
        // As if there were a value and a comma before the first name.
        let before = self.first - 1;
        let last = Span::new(before, before);
        Entries { last, codes: self.codes.of(raw).as_chunks().0.iter() }
    }

    /// Checks that every name is in quotes and followed by a colon, and every value is followed by
    /// a comma or the end. Returns the offset of the closing brace.
    fn check(&self, raw: &[u8]) -> Option<usize> {
        let (codes, rest) = self.codes.of(raw).as_chunks();
        let mut at = self.first;
        let mut after = b',';
        for code in codes {
            let (name, value) = decode(code);
            let colon = at + 2 + name as usize;
            let end = colon + 1 + value as usize;
            let quotes = [*raw.get(at)?, *raw.get(colon - 1)?, *raw.get(colon)?];
            let has_digits =
                code.iter().fold(0, |bits, digit| bits | digit.wrapping_sub(b'0')) < 32;
            if !has_digits || quotes != *b"\"\":" || after != b',' || value == 0 {
                return None;
            }
            after = *raw.get(end)?;
            at = end + 1;
        }
        (after == b'}' && rest.is_empty()).then(|| at - 1)
    }
}

#[derive(Clone)]
pub(super) struct Entries<'a> {
    last: Span,
    codes: std::slice::Iter<'a, Code>,
}

impl Iterator for Entries<'_> {
    type Item = (Span, Span, Code);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let code = self.codes.next()?;
        let (name, value) = decode(code);
        // Between them are a comma and a quote, or a quote and a colon.
        let name = self.last.next(2, name);
        let value = name.next(2, value);
        self.last = value;
        Some((name, value, *code))
    }
}

impl Codes {
    pub(super) fn for_entries(expected: usize) -> Self {
        Self { codes: Vec::with_capacity(expected.min(MAX_ENTRIES) * CODE), unfit: false }
    }

    pub(super) fn push(&mut self, name: usize, value: usize, escaped: bool) {
        if escaped || name > MAX_NAME || value > MAX_VALUE as usize || self.len() == MAX_ENTRIES {
            self.unfit = true;
        }
        if !self.unfit {
            let code = name << 18 | value;
            let digit = |n: usize| b'0' + u8::try_from(code >> (5 * n) & 31).expect("five bits");
            self.codes.extend_from_slice(&[digit(4), digit(3), digit(2), digit(1), digit(0)]);
        }
    }

    /// Copies a code of another index.
    #[inline]
    pub(super) fn copy(&mut self, code: &Code) {
        self.unfit |= self.len() == MAX_ENTRIES;
        if !self.unfit {
            self.codes.extend_from_slice(code);
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

/// The lengths of the name and of the value.
fn decode(code: &Code) -> (u32, u32) {
    let code = code.iter().fold(0, |code, digit| code << 5 | u32::from(digit & 31 ^ 16));
    (code >> 18, code & MAX_VALUE)
}

/// A number of at most 18 digits, and the rest of the text.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || digits > 18 {
        return None;
    }
    let (number, rest) = text.split_at(digits);
    Some((number.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')), rest))
}
