//! The session of a request, from the start of the handler to the end of the response's head.

use std::future::Future;
use std::pin::Pin;

use session_core::web::CookieChange;
use session_core::{Error, ErrorKind, Result, Session};
use tokio::runtime::Handle as Runtime;
use tracing::Instrument as _;

use crate::caching::{keep_out_of_shared_caches, vary_on_cookie};
use crate::failure::log;
use crate::headers::ResponseHeaders;
use crate::{Failure, Handle};

/// What an adapter does with the session of a request:
///
/// 1. [`new`](Self::new), before the handler runs, with the [`Handle`] that the handler gets;
/// 2. [`begin_to_save`](Self::begin_to_save), when the handler has responded, and await the save;
/// 3. [`finish`](Self::finish), and replace the response if it returns a failure;
/// 4. [`mark`](Self::mark) the response.
///
/// Dropped before the second step, because the handler panicked or the client disconnected, it does what happens
/// after a failed response: the handler's changes are discarded, and only a `destroy` is carried out.
#[derive(Debug)]
pub struct Exchange {
    handle: Handle,
    handled: bool,
    /// The handler did not change the session, so the save can only renew it.
    only_read: bool,
    /// Where the handler runs; the request may be dropped elsewhere.
    runtime: Option<Runtime>,
}

/// A save that is under way.
pub type Save = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// What becomes of the response.
#[derive(Debug)]
#[must_use]
pub struct Outcome {
    set_cookie: Option<String>,
    /// The session could not be saved: the response of a handler that did not fail itself is replaced.
    pub failure: Option<Failure>,
}

impl Exchange {
    /// The request is about to be handled.
    #[must_use]
    pub fn new(handle: Handle) -> Self {
        Self { handle, handled: false, only_read: false, runtime: None }
    }

    /// The handle of the request.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The handler runs on the tokio runtime of the caller, if there is one.
    pub fn runs_here(&mut self) {
        if self.runtime.is_none() {
            self.runtime = Runtime::try_current().ok();
        }
    }

    /// The handler has responded; `failed` is what [`has_failed`] says of the response. Returns the save that
    /// the adapter awaits, if the request asked for its session.
    ///
    /// If the save is dropped, what the handler changed is saved all the same.
    pub fn begin_to_save(&mut self, failed: bool) -> Option<Save> {
        self.handled = true;
        if !self.handle.was_asked() {
            return None;
        }
        let shared = self.handle.shared();
        shared.maybe_start_gc();
        let session = self.handle.loaded()?.clone();
        if !self.handle.keeps_changes() {
            if session.changed() {
                tracing::debug!(
                    "the changes of a HEAD, prefetch or cross-site request are not stored"
                );
            }
            return None;
        }
        if failed {
            session.discard_changes();
        }
        self.only_read = !session.changed() && !shared.store().web().ended(&session);
        let save = save(self.handle.clone(), session);
        // The handler's changes are saved even if the client disconnects meanwhile: a spawned task is not
        // cancelled. A session that was only read needs no task.
        Some(if self.only_read { Box::pin(save) } else { Box::pin(in_a_task(save)) })
    }

    /// The save has ended.
    pub fn finish(&self, saved: Result<()>) -> Outcome {
        // The cookie depends on the state of the session and not on this save: the handler may have
        // saved, renewed or destroyed the session before.
        let (set_cookie, outcome) = match self.set_cookie() {
            Ok(cookie) => (cookie, saved),
            Err(error) => (None, Err(error)),
        };
        let failure = match outcome {
            Ok(()) => None,
            // The session was destroyed, expired or got a new id, before or during the request. The
            // changes are not stored, no cookie is set, and the handler's response is sent unchanged.
            Err(error) if error.kind() == ErrorKind::Gone => {
                tracing::debug!("the changes of a request are not stored: {error}");
                None
            }
            // The handler's response is correct. The expiry of the session stays as it was, and the next
            // request tries to renew it again.
            Err(error) if self.only_read => {
                log("a session was not renewed", &error);
                None
            }
            Err(error) => Some(Failure::from(error)),
        };
        Outcome { set_cookie, failure }
    }

    /// Adds the cookie, if the client gets another one, and tells caches that the response depends on it. `outcome`
    /// is `None` if there was nothing to save.
    pub fn mark(&self, outcome: Option<Outcome>, headers: &mut impl ResponseHeaders) {
        if let Some(cookie) = outcome.and_then(|outcome| outcome.set_cookie) {
            headers.append("set-cookie", &cookie);
            keep_out_of_shared_caches(headers);
        }
        if self.handle.was_asked() {
            vary_on_cookie(headers);
        }
    }

    fn set_cookie(&self) -> Result<Option<String>> {
        let shared = self.handle.shared();
        let Some(session) = self.handle.loaded() else {
            return Ok(None);
        };
        let web = shared.store().web();
        // With `expire_on_close`, the cookie is persistent only if the session has its own lifetime
        // ("remember me").
        let survives = !shared.cookie().expires_on_close() || web.is_persistent(session);
        let life = session.expires_in().filter(|_| survives);
        match web.cookie_change(session) {
            CookieChange::Keep => Ok(None),
            // A cookie without `Max-Age` does not depend on the expiry of the session.
            CookieChange::Renew(_) if !survives => Ok(None),
            CookieChange::Set(value) | CookieChange::Renew(value) => {
                shared.cookie().set(&value, life).map(Some)
            }
            CookieChange::Remove => shared.cookie().remove().map(Some),
        }
    }
}

/// Whether the handler's changes to the session are discarded. A time limit inside the layer cancels the
/// handler in the middle of its changes and answers 408. `with_failure`: the response is made from a [`Failure`].
#[must_use]
pub fn has_failed(status: u16, with_failure: bool) -> bool {
    (500..600).contains(&status) || status == 408 || with_failure
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.handled {
            return;
        }
        let Some(session) = self.handle.loaded().filter(|_| self.handle.keeps_changes()) else {
            return;
        };
        session.discard_changes();
        if !session.changed() && !self.handle.shared().store().web().ended(session) {
            return;
        }
        let Some(runtime) = &self.runtime else {
            tracing::error!(
                "a session was not destroyed: its request ran outside of a tokio runtime"
            );
            return;
        };
        let save = save(self.handle.clone(), session.clone());
        runtime.spawn(async move {
            if let Err(error) = save.await {
                log("a session was not destroyed", &error);
            }
        });
    }
}

/// Saves the session. If the client's session was destroyed, by this save or by the handler, the sessions
/// of its other cookies are destroyed, too, even if a new session took its place.
async fn save(handle: Handle, session: Session) -> Result<()> {
    let store = handle.shared().store();
    store.save(&session).await?;
    if store.web().ended(&session) {
        handle.destroy_others().await?;
    }
    Ok(())
}

async fn in_a_task(save: impl Future<Output = Result<()>> + Send + 'static) -> Result<()> {
    let task = tokio::spawn(save.in_current_span());
    task.await.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Other, "saving the session did not end").with_source(error))
    })
}
