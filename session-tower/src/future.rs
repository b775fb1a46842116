//! Saves the session after the handler has responded, and completes the response.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::header::{CACHE_CONTROL, RETRY_AFTER};
use http::{HeaderValue, Response};
use pin_project_lite::pin_project;
use session_http::{Exchange, Outcome, Save};

use crate::{SessionBody, SessionFailure, headers};

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
        exchange: Option<Exchange>,
        saving: Option<Saving<R, E>>,
    }
}

/// A future is not polled again after it is ready.
const RESPONDED: &str = "the exchange is there until the future is ready";

/// A response whose session is being saved.
struct Saving<R, E> {
    response: Result<R, E>,
    save: Save,
}

impl<F, R, E> ResponseFuture<F, R, E> {
    pub(crate) fn new(handler: F, exchange: Exchange) -> Self {
        Self { handler, exchange: Some(exchange), saving: None }
    }
}

impl<F, B, E> Future for ResponseFuture<F, Response<B>, E>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<SessionBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if this.saving.is_none() {
            let exchange = this.exchange.as_mut().expect(RESPONDED);
            let response = ready!(this.handler.poll(cx));
            let failed = response.as_ref().map_or(true, has_failed);
            match exchange.begin_to_save(failed) {
                Some(save) => *this.saving = Some(Saving { response, save }),
                None => {
                    let exchange = this.exchange.take().expect(RESPONDED);
                    return Poll::Ready(
                        response.map(|response| complete(exchange, None, response)),
                    );
                }
            }
        }
        let saving = this.saving.as_mut().expect("it was set above or by an earlier poll");
        let saved = ready!(saving.save.as_mut().poll(cx));
        let Saving { response, .. } = this.saving.take().expect("as above");
        let exchange = this.exchange.take().expect(RESPONDED);
        Poll::Ready(response.map(|response| {
            let outcome = exchange.finish(saved);
            complete(exchange, Some(outcome), response)
        }))
    }
}

/// The response with the headers of the session, or the one that replaces it.
fn complete<B>(
    exchange: Exchange,
    outcome: Option<Outcome>,
    response: Response<B>,
) -> Response<SessionBody<B>> {
    let has_failed = has_failed(&response);
    let failure = outcome.as_ref().and_then(|outcome| outcome.failure.clone());
    let mark = |mut response: Response<SessionBody<B>>| {
        exchange.mark(outcome, &mut headers::Response(response.headers_mut()));
        response
    };
    match failure {
        Some(failure) if !has_failed => mark(failed(failure.into())),
        failure => {
            let mut response = mark(response.map(SessionBody::of_handler));
            response.body_mut().keep(exchange.into_trailing(has_failed || failure.is_some()));
            response
        }
    }
}

/// Whether the handler's changes to the session are discarded.
fn has_failed<B>(response: &Response<B>) -> bool {
    let with_failure = response.extensions().get::<SessionFailure>().is_some();
    session_http::has_failed(response.status().as_u16(), with_failure)
}

/// The response that replaces one whose session could not be saved.
fn failed<B>(failure: SessionFailure) -> Response<SessionBody<B>> {
    let mut response = Response::new(SessionBody::default());
    *response.status_mut() = failure.status();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = failure.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response.extensions_mut().insert(failure);
    response
}

impl<F, R, E> fmt::Debug for ResponseFuture<F, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("handle", &self.exchange.as_ref().map(Exchange::handle))
            .finish_non_exhaustive()
    }
}
