//! Saves the session after the handler has responded, and completes the response.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::header::{CACHE_CONTROL, SET_COOKIE};
use http::{HeaderValue, Response, StatusCode};
use pin_project_lite::pin_project;
use session_core::web::CookieChange;
use session_core::{Error, ErrorKind, Result, Session};
use tokio::runtime::Handle;
use tracing::Instrument as _;

use crate::caching::{keep_out_of_shared_caches, vary_on_cookie};
use crate::failure::log;
use crate::{SessionFailure, SessionHandle};

pin_project! {
    /// The future of [`SessionService`](crate::SessionService). It returns the handler's response after
    /// the session is saved.
    ///
    /// If it is dropped while the handler runs, the handler's changes to the session are discarded,
    /// except [`destroy`](session_core::Session::destroy). If it is dropped while the session is saved,
    /// the save is still carried out.
    pub struct ResponseFuture<F, R, E> {
        #[pin]
        handler: F,
        request: Request,
        saving: Option<Saving<R, E>>,
    }
}

type Save = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// A response whose session is being saved.
struct Saving<R, E> {
    response: Result<R, E>,
    save: Save,
}

impl<F, R, E> ResponseFuture<F, R, E> {
    pub(crate) fn new(handler: F, handle: SessionHandle) -> Self {
        Self {
            handler,
            request: Request { handle, handled: false, only_read: false, runtime: None },
            saving: None,
        }
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
            if this.request.runtime.is_none() {
                this.request.runtime = Handle::try_current().ok();
            }
            let response = ready!(this.handler.poll(cx));
            this.request.handled = true;
            let failed = response.as_ref().map_or(true, has_failed);
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

/// The state of a request, from the handler to the end of the save.
struct Request {
    handle: SessionHandle,
    handled: bool,
    /// The handler did not change the session, so the save can only renew it.
    only_read: bool,
    /// Where the handler runs; the request may be dropped elsewhere.
    runtime: Option<Handle>,
}

impl Request {
    /// Saves the session, if the request asked for it.
    fn begin_to_save(&mut self, failed: bool) -> Option<Save> {
        if !self.handle.was_asked() {
            return None;
        }
        let shared = self.handle.shared();
        shared.gc.maybe_start(&shared.store);
        let session = self.handle.loaded()?.clone();
        if failed {
            session.discard_changes();
        }
        self.only_read = !session.changed() && !shared.store.web().ended(&session);
        let save = save(self.handle.clone(), session);
        // The handler's changes are saved even if the client disconnects meanwhile: a spawned task is not
        // cancelled. A session that was only read needs no task.
        Some(if self.only_read { Box::pin(save) } else { Box::pin(in_a_task(save)) })
    }

    /// Completes the response according to the outcome of the save.
    fn finish<B: Default>(&self, mut response: Response<B>, saved: Result<()>) -> Response<B> {
        // The cookie depends on the state of the session and not on this save: the handler may have
        // saved, renewed or destroyed the session before.
        let set_cookie = self.set_cookie();
        let (set_cookie, outcome) = match set_cookie {
            Ok(cookie) => (cookie, saved),
            Err(error) => (None, Err(error)),
        };
        match outcome {
            Ok(()) => {}
            // The session was destroyed, expired or got a new id, before or during the request. The
            // changes are not stored, no cookie is set, and the handler's response is sent unchanged.
            Err(error) if error.kind() == ErrorKind::Gone => {
                tracing::debug!("the changes of a request are not stored: {error}");
            }
            // The handler's response is correct. The expiry of the session stays as it was, and the next
            // request tries to renew it again.
            Err(error) if self.only_read => log("a session was not renewed", &error),
            Err(error) => {
                let failure = SessionFailure::from(error);
                if !has_failed(&response) {
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

    /// Adds `Vary: Cookie` if the request asked for its session.
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
        let web = shared.store.web();
        // With `expire_on_close`, the cookie is persistent only if the session has its own lifetime
        // ("remember me").
        let survives = !shared.cookie.expires_on_close() || web.is_persistent(session);
        let life = session.expires_in().filter(|_| survives);
        match web.cookie_change(session) {
            CookieChange::Keep => Ok(None),
            // A cookie without `Max-Age` does not depend on the expiry of the session.
            CookieChange::Renew(_) if !survives => Ok(None),
            CookieChange::Set(value) | CookieChange::Renew(value) => {
                shared.cookie.set(&value, life).map(Some)
            }
            CookieChange::Remove => shared.cookie.remove().map(Some),
        }
    }
}

/// A handler that did not return, because it panicked or the client disconnected, has failed. As after a
/// 5xx, its changes are discarded and only a `destroy` is carried out.
impl Drop for Request {
    fn drop(&mut self) {
        if self.handled {
            return;
        }
        let Some(session) = self.handle.loaded() else {
            return;
        };
        session.discard_changes();
        if !session.changed() && !self.handle.shared().store.web().ended(session) {
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
async fn save(handle: SessionHandle, session: Session) -> Result<()> {
    let store = &handle.shared().store;
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

/// Whether the handler's changes to the session are discarded. A time limit inside the layer cancels the
/// handler in the middle of its changes and answers 408.
fn has_failed<B>(response: &Response<B>) -> bool {
    let status = response.status();
    status.is_server_error()
        || status == StatusCode::REQUEST_TIMEOUT
        || response.extensions().get::<SessionFailure>().is_some()
}

/// The response that replaces one whose session could not be saved.
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
