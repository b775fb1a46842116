#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("../README.md")]

mod extract;
mod failure;
mod headers;
mod middleware;
mod same_origin;
mod session;

pub use failure::SessionFailure;
pub use middleware::{SessionMiddleware, SessionService};
pub use same_origin::same_origin;
pub use session::{OptionalSession, Session, SessionHandle};
pub use session_http::{self, CookieConfig, SameSite, session_core};
