//! The results that an application and a web layer get from the store.

use crate::{CookieValue, Error, ErrorKind, Session};

/// The result of [`SessionStore::save`](crate::SessionStore::save).
///
/// ```
/// use session_core::{Result, Saved, Session, SessionStore};
///
/// /// What goes into the client's cookie after a save: nothing new, a value, or its removal.
/// async fn save(store: &SessionStore, session: &Session) -> Result<Option<String>> {
///     Ok(match store.save(session).await? {
///         Saved::Issued => store.cookie_value(session).map(|value| format!("id={}", value.as_str())),
///         Saved::Removed => Some("id=; Max-Age=0".to_owned()),
///         _ => None,
///     })
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Saved {
    /// There was nothing to write. The client keeps its cookie.
    Unchanged,
    /// The session was written. The client keeps its cookie.
    Updated,
    /// Send [`SessionStore::cookie_value`](crate::SessionStore::cookie_value) to the client: the
    /// session is new, has a new id or a new expiry, or is in the cookie itself.
    Issued,
    /// The session was destroyed and not replaced. Remove the client's cookie.
    Removed,
}

/// What to do with the client's cookie, see [`Web::cookie_change`](crate::web::Web::cookie_change).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CookieChange {
    /// Nothing: the cookie is up to date.
    Keep,
    /// Set it to this value, with the session's [`expires_in`](crate::Session::expires_in).
    Set(CookieValue),
    /// The cookie already has this value. Renew its expiry, with the session's
    /// [`expires_in`](crate::Session::expires_in). Nothing to do for a cookie that ends with the
    /// browser session.
    Renew(CookieValue),
    /// Remove it.
    Remove,
}

/// The result of [`Web::load`](crate::web::Web::load).
#[derive(Debug, Clone)]
pub enum Found {
    /// The live session of the cookie value.
    Session(Session),
    /// Another request gave the session a new id a moment ago. The session here is empty, and is
    /// not stored unless it is [signed in](crate::Session::sign_in).
    Rotated(Session),
    /// There is no session.
    Nothing,
}

/// The steps that a save has carried out.
#[derive(Default)]
pub(super) struct Done {
    written: bool,
    issued: bool,
    removed: bool,
}

impl Done {
    /// Records a write. `issued`: the client's cookie is out of date.
    pub(super) fn write(&mut self, issued: bool) {
        self.written = true;
        self.issued |= issued;
    }

    /// Records that a session was destroyed.
    pub(super) fn remove(&mut self) {
        self.removed = true;
    }

    /// The error of a save that fails now. If the save has already written something, the error is
    /// not a refusal.
    pub(super) fn and_then_failed(&self, error: Error) -> Error {
        let is_refusal = error.nothing_was_written()
            && matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Other);
        if !is_refusal || !(self.written || self.removed) {
            return error;
        }
        let message = "a part of the save was carried out, and the store refused the rest";
        Error::unavailable(message).with_source(error)
    }

    pub(super) fn saved(&self, exists: bool) -> Saved {
        match self {
            Self { issued: true, .. } | Self { removed: true, .. } if exists => Saved::Issued,
            Self { removed: true, .. } => Saved::Removed,
            Self { written: true, .. } => Saved::Updated,
            _ => Saved::Unchanged,
        }
    }
}
