#![cfg_attr(docsrs, feature(doc_cfg))]
//! Web sessions over any store.
//!
//! An application holds a [`SessionStore`] and gets a [`Session`] from it. A store of records
//! implements [`Backend`]; a store that keeps the session in the cookie itself implements
//! [`CookieBackend`]. This crate depends on no web framework and no database: `session-tower` adds
//! sessions to tower and axum, and `session-memory`, `session-file`, `session-redis`, `session-sql`
//! and `session-cookie` are the stores.
//!
//! ```
//! use session_core::{CookieValue, Result, SessionStore};
//!
//! /// Counts a visit on any store. Returns the visits and the cookie value to send.
//! async fn visit(store: &SessionStore, cookie: Option<&str>) -> Result<(u64, Option<CookieValue>)> {
//!     let session = match cookie {
//!         Some(value) => store.load(value).await?.unwrap_or_else(|| store.create()),
//!         None => store.create(),
//!     };
//!     let visits = store.update(&session, "visits", |n: Option<u64>| n.unwrap_or(0) + 1).await?;
//!     Ok((visits, store.cookie_value(&session)))
//! }
//! ```

/// Its example is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod backend;
mod batch;
mod batcher;
mod capabilities;
mod clock;
mod config;
mod cookie;
mod document;
mod error;
pub mod global;
mod id;
mod json;
mod key;
#[cfg(feature = "metrics")]
mod measure;
#[cfg(not(feature = "metrics"))]
#[path = "no_measure.rs"]
mod measure;
mod owner_index;
mod record;
mod session;
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod simulation;
mod store;
pub mod web;

/// For implementors of [`Backend`]: the attribute that its methods need, and the bytes of a payload.
pub use {async_trait::async_trait, bytes::Bytes};

pub use backend::Backend;
pub use batch::{BatchBackend, BatchLimits, CreateItem, DestroyItem, TouchItem, UpdateItem};
pub use capabilities::{Capabilities, Guarantees};
pub use config::{Config, FlashMode, OwnerLimit, RandomSource};
pub use cookie::{CookieBackend, CookieName, CookieValue, Expiry, Opened, Sealed};
pub use document::{Level, Message};
pub use error::{Error, ErrorKind, Result};
pub use id::SessionId;
pub use key::Key;
pub use owner_index::OwnerIndex;
pub use record::{Loaded, MAX_TTL, Owner, Record, Revision, Update, Write, ttl_millis};
pub use session::Session;
pub use session::flash::Flash;
pub use store::owned::OwnedSession;
pub use store::records::Records;
pub use store::{Saved, SessionStore};
