//! The size limit of a cookie in browsers: 4096 bytes.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use session_core::{Error, ErrorKind};

/// The limit of name, value and attributes together. RFC 6265 (6.1) requires at least this size
/// from browsers, and none keeps more.
pub(crate) const LIMIT: usize = 4096;

/// The longest attributes without a domain and with the path `/`.
const LONGEST_ATTRIBUTES: &str = "; Path=/; Max-Age=315360000000; \
    Expires=Fri, 31 Dec 9999 23:59:59 GMT; Secure; HttpOnly; SameSite=Strict; Partitioned";

/// How many bytes are reserved for attributes by default.
pub(crate) const DEFAULT_RESERVE: usize = LONGEST_ATTRIBUTES.len();

/// The least reserve: enough for `; Path=/; Secure; HttpOnly; SameSite=Strict` and a `Max-Age` of
/// 400 days.
pub(crate) const LEAST_RESERVE: usize = 64;

/// How many values an error names.
const NAMED_VALUES: usize = 5;

/// How many characters of a name an error shows.
const NAME_CHARS: usize = 40;

/// The parts of a cookie, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) name: usize,
    pub(crate) value: usize,
    pub(crate) attributes: usize,
}

impl Size {
    /// The size of the cookie, with the `=`.
    pub(crate) fn total(self) -> usize {
        (self.name + 1 + self.value).saturating_add(self.attributes)
    }

    /// The error for a cookie that is too large.
    pub(crate) fn too_large(self, payload: &[u8]) -> Error {
        let largest = largest_values(payload);
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

/// The parts of the session's document whose sizes are needed.
#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow, default)]
    data: BTreeMap<String, &'a RawValue>,
    #[serde(borrow, default)]
    flash: Option<&'a RawValue>,
}

/// The names and sizes of the largest values, for the message. It never contains a value.
fn largest_values(payload: &[u8]) -> String {
    let Ok(document) = serde_json::from_slice::<Document<'_>>(payload) else {
        return String::new();
    };
    let mut sizes: Vec<(String, usize)> = document
        .data
        .iter()
        .map(|(name, value)| (shown(name), name.len() + value.get().len()))
        .collect();
    if let Some(flash) = document.flash {
        sizes.push(("flash".to_owned(), flash.get().len()));
    }
    sizes.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    sizes.truncate(NAMED_VALUES);
    if sizes.is_empty() {
        return String::new();
    }
    let list: Vec<String> =
        sizes.into_iter().map(|(name, bytes)| format!("{name} {bytes}")).collect();
    format!("; the largest values, in bytes: {}", list.join(", "))
}

fn shown(name: &str) -> String {
    let mut start: String = name.chars().take(NAME_CHARS).collect();
    if start.len() < name.len() {
        start.push('…');
    }
    format!("{start:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut() {
        let fits = "k".repeat(NAME_CHARS);
        assert_eq!(shown(&fits), format!("{fits:?}"));
        assert_eq!(shown(&"k".repeat(NAME_CHARS + 1)), format!("\"{fits}…\""));
    }
}
