//! Sessions in the cookie. There is no record on a server, and so no compare-and-swap.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::MutexGuard;

use super::calls::Calls;
use super::context::Context;
use super::deadline::Deadline;
use super::end_mark::{end_all, ended_until};
use super::mark::{age_of, rotation_of};
use super::medium::Medium;
use super::outcome::{Found, Saved};
use super::save_sealed::SaveSealed;
use crate::clock::{Instant, later, unix_millis};
use crate::document::Document;
use crate::session::{Identity, SealedAs, Session, State, Stored};
use crate::{
    Backend, Config, CookieBackend, CookieName, CookieValue, Error, ErrorKind, Guarantees, Owner,
    Result,
};

/// The least reserve for attributes: enough for the defaults of the web layer.
const LEAST_ATTRIBUTE_RESERVE: usize = 64;

#[derive(Clone)]
pub(super) struct Sealed(pub(super) Arc<dyn CookieBackend>);

impl Sealed {
    /// Whether the sessions of the owner have ended, and this one signed in before.
    async fn has_ended(
        &self,
        context: &Context,
        owner: Option<&Owner>,
        signed_in: u64,
    ) -> Result<bool> {
        let (Some(revocation), Some(owner)) = (self.0.revocation(), owner) else {
            return Ok(false);
        };
        let calls = Calls::new(revocation, None, context.config.deadline);
        let ended = ended_until(&calls, &*self.0, owner).await?;
        Ok(ended.is_some_and(|ended| signed_in <= ended))
    }

    /// Ends all sessions of the owner.
    pub(super) async fn end_all(&self, context: &Context, owner: &Owner) -> Result<()> {
        let Some(revocation) = self.0.revocation() else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "a cookie store needs a revocation store to end the sessions of an account",
            ));
        };
        let calls = Calls::new(revocation, None, context.config.deadline);
        end_all(&calls, &*self.0, owner).await
    }
}

impl Medium for Sealed {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn guarantees(&self) -> Guarantees {
        let revocable = self.0.revocation().is_some();
        Guarantees { revocable, durable: true, ..Guarantees::default() }
    }

    fn check(&self, config: &Config) -> Result<()> {
        if config.owner_limit.is_some() {
            return Err(Error::invalid_config(
                "owner_limit needs a store on a server: no one has a list of the sessions in cookies",
            ));
        }
        if config.purpose.is_empty() {
            return Ok(());
        }
        Err(Error::invalid_config(
            "a cookie store has its own purpose: set it on the cookie store, for example with \
             CookieStore::with_purpose",
        ))
    }

    async fn find(&self, context: &Context, value: &str) -> Result<Found> {
        let Some(opened) = self.0.open(value)? else {
            return Ok(Found::Nothing);
        };
        let key = context.key(&opened.id);
        if let Some(revocation) = self.0.revocation() {
            let calls = Calls::new(revocation, None, context.config.deadline);
            if let Some(mark) = calls.load(&key).await? {
                return Ok(match rotation_of(&mark) {
                    Some(rotation) if age_of(&rotation) <= context.config.tombstone_ttl => {
                        Found::Rotated(Session::from_state(State::late(key, rotation.key)))
                    }
                    _ => Found::Nothing,
                });
            }
        }
        let document = Document::decode(opened.record.payload)?;
        if self.has_ended(context, opened.record.owner.as_ref(), document.created).await? {
            return Ok(Found::Nothing);
        }
        let limit = context.config.lifetime.filter(|_| document.lifetime.is_none());
        if let Some(limit) = limit {
            let end = Duration::from_millis(document.created).saturating_add(limit);
            if end.saturating_add(self.0.leeway()) <= Duration::from_millis(unix_millis()) {
                return Ok(Found::Nothing);
            }
        }
        let left = opened.expires_at.duration_since(SystemTime::now()).unwrap_or_default();
        let stored = Stored {
            identity: Identity { id: opened.id, key },
            revision: opened.record.revision,
            owner: opened.record.owner,
            expires: later(Instant::now(), left),
            gone: false,
            sealed: Some(SealedAs {
                value: value.into(),
                expires_at: opened.expires_at,
                reseal: opened.reseal,
            }),
        };
        Ok(Found::Session(Session::from_state(State::loaded(stored, document))))
    }

    async fn save(&self, context: &Context, session: &Session) -> Result<Saved> {
        let mut save = SaveSealed::new(context, &*self.0, session);
        let _lock = lock(context, session).await?;
        save.run().await
    }

    async fn destroy(&self, context: &Context, session: &Session) -> Result<()> {
        let mut save = SaveSealed::new(context, &*self.0, session);
        let _lock = lock(context, session).await?;
        save.revoke_ended().await
    }

    async fn is_alive(&self, context: &Context, session: &Session) -> Result<bool> {
        let stored = session.state(|state| {
            let stored = state.live()?;
            let left = stored.expires_in(Instant::now());
            Some((stored.identity.key, left, stored.owner.clone(), state.base.created))
        });
        let Some((key, left, owner, signed_in)) = stored else {
            return Ok(false);
        };
        let is_revoked = match self.0.revocation() {
            Some(revocation) => {
                Calls::new(revocation, None, context.config.deadline).load(&key).await?.is_some()
            }
            None => false,
        };
        Ok(!is_revoked
            && !left.is_zero()
            && !self.has_ended(context, owner.as_ref(), signed_in).await?)
    }

    fn instead_of(&self, _: &Context, _: &str) -> Session {
        Session::new()
    }

    fn cookie_value(&self, stored: &Stored) -> Option<CookieValue> {
        Some(CookieValue(stored.sealed.as_ref()?.value.to_string()))
    }

    fn backend(&self) -> Option<&dyn Backend> {
        self.0.revocation()
    }

    fn cookie(&self) -> Option<(&CookieName, usize)> {
        let reserve = self.0.attribute_reserve().max(LEAST_ATTRIBUTE_RESERVE);
        Some((self.0.cookie_name(), reserve))
    }
}

/// The saves of one session run one after another.
async fn lock<'a>(context: &Context, session: &'a Session) -> Result<MutexGuard<'a, ()>> {
    let deadline = Deadline::after(context.config.deadline);
    deadline.limit(async { Ok(session.lock_for_save().await) }).await
}
