//! Web sessions over any store.

mod backend;
mod capabilities;
mod changes;
mod config;
mod cookie;
mod document;
mod error;
mod flash;
pub mod global;
mod id;
mod key;
mod record;
mod session;
mod store;

/// For implementors of [`Backend`]: the attribute that its methods need, and the bytes of a payload.
pub use {async_trait::async_trait, bytes::Bytes};

pub use backend::Backend;
pub use capabilities::Capabilities;
pub use config::{Config, RandomSource};
pub use cookie::{CookieBackend, CookieValue, Expiry, Opened, Sealed};
pub use error::{Error, ErrorKind, Result};
pub use flash::{Flash, FlashMode, Level, Message};
pub use id::SessionId;
pub use key::Key;
pub use record::{Loaded, MAX_TTL, Owner, Record, Revision, Update, Write, ttl_millis};
pub use session::Session;
pub use store::{CookieChange, Saved, SessionStore};
