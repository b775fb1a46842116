//! The body of a response that passed the middleware.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::body::{BodySize, MessageBody};
use actix_web::web::Bytes;
use pin_project_lite::pin_project;
use session_http::Trailing;

pin_project! {
    /// The handler's body. What is written to the session until it ends is saved then.
    ///
    /// ```
    /// use actix_web::body::{EitherBody, MessageBody};
    /// use actix_web::dev::ServiceResponse;
    /// use session_actix::SessionBody;
    ///
    /// /// What a middleware around the session's gets.
    /// fn size<B: MessageBody + 'static>(response: &ServiceResponse<EitherBody<SessionBody<B>>>) -> String {
    ///     format!("{:?}", response.response().body().size())
    /// }
    /// ```
    #[derive(Debug)]
    pub struct SessionBody<B> {
        #[pin]
        body: B,
        trailing: Option<Trailing>,
    }
}

impl<B> SessionBody<B> {
    pub(crate) fn new(body: B) -> Self {
        Self { body, trailing: None }
    }

    pub(crate) fn with(self, trailing: Option<Trailing>) -> Self {
        Self { trailing, ..self }
    }
}

impl<B: MessageBody> MessageBody for SessionBody<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, B::Error>>> {
        let this = self.project();
        let next = ready!(this.body.poll_next(cx));
        if !matches!(next, Some(Ok(_))) {
            drop(this.trailing.take());
        }
        Poll::Ready(next)
    }

    fn try_into_bytes(self) -> Result<Bytes, Self> {
        let Self { body, trailing } = self;
        body.try_into_bytes().map_err(|body| Self { body, trailing })
    }
}
