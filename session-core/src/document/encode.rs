//! Writes a document: the base with the changes of this request applied.

use bytes::Bytes;

use super::flash::FlashEntry;
use super::index::{Codes, DATA, FLASH, LABEL, LIFETIME};
use super::parsed::{Data, Document, Member, VERSION};
use super::span::Span;

/// Writes a document from its parts, in this order: head, values, flash.
pub(crate) struct Encoder<'a> {
    /// The text whose values are copied.
    base: &'a [u8],
    /// Values of the base that are to be copied: neighbours are copied together.
    run: Option<Span>,
    out: Vec<u8>,
    created: u64,
    lifetime: Option<u64>,
    label: Option<Box<str>>,
    /// The offset of the first value.
    first: usize,
    codes: Codes,
}

impl<'a> Encoder<'a> {
    /// `expected` values with `expected_bytes` bytes in all are an estimate, for the capacity.
    pub(crate) fn new(
        base: &'a Document,
        created: u64,
        lifetime: Option<u64>,
        label: Option<Box<str>>,
        expected: usize,
        expected_bytes: usize,
    ) -> Self {
        let mut out = Vec::with_capacity(expected_bytes + 64);
        out.extend_from_slice(b"{\"v\":");
        push_number(&mut out, VERSION);
        out.extend_from_slice(b",\"created\":");
        push_number(&mut out, created);
        if let Some(lifetime) = lifetime {
            out.extend_from_slice(LIFETIME);
            push_number(&mut out, lifetime);
        }
        if let Some(label) = &label {
            out.extend_from_slice(LABEL);
            serde_json::to_writer(&mut out, label).expect("a string can be written to memory");
        }
        out.extend_from_slice(DATA);
        let first = out.len();
        let codes = Codes::for_entries(expected);
        Self { base: &base.raw, run: None, out, created, lifetime, label, first, codes }
    }

    /// Copies a value of the base, byte for byte if possible.
    #[inline]
    pub(crate) fn copy(&mut self, member: &Member<'_>) {
        let Some((place, code)) = member.place else {
            return self.copy_and_escape(member);
        };
        self.codes.copy(&code);
        match &mut self.run {
            Some(run) if run.is_before(place) => *run = run.up_to(place),
            _ => {
                self.end_run();
                self.run = Some(place);
            }
        }
    }

    #[cold]
    fn copy_and_escape(&mut self, member: &Member<'_>) {
        self.replace(member, member.json);
    }

    /// Writes another JSON value under the name of a value of the base.
    pub(crate) fn replace(&mut self, member: &Member<'_>, json: &[u8]) {
        let name = std::str::from_utf8(member.name).expect("the document was checked to be UTF-8");
        self.value(name, json);
    }

    fn separate(&mut self) {
        if self.out.len() > self.first {
            self.out.push(b',');
        }
    }

    fn end_run(&mut self) {
        if let Some(run) = self.run.take() {
            self.separate();
            self.out.extend_from_slice(run.of(self.base));
        }
    }

    /// Writes one value, which is JSON.
    pub(crate) fn value(&mut self, name: &str, json: &[u8]) {
        self.end_run();
        self.separate();
        let start = self.out.len();
        if name.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
            self.out.push(b'"');
            self.out.extend_from_slice(name.as_bytes());
            self.out.push(b'"');
        } else {
            serde_json::to_writer(&mut self.out, name).expect("a string can be written to memory");
        }
        let name_length = self.out.len() - start - 2;
        self.codes.push(name_length, json.len(), name_length != name.len());
        self.out.push(b':');
        self.out.extend_from_slice(json);
    }

    pub(crate) fn finish(mut self, flash: Vec<FlashEntry>) -> Document {
        self.end_run();
        self.out.push(b'}');
        if !flash.is_empty() {
            self.out.extend_from_slice(FLASH);
            serde_json::to_writer(&mut self.out, &flash)
                .expect("strings and JSON can be written to memory");
        }
        let packed = self.codes.write(&mut self.out, self.first);
        self.out.push(b'}');
        let raw = Bytes::from(self.out);
        let data = match packed {
            Some(packed) => Data::Packed(packed),
            None => {
                Document::scan(&raw).expect("the encoder writes documents that can be read").data
            }
        };
        Document {
            raw,
            created: self.created,
            lifetime: self.lifetime,
            label: self.label,
            data,
            flash,
        }
    }
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    serde_json::to_writer(out, &number).expect("a number can be written to memory");
}
