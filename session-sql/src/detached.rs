//! A future that nobody can stop in the middle.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// Runs on its caller's task, which costs nothing. If the caller goes away before it is done, the
/// runtime carries it on: an exchange with a database is never broken off, and what others wait for
/// is done all the same.
pub(crate) struct Detached<F: Future<Output: Send> + Send + 'static>(Option<Pin<Box<F>>>);

impl<F: Future<Output: Send> + Send + 'static> Detached<F> {
    pub(crate) fn new(future: F) -> Self {
        Self(Some(Box::pin(future)))
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for Detached<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // Taken out during the poll: one that panics is not carried on.
        let mut future = self.0.take().expect("not polled after it was ready");
        let polled = future.as_mut().poll(context);
        if polled.is_pending() {
            self.0 = Some(future);
        }
        polled
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Detached<F> {
    fn drop(&mut self) {
        if let (Some(future), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(future);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn goes_on_when_its_caller_is_gone() {
        let (go, wait) = oneshot::channel::<()>();
        let (done, finished) = oneshot::channel();
        let mut detached = Detached::new(async move {
            wait.await.unwrap();
            done.send(7).unwrap();
        });
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(Pin::new(&mut detached).poll(&mut context).is_pending());
        drop(detached);
        go.send(()).unwrap();
        assert_eq!(finished.await.unwrap(), 7);
    }
}
