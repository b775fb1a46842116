//! What an application and a web layer learn from the store.

use crate::{CookieValue, Error, ErrorKind, Session};

/// What a [`SessionStore::save`](crate::SessionStore::save) did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Saved {
    /// There was nothing to write. The client's cookie remains as it is.
    Unchanged,
    /// The session was written. The client's cookie remains as it is.
    Updated,
    /// The client must get [`SessionStore::cookie_value`](crate::SessionStore::cookie_value): the
    /// session is new, has a new id or a new expiry, or its content is in the cookie.
    Issued,
    /// The session was destroyed and nothing took its place. The client's cookie should be removed.
    Removed,
}

/// What a client's cookie needs, see [`Web::cookie_change`](crate::web::Web::cookie_change).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CookieChange {
    /// It is right as it is.
    Keep,
    /// It must get this value, with the session's [`expires_in`](crate::Session::expires_in).
    Set(CookieValue),
    /// It has this value already, and only the session's [`expires_in`](crate::Session::expires_in) is
    /// new. A cookie that expires with the browser needs nothing.
    Renew(CookieValue),
    /// It should be removed.
    Remove,
}

/// What [`Web::load`](crate::web::Web::load) finds.
#[derive(Debug, Clone)]
pub enum Found {
    /// The live session of the cookie value.
    Session(Session),
    /// Another request gave the session a new id a moment ago. This session is empty, and stores
    /// nothing unless it is [signed in](crate::Session::sign_in).
    Rotated(Session),
    /// There is none.
    Nothing,
}

/// What a save has done so far.
#[derive(Default)]
pub(super) struct Done {
    written: bool,
    issued: bool,
    removed: bool,
}

impl Done {
    /// A write was carried out; whether the client's cookie is out of date by it.
    pub(super) fn write(&mut self, issued: bool) {
        self.written = true;
        self.issued |= issued;
    }

    /// A session was destroyed.
    pub(super) fn remove(&mut self) {
        self.removed = true;
    }

    /// The error of a save that fails now: if it has written something, it does not say otherwise.
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
