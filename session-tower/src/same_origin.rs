//! Refuses requests that pages of other sites send.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response, StatusCode};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{SessionBody, headers};

/// Refuses requests other than GET, HEAD and OPTIONS that a page of another origin sent, with 403: against cross-site
/// request forgery, also of the sign-in form, which needs no cookie. See
/// [`is_same_origin`](session_http::is_same_origin).
///
/// ```
/// use axum::{Router, routing::post};
/// use session_tower::SameOriginLayer;
///
/// let app: Router = Router::new().route("/sign-in", post(|| async {})).layer(SameOriginLayer);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct SameOriginLayer;

impl<S> Layer<S> for SameOriginLayer {
    type Service = SameOrigin<S>;

    fn layer(&self, inner: S) -> SameOrigin<S> {
        SameOrigin(inner)
    }
}

/// The service that [`SameOriginLayer`] creates.
///
/// ```
/// use session_tower::{SameOrigin, SameOriginLayer};
/// use tower_layer::Layer;
///
/// fn guarded<S>(handlers: S) -> SameOrigin<S> {
///     SameOriginLayer.layer(handlers)
/// }
/// ```
#[derive(Debug, Clone)]
pub struct SameOrigin<S>(S);

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for SameOrigin<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = Response<SessionBody<ResBody>>;
    type Error = S::Error;
    type Future = SameOriginFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let headers = headers::Request(request.headers());
        let is_allowed = session_http::is_same_origin(request.method().as_str(), &headers);
        SameOriginFuture { inner: is_allowed.then(|| self.0.call(request)) }
    }
}

pin_project! {
    /// The future of [`SameOrigin`].
    #[derive(Debug)]
    pub struct SameOriginFuture<F> {
        // None for a request that is refused.
        #[pin]
        inner: Option<F>,
    }
}

impl<F, B, E> Future for SameOriginFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<SessionBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(inner) = self.project().inner.as_pin_mut() else {
            let mut response = Response::new(SessionBody::default());
            *response.status_mut() = StatusCode::FORBIDDEN;
            return Poll::Ready(Ok(response));
        };
        Poll::Ready(ready!(inner.poll(cx)).map(|response| response.map(SessionBody::of_handler)))
    }
}
