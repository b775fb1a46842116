//! For tests of applications: a handler's session without HTTP, the cookies of a client, and what a response did to
//! the session.

use std::collections::BTreeMap;
use std::fmt;

use cookie::Cookie;
use session_core::SessionStore;

use crate::Session;

/// A new, empty session, as a handler gets it for a client without one. Nothing saves it but
/// [`Session::save`](crate::Session::save).
#[must_use]
pub fn session(store: &SessionStore) -> Session {
    Session::new(store.create(), store.clone())
}

/// What a response did to the client's session cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionChange {
    /// Nothing: the client keeps the cookie that it has, if it has one.
    Kept,
    /// It set the cookie; `persistent` if the cookie outlives the browser.
    Set {
        /// Whether the cookie has a `Max-Age`.
        persistent: bool,
    },
    /// It removed the cookie.
    Removed,
}

/// The cookies of one client, for the requests of a test. It sends each cookie to every URL.
///
/// ```
/// use session_http::testing::{Jar, SessionChange};
///
/// let mut jar = Jar::default();
/// let change = jar.keep(["__Host-id=abc; Max-Age=7200; Secure", "theme=dark"], "__Host-id");
/// assert_eq!(change, SessionChange::Set { persistent: true });
/// assert_eq!(jar.header().as_deref(), Some("__Host-id=abc; theme=dark"));
/// ```
#[derive(Clone, Default)]
pub struct Jar(BTreeMap<String, String>);

impl Jar {
    /// The header `Cookie` of the next request; `None` without cookies.
    #[must_use]
    pub fn header(&self) -> Option<String> {
        let pairs: Vec<_> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// The value of a cookie.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Sets a cookie, for example one that an attacker planted.
    pub fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    /// Keeps the cookies of a response, given its values of `Set-Cookie`. Returns what they did to the cookie of
    /// this name.
    pub fn keep<'a>(
        &mut self,
        set_cookies: impl IntoIterator<Item = &'a str>,
        name: &str,
    ) -> SessionChange {
        let mut change = SessionChange::Kept;
        for text in set_cookies {
            let Ok(cookie) = Cookie::parse(text.to_owned()) else { continue };
            let life = cookie.max_age();
            let is_removed = life.is_some_and(|life| life.is_zero());
            if is_removed {
                self.0.remove(cookie.name());
            } else {
                self.set(cookie.name(), cookie.value());
            }
            if cookie.name() == name {
                change = match is_removed {
                    true => SessionChange::Removed,
                    false => SessionChange::Set { persistent: life.is_some() },
                };
            }
        }
        change
    }
}

/// Shows the names only.
impl fmt::Debug for Jar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jar_keeps_what_a_browser_keeps() {
        let mut jar = Jar::default();
        assert_eq!(jar.header(), None);
        let set = ["a=1; Path=/; Max-Age=60; Secure", "b=2; HttpOnly"];
        assert_eq!(jar.keep(set, "a"), SessionChange::Set { persistent: true });
        assert_eq!(jar.header().as_deref(), Some("a=1; b=2"));
        assert_eq!(jar.keep(["b=3"], "b"), SessionChange::Set { persistent: false });
        assert_eq!(jar.get("b"), Some("3"));
        assert_eq!(jar.keep(["b=4", "not a cookie"], "a"), SessionChange::Kept);
        assert_eq!(jar.keep(["a=; Max-Age=0"], "a"), SessionChange::Removed);
        assert_eq!(jar.header().as_deref(), Some("b=4"));
        assert_eq!(format!("{jar:?}"), r#"{"b"}"#);
    }
}
