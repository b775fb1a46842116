//! Sessions for [tower] services over HTTP, and extractors for [axum].
//!
//! [`SessionLayer`] gives every request behind it a session. It is loaded when a handler asks for it,
//! saved before the response is sent, and the cookie is set only when it must change.
//!
//! - **axum** (feature `axum`, on by default): handlers take the extractor [`Session`], or
//!   [`OptionalSession`] where they can go on while the store is out of reach.
//! - **any other tower service**: [`SessionHandle`] in the request's extensions leads to the session.
//!
//! [axum]: https://docs.rs/axum
//! [tower]: https://docs.rs/tower

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
