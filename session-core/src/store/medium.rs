//! The medium of sessions: a server, or the cookie.

use super::context::Context;
use super::outcome::{Found, Saved};
use crate::session::{Session, Stored};
use crate::{Backend, Config, CookieName, CookieValue, Guarantees, Result};

/// The operations that differ between the two media. Futures may be dropped at any await.
pub(super) trait Medium {
    fn name(&self) -> &'static str;

    fn guarantees(&self) -> Guarantees;

    /// Checks that this medium supports the settings.
    fn check(&self, config: &Config) -> Result<()>;

    async fn find(&self, context: &Context, value: &str) -> Result<Found>;

    async fn save(&self, context: &Context, session: &Session) -> Result<Saved>;

    /// Destroys the sessions on which [`Session::destroy`] was called.
    async fn destroy(&self, context: &Context, session: &Session) -> Result<()>;

    async fn is_alive(&self, context: &Context, session: &Session) -> Result<bool>;

    /// A session that replaces one that can't be read.
    fn instead_of(&self, context: &Context, value: &str) -> Session;

    fn cookie_value(&self, stored: &Stored) -> Option<CookieValue>;

    /// The backend whose expired records `gc` removes, if there is one.
    fn backend(&self) -> Option<&dyn Backend>;

    /// The required name of the cookie, and the greatest size of its attributes.
    fn cookie(&self) -> Option<(&CookieName, usize)>;
}
