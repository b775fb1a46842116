#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("../README.md")]

mod extract;
mod failure;
mod headers;
mod middleware;
mod session;

pub use failure::SessionFailure;
pub use middleware::{SessionMiddleware, SessionService};
pub use session::{OptionalSession, Session, SessionHandle};
pub use session_http::{self, CookieConfig, SameSite, session_core};
