//! The session of a request, from the start of the handler to the end of the response's head.

use std::fmt;
use std::future::{Future, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

use session_core::web::CookieChange;
use session_core::{Error, ErrorKind, Result};
use tracing::Instrument as _;

use crate::caching::{keep_out_of_shared_caches, vary_on};
use crate::cookie::header;
use crate::failure::log;
use crate::headers::ResponseHeaders;
use crate::{Failure, Handle, Trailing};

/// What an adapter does with the session of a request:
///
/// 1. [`new`](Self::new), before the handler runs, with the [`Handle`] that the handler gets;
/// 2. [`begin_to_save`](Self::begin_to_save), when the handler has responded, and await the save;
/// 3. [`finish`](Self::finish), and replace the response if it returns a failure;
/// 4. [`mark`](Self::mark) the response;
/// 5. keep what [`into_trailing`](Self::into_trailing) returns beside the body of the response.
///
/// Dropped before the second step, because the handler panicked or the client disconnected, it does what happens
/// after a failed response: the handler's changes are discarded, and only a `destroy` is carried out.
#[derive(Debug)]
pub struct Exchange {
    handle: Handle,
    handled: bool,
    /// The handler did not change the session, so the save can only renew it.
    only_read: bool,
}

/// A save that is under way.
pub type Save = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// A new session id, or an empty one, for the client.
enum Issued {
    /// The value of `Set-Cookie`.
    Cookie(String),
    /// The value of the header for session ids.
    Header(String),
}

/// Does not show the id.
impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cookie(_) => "Cookie",
            Self::Header(_) => "Header",
        })
    }
}

/// What becomes of the response.
#[derive(Debug)]
#[must_use]
pub struct Outcome {
    issued: Option<Issued>,
    /// The session could not be saved: the response of a handler that did not fail itself is replaced.
    pub failure: Option<Failure>,
}

impl Exchange {
    /// The request is about to be handled.
    #[must_use]
    pub fn new(handle: Handle) -> Self {
        Self { handle, handled: false, only_read: false }
    }

    /// The handle of the request.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
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
        let web = shared.store().web();
        self.only_read = !session.changed() && !web.ended(&session);
        if self.only_read && web.has_nothing_to_save(&session) {
            // The future of a real save is large, and most requests end here.
            return Some(Box::pin(ready(Ok(()))));
        }
        // In a box at once: a save is a large future.
        let save: Save = Box::pin(self.handle.clone().save(session));
        // The handler's changes are saved even if the client disconnects meanwhile. The renewal of a session that was
        // only read may be cancelled.
        Some(if self.only_read { save } else { Box::pin(in_a_task(save)) })
    }

    /// The save has ended.
    pub fn finish(&self, saved: Result<()>) -> Outcome {
        // The cookie depends on the state of the session and not on this save: the handler may have
        // saved, renewed or destroyed the session before.
        let (issued, outcome) = match self.issue() {
            Ok(issued) => (issued, saved),
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
        Outcome { issued, failure }
    }

    /// Adds the cookie, if the client gets another one, and tells caches that the response depends on it. `outcome`
    /// is `None` if there was nothing to save.
    pub fn mark(&self, outcome: Option<Outcome>, headers: &mut impl ResponseHeaders) {
        if let Some(issued) = outcome.and_then(|outcome| outcome.issued) {
            match (issued, self.handle.response_header()) {
                (Issued::Cookie(cookie), _) => headers.append("set-cookie", &cookie),
                (Issued::Header(id), Some(name)) => headers.set_secret(name, &id),
                (Issued::Header(_), None) => {}
            }
            keep_out_of_shared_caches(headers);
        }
        if self.handle.was_asked() {
            let shared = self.handle.shared();
            if shared.uses_cookies() {
                vary_on(headers, "Cookie");
            }
            if let Some(header) = shared.header() {
                vary_on(headers, header.request());
            }
        }
    }

    /// What has to be kept until the body of the response has ended. `None` if the response failed, or if what the
    /// handler changes is not stored.
    #[must_use]
    pub fn into_trailing(self, failed: bool) -> Option<Trailing> {
        let keeps = self.handled && !failed && self.handle.keeps_changes();
        keeps.then(|| Trailing { handle: self.handle.clone() })
    }

    fn issue(&self) -> Result<Option<Issued>> {
        let shared = self.handle.shared();
        let Some(session) = self.handle.loaded() else {
            return Ok(None);
        };
        let web = shared.store().web();
        // With `expire_on_close`, the cookie is persistent only if the session has its own lifetime
        // ("remember me").
        let survives = !shared.cookie().expires_on_close() || web.is_persistent(session);
        let life = session.expires_in().filter(|_| survives);
        let change = web.cookie_change(session);
        if self.handle.response_header().is_some() {
            return match change {
                // The client has this id, and does not know when it expires.
                CookieChange::Keep | CookieChange::Renew(_) => Ok(None),
                CookieChange::Set(value) => {
                    header(value.as_str().to_owned()).map(Issued::Header).map(Some)
                }
                CookieChange::Remove => Ok(Some(Issued::Header(String::new()))),
            };
        }
        let cookie = self.handle.cookie();
        match change {
            CookieChange::Keep => Ok(None),
            // A cookie without `Max-Age` does not depend on the expiry of the session.
            CookieChange::Renew(_) if !survives => Ok(None),
            CookieChange::Set(value) | CookieChange::Renew(value) => {
                cookie.set(&value, life).map(Issued::Cookie).map(Some)
            }
            CookieChange::Remove => cookie.remove().map(Issued::Cookie).map(Some),
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
        let Some(runtime) = self.handle.runtime() else {
            tracing::error!(
                "a session was not destroyed: its request ran outside of a tokio runtime"
            );
            return;
        };
        let save = self.handle.clone().save(session.clone());
        runtime.spawn(async move {
            if let Err(error) = save.await {
                log("a session was not destroyed", &error);
            }
        });
    }
}

/// Carries the save out also if the returned future is dropped. A save that ends when it is polled first, as with a
/// store in memory, needs no task for that.
async fn in_a_task(save: Save) -> Result<()> {
    const NOT_ENDED: &str = "saving the session did not end";
    let mut save = save.in_current_span();
    let begin = poll_fn(|cx| {
        let polled = || Pin::new(&mut save).poll(cx);
        Poll::Ready(catch_unwind(AssertUnwindSafe(polled)))
    });
    match begin.await {
        Ok(Poll::Ready(saved)) => saved,
        Ok(Poll::Pending) => tokio::spawn(save).await.unwrap_or_else(|error| {
            Err(Error::new(ErrorKind::Other, NOT_ENDED).with_source(error))
        }),
        Err(_) => Err(Error::new(ErrorKind::Other, NOT_ENDED)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use tokio::time::{sleep, timeout};

    use super::*;

    #[tokio::test]
    async fn a_save_that_is_under_way_goes_on_without_its_caller() {
        let ended = Arc::new(AtomicBool::new(false));
        let save = {
            let ended = Arc::clone(&ended);
            async move {
                sleep(Duration::from_millis(20)).await;
                ended.store(true, Ordering::Relaxed);
                Ok(())
            }
        };
        timeout(Duration::from_millis(1), in_a_task(Box::pin(save))).await.unwrap_err();
        assert!(!ended.load(Ordering::Relaxed));
        sleep(Duration::from_millis(100)).await;
        assert!(ended.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn a_save_that_panics_is_an_error_whenever_it_does() {
        let at_once = in_a_task(Box::pin(async { panic!("at once") })).await;
        assert_eq!(at_once.unwrap_err().kind(), ErrorKind::Other);
        let later = in_a_task(Box::pin(async {
            sleep(Duration::from_millis(1)).await;
            panic!("later")
        }));
        assert_eq!(later.await.unwrap_err().kind(), ErrorKind::Other);
    }
}
