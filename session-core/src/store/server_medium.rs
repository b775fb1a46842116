//! Sessions on a server: what the handle does with them.

use super::context::Context;
use super::limit;
use super::medium::Medium;
use super::outcome::{Found, Saved};
use super::save::Save;
use super::server::Server;
use crate::clock::{Instant, later};
use crate::document::Content;
use crate::session::{Identity, Session, State, Stored};
use crate::{
    Backend, Capabilities, Config, CookieName, CookieValue, Error, Guarantees, Result, SessionId,
};

impl Medium for Server {
    fn name(&self) -> &'static str {
        self.backend.name()
    }

    fn guarantees(&self) -> Guarantees {
        let Capabilities { durable, expires_natively } = self.backend.capabilities();
        Guarantees { detects_conflicts: true, revocable: true, durable, expires_natively }
    }

    fn check(&self, config: &Config) -> Result<()> {
        if config.owner_limit.is_none() || self.backend.owner_index().is_some() {
            return Ok(());
        }
        Err(Error::invalid_config(
            "owner_limit needs a store that can find the sessions of an account: this one has no \
             owner index",
        ))
    }

    async fn find(&self, context: &Context, value: &str) -> Result<Found> {
        let Some(id) = SessionId::parse(value) else {
            return Ok(Found::Nothing);
        };
        let key = context.key(&id);
        let calls = self.calls(context);
        let Some(loaded) = calls.load(&key).await? else {
            return Ok(Found::Nothing);
        };
        let base = match Content::decode(loaded.record.payload)? {
            Content::Session(base) => base,
            Content::Tombstone(tombstone) => {
                let late = State::late(key, tombstone.key);
                return Ok(Found::Rotated(Session::from_state(late)));
            }
        };
        let stored = Stored {
            identity: Identity { id, key },
            revision: loaded.record.revision,
            owner: loaded.record.owner,
            expires: later(Instant::now(), loaded.expires_in),
            gone: false,
            sealed: None,
        };
        Ok(Found::Session(Session::from_state(State::loaded(stored, base))))
    }

    async fn save(&self, context: &Context, session: &Session) -> Result<Saved> {
        let save = Save::new(context, self.calls(context), session);
        let _guard = save.lock().await?;
        if context.config.owner_limit.is_none() {
            return save.run().await;
        }
        // In boxes, because few stores have a limit and every save would carry the room for it.
        Box::pin(limit::check(self, context, session)).await?;
        let saved = save.run().await?;
        Box::pin(limit::enforce(self, context, session)).await?;
        Ok(saved)
    }

    async fn destroy(&self, context: &Context, session: &Session) -> Result<()> {
        let mut save = Save::new(context, self.calls(context), session);
        let _guard = save.lock().await?;
        save.end_sessions().await
    }

    async fn is_alive(&self, context: &Context, session: &Session) -> Result<bool> {
        let Some(key) = session.state(|state| state.live().map(|stored| stored.identity.key))
        else {
            return Ok(false);
        };
        let calls = self.calls(context);
        Ok(match calls.load(&key).await? {
            Some(found) => matches!(Content::decode(found.record.payload)?, Content::Session(_)),
            None => false,
        })
    }

    fn instead_of(&self, context: &Context, value: &str) -> Session {
        match SessionId::parse(value) {
            Some(id) => Session::from_state(State::instead_of(context.key(&id))),
            None => Session::new(),
        }
    }

    fn cookie_value(&self, stored: &Stored) -> Option<CookieValue> {
        Some(CookieValue(stored.identity.id.expose()))
    }

    fn backend(&self) -> Option<&dyn Backend> {
        Some(&*self.backend)
    }

    fn cookie(&self) -> Option<(&CookieName, usize)> {
        None
    }
}
