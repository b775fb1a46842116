#![doc = include_str!("../README.md")]
//!
//! # Without axum
//!
//! The extractors are behind the feature `axum`, on by default. [`SessionHandle`] leads any other tower
//! service to the session.

mod caching;
mod candidates;
mod cookie;
#[cfg(feature = "axum")]
mod extract;
mod failure;
mod future;
mod gc;
mod handle;
mod layer;
mod optional;

pub use cookie::{CookieConfig, SameSite};
#[cfg(feature = "axum")]
pub use extract::Session;
pub use failure::SessionFailure;
pub use future::ResponseFuture;
pub use handle::SessionHandle;
pub use layer::{SessionLayer, SessionService};
pub use optional::OptionalSession;

// The example on the project's front page is compiled, too.
#[cfg(all(doctest, feature = "axum"))]
#[doc = include_str!("../../README.md")]
struct FrontPage;
