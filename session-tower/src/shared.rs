//! The state that all requests of a layer share.

use session_core::SessionStore;

use crate::cookie::Cookie;
use crate::gc::Gc;

#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) store: SessionStore,
    pub(crate) cookie: Cookie,
    pub(crate) gc: Gc,
}
