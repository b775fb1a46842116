//! A visitor, who keeps a cookie as a browser does.

use session_core::{Error, Saved, Session, SessionStore};

use crate::case::{CaseResult, Failure};

pub(crate) struct Visitor {
    pub(crate) store: SessionStore,
    pub(crate) cookie: Option<String>,
}

impl Visitor {
    /// A visitor without a cookie.
    pub(crate) fn new(store: &SessionStore) -> Self {
        Self { store: store.clone(), cookie: None }
    }

    /// A visitor with a session that holds `"user": "alice"`.
    pub(crate) async fn known(store: &SessionStore) -> CaseResult<Self> {
        let mut visitor = Self::new(store);
        let session = store.create();
        session.insert("user", "alice")?;
        visitor.save(&session).await?;
        Ok(visitor)
    }

    /// The session of this visitor's cookie, if it is alive.
    pub(crate) async fn load(&self) -> CaseResult<Option<Session>> {
        match &self.cookie {
            Some(cookie) => Ok(self.store.load(cookie).await?),
            None => Ok(None),
        }
    }

    /// The session of this visitor's cookie, which must be alive.
    pub(crate) async fn session(&self) -> CaseResult<Session> {
        let session = self.load().await?;
        session.ok_or_else(|| Failure::Failed("a saved session must load, but is None".to_owned()))
    }

    /// Ends a request: saves, and keeps the cookie that the response sets.
    pub(crate) async fn save(&mut self, session: &Session) -> Result<Saved, Error> {
        let saved = self.store.save(session).await?;
        match saved {
            Saved::Issued => {
                let value = self.store.cookie_value(session);
                self.cookie = value.map(session_core::CookieValue::into_string);
            }
            Saved::Removed => self.cookie = None,
            _ => {}
        }
        Ok(saved)
    }

    /// The cookie; fails if there is none.
    pub(crate) fn cookie(&self) -> CaseResult<&str> {
        let cookie = self.cookie.as_deref();
        cookie
            .ok_or_else(|| Failure::Failed("a stored session must have a cookie value".to_owned()))
    }
}
