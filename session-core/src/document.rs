//! The session's document: one JSON object, the same bytes in every store.
//!
//! ```json
//! {"v":1,"created":1790000000000,"lifetime":86400000,"data":{"theme":"dark"},"flash":[…],"index":"…"}
//! ```
//!
//! Loading finds where each value begins and ends and decodes none; saving copies unchanged values
//! byte for byte. That is what makes both several times faster than a map of decoded values, and it
//! keeps a number such as 1e400 that no Rust type could hold.
//!
//! The index, where there is one, says how long each key and value is, so that a load need not read
//! the text at all. Where it does not fit the quotes, colons and commas of the text, because someone
//! edited the record by hand, the text is scanned; whoever edits a record does best to remove it.

mod encode;
mod index;
mod scan;

use std::sync::Arc;

use bytes::Bytes;
use serde::de::IgnoredAny;

use crate::flash::FlashEntry;
use crate::{Error, Result};

pub(crate) use encode::Encoder;
use index::Packed;
pub(crate) use scan::check_nesting;
use scan::{Malformed, Scanner, Span};

/// The format that this version writes, and the only one that it reads.
const VERSION: u64 = 1;

/// A decoded document: the bytes, and where in them the values stand.
#[derive(Clone, Default)]
pub(crate) struct Document {
    raw: Bytes,
    /// Unix time in milliseconds, by the clock of the application server that created the session.
    pub(crate) created: u64,
    /// A lifetime of this session's own, in milliseconds.
    pub(crate) lifetime: Option<u64>,
    data: Data,
    pub(crate) flash: Vec<FlashEntry>,
}

/// Where the values stand.
#[derive(Clone)]
enum Data {
    /// Few and short: the document's own index says it.
    Packed(Packed),
    /// Sorted by key, without duplicates.
    Listed(Arc<[Entry]>),
}

#[derive(Clone)]
struct Entry {
    key: KeyText,
    value: Span,
}

#[derive(Clone)]
enum KeyText {
    /// As it stands between the quotes.
    Plain(Span),
    /// It holds escape sequences and was decoded.
    Escaped(Box<str>),
}

impl Default for Data {
    fn default() -> Self {
        Self::Listed(Arc::new([]))
    }
}

impl Document {
    pub(crate) fn new(created: u64) -> Self {
        Self { created, ..Self::default() }
    }

    /// Reads a payload.
    pub(crate) fn decode(raw: Bytes) -> Result<Self> {
        if !raw.is_ascii() && std::str::from_utf8(&raw).is_err() {
            return Err(Error::corrupt("the record is not UTF-8"));
        }
        match index::read(&raw) {
            Some(head) => Ok(head.into_document(raw)),
            None => Self::scan(&raw).map_err(|malformed| {
                Error::corrupt("the record is not a session document").with_source(malformed)
            }),
        }
    }

    /// Reads a payload without the help of an index.
    fn scan(raw: &Bytes) -> Result<Self, Malformed> {
        let mut document = Self { raw: raw.clone(), ..Self::default() };
        let mut scanner = Scanner::new(raw)?;
        // What this project did not write itself may be anything.
        if serde_json::from_slice::<IgnoredAny>(raw).is_err() {
            return Err(scanner.malformed("it is no JSON"));
        }
        let mut version = None;
        let mut entries = Vec::new();
        scanner.members(|scanner, name, _| {
            match name.of(raw) {
                b"v" => version = Some(scanner.number()?),
                b"created" => document.created = scanner.number()?,
                b"lifetime" => document.lifetime = Some(scanner.number()?),
                b"data" if entries.is_empty() => scan_data(scanner, raw, &mut entries)?,
                b"flash" => {
                    let span = scanner.value()?;
                    document.flash = serde_json::from_slice(span.of(raw))
                        .map_err(|_| scanner.malformed("flash is not what it should be"))?;
                }
                b"index" => drop(scanner.value()?),
                _ => return Err(scanner.malformed("an unknown member")),
            }
            if version.is_some_and(|version| version != VERSION) {
                return Err(scanner.malformed("another format version"));
            }
            Ok(())
        })?;
        scanner.end()?;
        if version.is_none() {
            return Err(scanner.malformed("no format version"));
        }
        entries.sort_by(|a, b| a.key.text(raw).cmp(b.key.text(raw)));
        if entries.windows(2).any(|pair| pair[0].key.text(raw) == pair[1].key.text(raw)) {
            return Err(scanner.malformed("a key stands there twice"));
        }
        document.data = Data::Listed(entries.into());
        Ok(document)
    }

    fn find(&self, key: &str) -> Option<Span> {
        match &self.data {
            Data::Packed(packed) => packed
                .entries(&self.raw)
                .find(|(standing, _)| standing.of(&self.raw) == key.as_bytes())
                .map(|(_, value)| value),
            Data::Listed(entries) => {
                let at = entries
                    .binary_search_by(|entry| entry.key.text(&self.raw).cmp(key.as_bytes()))
                    .ok()?;
                entries.get(at).map(|entry| entry.value)
            }
        }
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// The JSON text of a value, sharing the document's memory.
    pub(crate) fn value(&self, key: &str) -> Option<Bytes> {
        self.find(key).map(|value| self.raw.slice(value.range()))
    }

    pub(crate) fn len(&self) -> usize {
        match &self.data {
            Data::Packed(packed) => packed.len(),
            Data::Listed(entries) => entries.len(),
        }
    }

    /// Every value, in no particular order.
    pub(crate) fn members(&self) -> Members<'_> {
        let places = match &self.data {
            Data::Packed(packed) => Places::Packed(packed.entries(&self.raw)),
            Data::Listed(entries) => Places::Listed(entries.iter()),
        };
        Members { raw: &self.raw, places }
    }

    /// The encoded form; empty for a document that was never encoded.
    pub(crate) fn payload(&self) -> Bytes {
        self.raw.clone()
    }
}

/// One value of a document.
pub(crate) struct Member<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) json: &'a [u8],
    /// Both as they stand in the document, if that is the form in which they are written.
    text: Option<&'a [u8]>,
}

pub(crate) struct Members<'a> {
    raw: &'a [u8],
    places: Places<'a>,
}

enum Places<'a> {
    Packed(index::Entries<'a>),
    Listed(std::slice::Iter<'a, Entry>),
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        match &mut self.places {
            Places::Packed(entries) => {
                let (key, value) = entries.next()?;
                let text = Some(key.quoted().up_to(value).of(self.raw));
                Some(Member { key: key.of(self.raw), json: value.of(self.raw), text })
            }
            Places::Listed(entries) => {
                let Entry { key, value } = entries.next()?;
                Some(Member { key: key.text(self.raw), json: value.of(self.raw), text: None })
            }
        }
    }
}

/// Reads the member `data`.
fn scan_data(
    scanner: &mut Scanner<'_>,
    raw: &[u8],
    entries: &mut Vec<Entry>,
) -> Result<(), Malformed> {
    scanner.members(|scanner, name, escaped| {
        let key = if escaped {
            let text = serde_json::from_slice::<String>(name.quoted().of(raw))
                .map_err(|_| scanner.malformed("a key is no string"))?;
            KeyText::Escaped(text.into())
        } else {
            KeyText::Plain(name)
        };
        entries.push(Entry { key, value: scanner.value()? });
        Ok(())
    })
}

impl KeyText {
    fn text<'a>(&'a self, raw: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Plain(span) => span.of(raw),
            Self::Escaped(text) => text.as_bytes(),
        }
    }
}

#[cfg(test)]
mod tests;
