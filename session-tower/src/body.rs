//! The body of a response that passed the layer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use session_http::Trailing;

pin_project! {
    /// The handler's body, or none if the response was replaced because its session could not be saved.
    ///
    /// What is written to the session until the body ends is saved then.
    ///
    /// ```
    /// use http::Response;
    /// use session_tower::SessionBody;
    ///
    /// /// For a test that looks at the handler's own body.
    /// fn unwrap<B: Default>(response: Response<SessionBody<B>>) -> Response<B> {
    ///     response.map(|body| body.into_inner().unwrap_or_default())
    /// }
    /// ```
    #[derive(Debug)]
    pub struct SessionBody<B> {
        #[pin]
        body: Option<B>,
        trailing: Option<Trailing>,
    }
}

impl<B> SessionBody<B> {
    pub(crate) fn of_handler(body: B) -> Self {
        Self { body: Some(body), trailing: None }
    }

    pub(crate) fn keep(&mut self, trailing: Option<Trailing>) {
        self.trailing = trailing;
    }

    /// The handler's body. What is written to the session afterwards is not saved.
    pub fn into_inner(self) -> Option<B> {
        self.body
    }
}

impl<B> Default for SessionBody<B> {
    fn default() -> Self {
        Self { body: None, trailing: None }
    }
}

impl<B: Body> Body for SessionBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let Some(body) = this.body.as_pin_mut() else {
            return Poll::Ready(None);
        };
        let frame = ready!(body.poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            drop(this.trailing.take());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}
