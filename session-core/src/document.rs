//! The session's document: one JSON object, the same bytes in every store.
//!
//! ```json
//! {"v":1,"created":1790000000000,"lifetime":86400000,"data":{"theme":"dark"},"flash":[…],"index":"…"}
//! ```
//!
//! A load finds where each value begins and ends, and decodes none. A save copies unchanged values
//! byte for byte. Both are therefore several times faster than with a map of decoded values, and a
//! number such as 1e400, which fits no Rust type, is preserved.
//!
//! The index, if there is one, contains the length of each name and value, so that a load need not
//! scan the text. If the index does not match the quotes, colons and commas of the text, because
//! the record was edited by hand, the text is scanned. Remove the index when you edit a record by
//! hand.

mod content;
mod encode;
mod flash;
mod index;
mod parsed;
mod scan;
mod span;
#[cfg(test)]
mod tests;
mod tombstone;

pub(crate) use content::Content;
pub(crate) use encode::Encoder;
pub(crate) use flash::{FlashContent, FlashEntry};
pub use flash::{Level, Message};
pub(crate) use parsed::Document;
pub(crate) use scan::check_nesting;
pub(crate) use tombstone::Tombstone;
