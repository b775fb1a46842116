//! Writes a document: the base with this request's changes on top.

use bytes::Bytes;

use super::{Document, Entry, KeyText, Span, VERSION};
use crate::flash::FlashEntry;

/// Writes a document from its parts, in the order: head, sorted values, flash.
pub(crate) struct Encoder {
    out: Vec<u8>,
    document: Document,
}

impl Encoder {
    pub(crate) fn new(created: u64, lifetime: Option<u64>, size_hint: usize) -> Self {
        let mut out = Vec::with_capacity(size_hint + 64);
        out.extend_from_slice(b"{\"v\":");
        push_number(&mut out, VERSION);
        out.extend_from_slice(b",\"created\":");
        push_number(&mut out, created);
        if let Some(lifetime) = lifetime {
            out.extend_from_slice(b",\"lifetime\":");
            push_number(&mut out, lifetime);
        }
        out.extend_from_slice(b",\"data\":{");
        Self { out, document: Document { created, lifetime, ..Document::default() } }
    }

    /// Merges the base's values (unless they were cleared) with changes that are sorted by key;
    /// `None` as a change's value removes the key.
    pub(crate) fn merge<'a>(
        &mut self,
        base: Option<&Document>,
        changes: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>,
    ) {
        let mut standing = base.map_or(&[][..], |base| &base.entries).iter().peekable();
        for (key, value) in changes {
            while let Some((base, entry)) = base.zip(standing.peek()) {
                match base.key(entry).cmp(key.as_bytes()) {
                    std::cmp::Ordering::Less => self.copy(base, entry),
                    std::cmp::Ordering::Equal => {}
                    std::cmp::Ordering::Greater => break,
                }
                standing.next();
            }
            if let Some(value) = value {
                self.push(key, value);
            }
        }
        if let Some(base) = base {
            standing.for_each(|entry| self.copy(base, entry));
        }
    }

    pub(crate) fn finish(mut self, flash: Vec<FlashEntry>) -> Document {
        self.out.push(b'}');
        if !flash.is_empty() {
            self.out.extend_from_slice(b",\"flash\":");
            serde_json::to_writer(&mut self.out, &flash)
                .expect("writing strings and raw JSON to memory can't fail");
        }
        self.out.push(b'}');
        Document { raw: Bytes::from(self.out), flash, ..self.document }
    }

    fn copy(&mut self, base: &Document, entry: &Entry) {
        match &entry.key {
            KeyText::Plain(span) => {
                self.separate();
                let key = self.append(span.quoted().of(&base.raw));
                let key = Span::new(key.range().start + 1, key.range().end - 1);
                self.value(KeyText::Plain(key), entry.value.of(&base.raw));
            }
            KeyText::Escaped(text) => self.push(text, entry.value.of(&base.raw)),
        }
    }

    fn push(&mut self, key: &str, value: &[u8]) {
        self.separate();
        let start = self.out.len();
        serde_json::to_writer(&mut self.out, key).expect("a string can be written to memory");
        let written = Span::new(start + 1, self.out.len() - 1);
        let escaped = written.of(&self.out).contains(&b'\\');
        let key = if escaped { KeyText::Escaped(key.into()) } else { KeyText::Plain(written) };
        self.value(key, value);
    }

    fn separate(&mut self) {
        if !self.document.entries.is_empty() {
            self.out.push(b',');
        }
    }

    fn value(&mut self, key: KeyText, value: &[u8]) {
        self.out.push(b':');
        let value = self.append(value);
        self.document.entries.push(Entry { key, value });
    }

    fn append(&mut self, bytes: &[u8]) -> Span {
        let start = self.out.len();
        self.out.extend_from_slice(bytes);
        Span::new(start, self.out.len())
    }
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    use std::io::Write as _;
    write!(out, "{number}").expect("writing to memory can't fail");
}
