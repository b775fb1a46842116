//! What an application and a web layer hear of a save.

use crate::CookieValue;

/// What became of a [`SessionStore::save`](crate::SessionStore::save), and so what the client must be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "it says whether the client's cookie must change"]
#[non_exhaustive]
pub enum Saved {
    /// There was nothing to write. The client's cookie stays as it is.
    Unchanged,
    /// The session was written. The client's cookie stays as it is.
    Updated,
    /// The client must get [`SessionStore::cookie_value`](crate::SessionStore::cookie_value): the session is new, has a new id or a new
    /// deadline, or its content stands in the cookie.
    Issued,
    /// The session was destroyed and nothing took its place. The client's cookie should be removed.
    Removed,
}

/// What a client's cookie needs, see [`SessionStore::cookie_change`](crate::SessionStore::cookie_change).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CookieChange {
    /// It is right as it is.
    Keep,
    /// It must get this value, with the session's [`expires_in`](crate::Session::expires_in).
    Set(CookieValue),
    /// It should be removed.
    Remove,
}
