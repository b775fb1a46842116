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
//! edited the record by hand, the text is scanned. Remove the index when you edit a record by hand.

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
