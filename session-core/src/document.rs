//! The session's document: one JSON object, the same bytes in every store.
//!
//! ```json
//! {"v":1,"created":1790000000000,"lifetime":86400000,"data":{"theme":"dark"},"flash":[…]}
//! ```
//!
//! Loading finds where each value begins and ends and decodes none; saving copies unchanged values
//! byte for byte. That is what makes both several times faster than a map of decoded values, and it
//! keeps a number such as 1e400 that no Rust type could hold.

mod encode;
mod scan;

use bytes::Bytes;

use crate::flash::FlashEntry;
use crate::{Error, Result};

pub(crate) use encode::Encoder;
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
    /// Sorted by key, without duplicates.
    entries: Vec<Entry>,
    pub(crate) flash: Vec<FlashEntry>,
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

impl Document {
    pub(crate) fn new(created: u64) -> Self {
        Self { created, ..Self::default() }
    }

    /// Reads a payload.
    pub(crate) fn decode(raw: &Bytes) -> Result<Self> {
        if std::str::from_utf8(raw).is_err() {
            return Err(Error::corrupt("the record is not UTF-8"));
        }
        let mut document = Self { raw: raw.clone(), ..Self::default() };
        document.read(raw).map_err(|malformed| {
            Error::corrupt("the record is not a session document").with_source(malformed)
        })?;
        Ok(document)
    }

    fn read(&mut self, raw: &[u8]) -> Result<(), Malformed> {
        let mut scanner = Scanner::new(raw)?;
        let mut version = None;
        let mut unsorted = false;
        scanner.members(|scanner, name, _| {
            match name.of(raw) {
                b"v" => version = Some(scanner.number()?),
                b"created" => self.created = scanner.number()?,
                b"lifetime" => self.lifetime = Some(scanner.number()?),
                b"data" if self.entries.is_empty() => unsorted = self.read_data(scanner, raw)?,
                b"flash" => {
                    let span = scanner.value()?;
                    self.flash = serde_json::from_slice(span.of(raw))
                        .map_err(|_| scanner.malformed("flash is not what it should be"))?;
                }
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
        if unsorted {
            let mut entries = std::mem::take(&mut self.entries);
            entries.sort_by(|a, b| self.key(a).cmp(self.key(b)));
            if entries.windows(2).any(|pair| self.key(&pair[0]) == self.key(&pair[1])) {
                return Err(scanner.malformed("a key stands there twice"));
            }
            self.entries = entries;
        }
        Ok(())
    }

    /// Reads the member `data`; whether its keys were out of order.
    fn read_data(&mut self, scanner: &mut Scanner<'_>, raw: &[u8]) -> Result<bool, Malformed> {
        let mut unsorted = false;
        self.entries.reserve(8);
        scanner.members(|scanner, name, escaped| {
            let key = if escaped {
                let text = serde_json::from_slice::<String>(name.quoted().of(raw))
                    .map_err(|_| scanner.malformed("a key is no string"))?;
                KeyText::Escaped(text.into())
            } else {
                KeyText::Plain(name)
            };
            let entry = Entry { key, value: scanner.value()? };
            if let Some(last) = self.entries.last() {
                unsorted |= self.key(last) >= self.key(&entry);
            }
            self.entries.push(entry);
            Ok(())
        })?;
        Ok(unsorted)
    }

    fn key<'a>(&'a self, entry: &'a Entry) -> &'a [u8] {
        match &entry.key {
            KeyText::Plain(span) => span.of(&self.raw),
            KeyText::Escaped(text) => text.as_bytes(),
        }
    }

    fn find(&self, key: &str) -> Option<&Entry> {
        let at = self.entries.binary_search_by(|entry| self.key(entry).cmp(key.as_bytes())).ok()?;
        self.entries.get(at)
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// The JSON text of a value, sharing the document's memory.
    pub(crate) fn value(&self, key: &str) -> Option<Bytes> {
        self.find(key).map(|entry| self.raw.slice(entry.value.range()))
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        // `decode` checked the whole document, and keys begin and end at ASCII quotes.
        self.entries.iter().map(|entry| std::str::from_utf8(self.key(entry)).unwrap_or_default())
    }

    /// The encoded form; empty for a document that was never encoded.
    pub(crate) fn payload(&self) -> Bytes {
        self.raw.clone()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(text: &str) -> Result<Document> {
        Document::decode(&Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn values_are_found_without_being_decoded() {
        let document = decode(
            r#" { "v" : 1 , "created":5, "data": {"b":[1,{"x":"]}"}], "a\n":1e400, "":"\"\\"} } "#,
        )
        .unwrap();
        assert_eq!(document.created, 5);
        assert_eq!(document.keys().collect::<Vec<_>>(), ["", "a\n", "b"]);
        assert_eq!(document.value("b").unwrap(), r#"[1,{"x":"]}"}]"#);
        assert_eq!(document.value("a\n").unwrap(), "1e400");
        assert_eq!(document.value("").unwrap(), r#""\"\\""#);
        assert!(document.value("a").is_none());
    }

    #[test]
    fn what_is_no_document_is_corrupt() {
        let deep = format!(r#"{{"v":1,"data":{{"a":{}}}}}"#, "[".repeat(100_000));
        for text in [
            "",
            "null",
            "{}",
            "[]",
            "{",
            r#"{"v":1"#,
            r#"{"v":1}}"#,
            r#"{"v":2,"data":{}}"#,
            r#"{"v":1,"data":{"a":1,"a":2}}"#,
            r#"{"v":1,"data":{"a":}}"#,
            r#"{"v":1,"data":{"a":[}}}"#,
            r#"{"v":1,"data":{"a":"}}"#,
            r#"{"v":1,"data":{"a":1,}}"#,
            r#"{"v":1,"data":[]}"#,
            r#"{"v":1,"flash":{}}"#,
            r#"{"v":1,"other":{}}"#,
            r#"{"v":1,"created":-1}"#,
            r#"{"v":1,"created":99999999999999999999}"#,
            r#"{"v":1,"data":{"\ud800":1}}"#,
            &deep,
        ] {
            let error = decode(text).err().unwrap_or_else(|| panic!("accepted {text:.60}"));
            assert_eq!(error.kind(), crate::ErrorKind::Corrupt);
        }
        assert!(Document::decode(&Bytes::from_static(b"{\"v\":1,\"data\":{\"\xff\":1}}")).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_map_is_read_as_serde_json_reads_it(
            map: std::collections::BTreeMap<String, (String, Vec<Option<i64>>, f32)>,
            pretty: bool,
        ) {
            let whole = serde_json::json!({"data": map, "v": 1, "created": 7});
            let text = if pretty {
                serde_json::to_string_pretty(&whole).unwrap()
            } else {
                whole.to_string()
            };
            let document = decode(&text).unwrap();
            prop_assert_eq!(document.len(), map.len());
            for key in map.keys() {
                let value: serde_json::Value =
                    serde_json::from_slice(&document.value(key).unwrap()).unwrap();
                prop_assert_eq!(&value, &whole["data"][key]);
            }
        }

        #[test]
        fn damage_never_panics(cut in 0usize..90, at in 0usize..90, byte: u8) {
            let text = r#"{"v":1,"created":1,"data":{"k\u0041":"v","n":[1,{"a":2}]},"flash":[{"id":1,"key":"k","value":1}]}"#;
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] = byte;
            bytes.truncate(cut);
            let _ = Document::decode(&bytes.into());
        }
    }
}
