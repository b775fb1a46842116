//! Web sessions over any store.
//!
//! Applications hold a [`SessionStore`] and get a [`Session`] from it; stores implement [`Backend`], or
//! [`CookieBackend`] when their place is the cookie itself. This crate knows no web framework and no
//! database: `session-tower` brings sessions into tower and axum, and `session-memory`,
//! `session-file`, `session-redis`, `session-sql` and `session-cookie` are the stores.
//!
//! ```
//! use session_core::{CookieValue, Result, SessionStore};
//!
//! /// Counts a visit, whatever the store is; gives the cookie's new value if it needs one.
//! async fn visit(store: &SessionStore, cookie: Option<&str>) -> Result<Option<CookieValue>> {
//!     let session = match cookie {
//!         Some(value) => store.load(value).await?.unwrap_or_else(|| store.create()),
//!         None => store.create(),
//!     };
//!     session.update("visits", |visits: Option<u64>| visits.unwrap_or(0) + 1)?;
//!     let _ = store.save(&session).await?;
//!     Ok(store.cookie_value(&session))
//! }
//! ```

mod backend;
mod batch;
mod batcher;
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
pub use batch::{BatchBackend, BatchLimits, CreateItem, DestroyItem, TouchItem, UpdateItem};
pub use capabilities::{Capabilities, Guarantees};
pub use config::{Config, RandomSource};
pub use cookie::{CookieBackend, CookieValue, Expiry, Opened, Sealed};
pub use error::{Error, ErrorKind, Result};
pub use flash::{Flash, FlashMode, Level, Message};
pub use id::SessionId;
pub use key::Key;
pub use record::{Loaded, MAX_TTL, Owner, Record, Revision, Update, Write, ttl_millis};
pub use session::Session;
pub use store::{CookieChange, Saved, SessionStore};
