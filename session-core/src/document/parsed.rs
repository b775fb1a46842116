//! A decoded document: its bytes, and where in them the values are.

use std::sync::Arc;

use bytes::Bytes;
use serde::de::IgnoredAny;

use super::flash::FlashEntry;
use super::index::{self, Code, Packed};
use super::scan::{Malformed, Scanner};
use super::span::Span;
use crate::{Error, Result};

/// The format that this version writes, and the only one that it reads.
pub(super) const VERSION: u64 = 1;

/// A decoded document.
#[derive(Clone, Default)]
pub(crate) struct Document {
    pub(super) raw: Bytes,
    /// Unix time in milliseconds, by the clock of the application server that created the session.
    pub(crate) created: u64,
    /// The session's own lifetime, in milliseconds.
    pub(crate) lifetime: Option<u64>,
    /// What the application calls the session.
    pub(crate) label: Option<Box<str>>,
    pub(super) data: Data,
    pub(crate) flash: Vec<FlashEntry>,
}

/// The places of the values in the text.
#[derive(Clone)]
pub(super) enum Data {
    /// In the document's own index.
    Packed(Packed),
    /// Sorted by name, without duplicates.
    Listed(Arc<[Entry]>),
}

#[derive(Clone)]
pub(super) struct Entry {
    name: NameText,
    value: Span,
}

#[derive(Clone)]
pub(super) enum NameText {
    /// The text between the quotes.
    Plain(Span),
    /// The decoded text of a name with escape sequences.
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
        if u32::try_from(raw.len()).is_err() {
            return Err(Error::corrupt("the record has more than 4 GiB"));
        }
        if !raw.is_ascii() && std::str::from_utf8(&raw).is_err() {
            return Err(Error::corrupt("the record is not UTF-8"));
        }
        match index::read(&raw) {
            Some(outline) => Ok(Self {
                raw,
                created: outline.created,
                lifetime: outline.lifetime,
                label: outline.label,
                data: Data::Packed(outline.packed),
                flash: outline.flash,
            }),
            None => Self::scan(&raw).map_err(|malformed| {
                Error::corrupt("the record is not a session document").with_source(malformed)
            }),
        }
    }

    /// Reads a payload without its index.
    pub(super) fn scan(raw: &Bytes) -> Result<Self, Malformed> {
        let mut document = Self { raw: raw.clone(), ..Self::default() };
        let mut scanner = Scanner::new(raw)?;
        // The scanner checks only the structure. A text without an index may be from elsewhere.
        if serde_json::from_slice::<IgnoredAny>(raw).is_err() {
            return Err(scanner.malformed("it is not JSON"));
        }
        let mut version = None;
        let mut entries = Vec::new();
        scanner.members(|scanner, name, _| {
            match name.of(raw) {
                b"v" => version = Some(scanner.number()?),
                b"created" => document.created = scanner.number()?,
                b"lifetime" => document.lifetime = Some(scanner.number()?),
                b"label" => {
                    let label = serde_json::from_slice(scanner.value()?.of(raw));
                    document.label =
                        Some(label.map_err(|_| scanner.malformed("the label is not a string"))?);
                }
                b"data" if entries.is_empty() => scan_data(scanner, raw, &mut entries)?,
                b"flash" => {
                    let span = scanner.value()?;
                    document.flash = serde_json::from_slice(span.of(raw))
                        .map_err(|_| scanner.malformed("flash is not a list of entries"))?;
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
        entries.sort_by(|a, b| a.name.text(raw).cmp(b.name.text(raw)));
        if entries.windows(2).any(|pair| pair[0].name.text(raw) == pair[1].name.text(raw)) {
            return Err(scanner.malformed("a name occurs twice"));
        }
        document.data = Data::Listed(entries.into());
        Ok(document)
    }

    fn find(&self, name: &str) -> Option<Span> {
        match &self.data {
            Data::Packed(packed) => packed
                .entries(&self.raw)
                .find(|(found, ..)| found.of(&self.raw) == name.as_bytes())
                .map(|(_, value, _)| value),
            Data::Listed(entries) => {
                let at = entries
                    .binary_search_by(|entry| entry.name.text(&self.raw).cmp(name.as_bytes()))
                    .ok()?;
                entries.get(at).map(|entry| entry.value)
            }
        }
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The JSON text of a value, sharing the document's memory.
    pub(crate) fn value(&self, name: &str) -> Option<Bytes> {
        self.find(name).map(|value| self.raw.slice(value.range()))
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
    pub(crate) name: &'a [u8],
    pub(crate) json: &'a [u8],
    /// The place of name and value in the document, and their code, if they can be copied from there.
    pub(super) place: Option<(Span, Code)>,
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

    #[inline]
    fn next(&mut self) -> Option<Member<'a>> {
        match &mut self.places {
            Places::Packed(entries) => {
                let (name, value, code) = entries.next()?;
                let place = Some((name.quoted().up_to(value), code));
                Some(Member { name: name.of(self.raw), json: value.of(self.raw), place })
            }
            Places::Listed(entries) => {
                let Entry { name, value } = entries.next()?;
                Some(Member { name: name.text(self.raw), json: value.of(self.raw), place: None })
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
        let name = if escaped {
            let text = serde_json::from_slice::<String>(name.quoted().of(raw))
                .map_err(|_| scanner.malformed("a name is not a string"))?;
            NameText::Escaped(text.into())
        } else {
            NameText::Plain(name)
        };
        entries.push(Entry { name, value: scanner.value()? });
        Ok(())
    })
}

impl NameText {
    fn text<'a>(&'a self, raw: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Plain(span) => span.of(raw),
            Self::Escaped(text) => text.as_bytes(),
        }
    }
}
