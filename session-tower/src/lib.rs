#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("../README.md")]
//!
//! # Without axum
//!
//! The extractors need the feature `axum`, which is on by default. Any other tower service gets the session
//! from the [`SessionHandle`] in the request's extensions.
//!
//! # Features
//!
//! | feature | default | |
//! |---|---|---|
//! | `axum` | yes | `Session` and `OptionalSession` are extractors |
//! | `serde` | no | [`CookieConfig`] implements `Deserialize` |
//! | `testing` | no | [`testing`]: a client for the tests of an application |

mod body;
#[cfg(feature = "axum")]
mod extract;
mod failure;
mod future;
mod handle;
mod headers;
mod layer;
mod optional;
mod same_origin;
mod session;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;

pub use body::SessionBody;
pub use failure::SessionFailure;
pub use future::ResponseFuture;
pub use handle::SessionHandle;
pub use layer::{SessionLayer, SessionService};
pub use optional::OptionalSession;
pub use same_origin::{SameOrigin, SameOriginFuture, SameOriginLayer};
pub use session::Session;
pub use session_http::{self, CookieConfig, RequestHead, SameSite, SessionHeader, session_core};
