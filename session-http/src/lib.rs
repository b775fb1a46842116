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
mod headers;
mod optional;
mod same_origin;
mod session;
mod shared;

pub use cookie_config::{CookieConfig, SameSite};
pub use exchange::{Exchange, Outcome, Save, has_failed};
pub use failure::Failure;
pub use handle::Handle;
pub use headers::{RequestHeaders, ResponseHeaders};
pub use optional::OptionalSession;
pub use same_origin::is_same_origin;
pub use session::Session;
pub use session_core;
pub use shared::Shared;
