//! The body of a response that passed the layer.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The handler's body, or none if the response was replaced because its session could not be saved.
    #[derive(Debug, Clone)]
    pub struct SessionBody<B> {
        #[pin]
        body: Option<B>,
    }
}

impl<B> SessionBody<B> {
    pub(crate) fn of_handler(body: B) -> Self {
        Self { body: Some(body) }
    }

    /// The handler's body.
    pub fn into_inner(self) -> Option<B> {
        self.body
    }
}

impl<B> Default for SessionBody<B> {
    fn default() -> Self {
        Self { body: None }
    }
}

impl<B: Body> Body for SessionBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project().body.as_pin_mut() {
            Some(body) => body.poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}
