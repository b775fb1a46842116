//! What happens between the handler's response and the client.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::header::{CACHE_CONTROL, SET_COOKIE};
use http::{HeaderValue, Response};
use pin_project_lite::pin_project;
use session_core::{CookieChange, Error, ErrorKind, Result, Saved, Session, SessionStore};
use tracing::Instrument as _;

use crate::caching::{keep_out_of_shared_caches, vary_on_cookie};
use crate::failure::log;
use crate::{SessionFailure, SessionHandle};

pin_project! {
    /// The future of [`SessionService`](crate::SessionService): the handler's response, once the
    /// session is saved.
    ///
    /// Dropped while the handler runs, it keeps nothing of what the handler did to the session,
    /// except [`destroy`](session_core::Session::destroy). Dropped while the session is saved, it
    /// lets the save go on.
    pub struct ResponseFuture<F, R, E> {
        #[pin]
        handler: F,
        request: Request,
        saving: Option<Saving<R, E>>,
    }
}

/// The response, waiting for its session to be saved.
struct Saving<R, E> {
    response: Result<R, E>,
    save: Pin<Box<dyn Future<Output = Result<Saved>> + Send>>,
}

impl<F, R, E> ResponseFuture<F, R, E> {
    pub(crate) fn new(handler: F, handle: SessionHandle) -> Self {
        Self { handler, request: Request { handle, handled: false }, saving: None }
    }
}

impl<F, B, E> Future for ResponseFuture<F, Response<B>, E>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Default,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if this.saving.is_none() {
            let response = ready!(this.handler.poll(cx));
            this.request.handled = true;
            let failed =
                response.as_ref().map_or(true, |response| response.status().is_server_error());
            match this.request.begin_to_save(failed) {
                Some(save) => *this.saving = Some(Saving { response, save }),
                None => return Poll::Ready(response.map(|response| this.request.mark(response))),
            }
        }
        let saving = this.saving.as_mut().expect("it was set above or by an earlier poll");
        let saved = ready!(saving.save.as_mut().poll(cx));
        let Saving { response, .. } = this.saving.take().expect("as above");
        Poll::Ready(response.map(|response| this.request.finish(response, saved)))
    }
}

/// A request on its way through the handler and the save.
struct Request {
    handle: SessionHandle,
    handled: bool,
}

impl Request {
    /// Saves the session, if the request asked for it.
    fn begin_to_save(
        &self,
        failed: bool,
    ) -> Option<Pin<Box<dyn Future<Output = Result<Saved>> + Send>>> {
        if !self.handle.was_asked() {
            return None;
        }
        let shared = self.handle.shared();
        shared.gc.maybe_start(&shared.store);
        let session = self.handle.loaded()?;
        if failed {
            session.discard_changes();
        }
        let save = save(shared.store.clone(), session.clone());
        // What the handler did is carried out even when the client leaves meanwhile: a task of its
        // own is not cancelled. A session that was only read needs none.
        Some(if session.changed() { Box::pin(in_a_task(save)) } else { Box::pin(save) })
    }

    /// The response with what the outcome of the save asks for.
    fn finish<B: Default>(&self, mut response: Response<B>, saved: Result<Saved>) -> Response<B> {
        // The cookie follows the session, whatever became of this save: the handler may have saved,
        // renewed or destroyed it before.
        let set_cookie = self.set_cookie();
        let (set_cookie, outcome) = match set_cookie {
            Ok(cookie) => (cookie, saved.map(drop)),
            Err(error) => (None, Err(error)),
        };
        match outcome {
            Ok(()) => {}
            // Logged out or expired while the request ran: there is nothing to keep and no cookie to
            // give. The handler's response stands.
            Err(error) if error.kind() == ErrorKind::Gone => {
                tracing::debug!("the session ended while the request ran");
            }
            Err(error) => {
                let failure = SessionFailure::from(error);
                if !response.status().is_server_error() {
                    response = failed(failure);
                }
            }
        }
        if let Some(cookie) = set_cookie {
            response.headers_mut().append(SET_COOKIE, cookie);
            keep_out_of_shared_caches(response.headers_mut());
        }
        self.mark(response)
    }

    /// The response, marked for caches if the request asked for its session.
    fn mark<B>(&self, mut response: Response<B>) -> Response<B> {
        if self.handle.was_asked() {
            vary_on_cookie(response.headers_mut());
        }
        response
    }

    fn set_cookie(&self) -> Result<Option<HeaderValue>> {
        let shared = self.handle.shared();
        let Some(session) = self.handle.loaded() else {
            return Ok(None);
        };
        match shared.store.cookie_change(session) {
            CookieChange::Keep => Ok(None),
            // Only the deadline is new, and a cookie that ends with the browser does not tell it.
            CookieChange::Set(value)
                if shared.cookie.expires_on_close() && self.handle.client_has(value.as_str()) =>
            {
                Ok(None)
            }
            CookieChange::Set(value) => shared.cookie.set(&value, session.expires_in()).map(Some),
            CookieChange::Remove => shared.cookie.remove().map(Some),
        }
    }
}

/// A handler that did not return, because the client left or it panicked, has failed: as after a 5xx,
/// a destruction is all that is carried out.
impl Drop for Request {
    fn drop(&mut self) {
        if self.handled {
            return;
        }
        let Some(session) = self.handle.loaded() else {
            return;
        };
        session.discard_changes();
        if let (true, Ok(runtime)) = (session.changed(), tokio::runtime::Handle::try_current()) {
            let save = save(self.handle.shared().store.clone(), session.clone());
            runtime.spawn(async move {
                if let Err(error) = save.await {
                    log("a session was not destroyed", &error);
                }
            });
        }
    }
}

async fn save(store: SessionStore, session: Session) -> Result<Saved> {
    store.save(&session).await
}

async fn in_a_task(save: impl Future<Output = Result<Saved>> + Send + 'static) -> Result<Saved> {
    let task = tokio::spawn(save.in_current_span());
    task.await.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Other, "saving the session did not end").with_source(error))
    })
}

/// What the client gets in place of a response whose session could not be saved.
fn failed<B: Default>(failure: SessionFailure) -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = failure.status();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.extensions_mut().insert(failure);
    response
}

impl<F, R, E> fmt::Debug for ResponseFuture<F, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("handle", &self.request.handle)
            .finish_non_exhaustive()
    }
}
