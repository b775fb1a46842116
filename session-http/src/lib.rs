#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("../README.md")]

mod caching;
mod candidates;
mod cookie;
mod cookie_config;
mod exchange;
mod failure;
mod gc;
mod handle;
mod header;
mod headers;
mod optional;
mod per_request;
mod same_origin;
mod session;
mod shared;
#[cfg(feature = "testing")]
pub mod testing;
mod trailing;

pub use cookie_config::{CookieConfig, SameSite};
pub use exchange::{Exchange, Outcome, Save, has_failed};
pub use failure::Failure;
pub use handle::Handle;
pub use header::SessionHeader;
pub use headers::{RequestHeaders, ResponseHeaders};
pub use optional::OptionalSession;
pub use per_request::RequestHead;
pub use same_origin::is_same_origin;
pub use session::Session;
pub use session_core;
pub use shared::Shared;
pub use trailing::Trailing;
