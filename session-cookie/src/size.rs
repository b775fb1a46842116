//! What a browser keeps: 4096 bytes for a cookie.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use session_core::{Error, ErrorKind};

/// Name, value and attributes together. RFC 6265 (6.1) asks browsers for at least that much, and
/// none keeps more.
pub(crate) const LIMIT: usize = 4096;

/// The longest attributes without a domain and with the root as path.
const LONGEST_ATTRIBUTES: &str = "; Path=/; Max-Age=315360000000; \
    Expires=Fri, 31 Dec 9999 23:59:59 GMT; Secure; HttpOnly; SameSite=Strict; Partitioned";

/// How many bytes are kept free for attributes unless the application says otherwise.
pub(crate) const DEFAULT_RESERVE: usize = LONGEST_ATTRIBUTES.len();

/// How many are kept free whatever the application says: enough for `; Path=/; Secure; HttpOnly;
/// SameSite=Strict` and a `Max-Age` of 400 days.
pub(crate) const LEAST_RESERVE: usize = 64;

/// How many keys an error names.
const NAMED_KEYS: usize = 5;

/// How many characters of a key an error shows.
const KEY_CHARS: usize = 40;

/// The parts of a cookie, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) name: usize,
    pub(crate) value: usize,
    pub(crate) attributes: usize,
}

impl Size {
    /// The `=` counts, too.
    pub(crate) fn total(self) -> usize {
        (self.name + 1 + self.value).saturating_add(self.attributes)
    }

    /// The error that says what to do about it.
    pub(crate) fn too_large(self, payload: &[u8]) -> Error {
        let largest = largest_keys(payload);
        Error::new(
            ErrorKind::TooLarge,
            format!(
                "the cookie would have {} bytes (name {}, value {}, room for attributes {}) and a \
                 browser keeps {LIMIT}{largest}; keep less in the session, or use a store on the \
                 server",
                self.total(),
                self.name,
                self.value,
                self.attributes,
            ),
        )
    }
}

/// The session's document, as far as sizes are concerned.
#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow, default)]
    data: BTreeMap<String, &'a RawValue>,
    #[serde(borrow, default)]
    flash: Option<&'a RawValue>,
}

/// Names, never values: the message goes to a log.
fn largest_keys(payload: &[u8]) -> String {
    let Ok(document) = serde_json::from_slice::<Document<'_>>(payload) else {
        return String::new();
    };
    let mut sizes: Vec<(String, usize)> = document
        .data
        .iter()
        .map(|(key, value)| (shown(key), key.len() + value.get().len()))
        .collect();
    if let Some(flash) = document.flash {
        sizes.push(("flash".to_owned(), flash.get().len()));
    }
    sizes.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    sizes.truncate(NAMED_KEYS);
    if sizes.is_empty() {
        return String::new();
    }
    let list: Vec<String> =
        sizes.into_iter().map(|(key, bytes)| format!("{key} {bytes}")).collect();
    format!("; the largest entries, in bytes: {}", list.join(", "))
}

fn shown(key: &str) -> String {
    let mut start: String = key.chars().take(KEY_CHARS).collect();
    if start.len() < key.len() {
        start.push('…');
    }
    format!("{start:?}")
}
