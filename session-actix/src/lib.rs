#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("../README.md")]

mod body;
mod extract;
mod failure;
mod headers;
mod middleware;
mod same_origin;
mod session;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;

pub use body::SessionBody;
pub use failure::SessionFailure;
pub use middleware::{SessionMiddleware, SessionService};
pub use same_origin::same_origin;
pub use session::{OptionalSession, Session, SessionHandle};
pub use session_http::{self, CookieConfig, RequestHead, SameSite, SessionHeader, session_core};
