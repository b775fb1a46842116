//! The time that one operation may take.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::OnceLock;
use std::task::Poll;
use std::time::Duration;

use tokio::task::unconstrained;
use tokio::time::sleep;

use crate::clock::{Instant, later};
use crate::{Error, Result};

/// It begins with the first wait: a store in memory never needs the clock.
pub(super) struct Deadline {
    until: OnceLock<Instant>,
    allowed: Duration,
}

impl Deadline {
    pub(super) fn after(allowed: Duration) -> Self {
        Self { until: OnceLock::new(), allowed }
    }

    /// Waits until the deadline at most.
    pub(super) fn limit<T>(
        &self,
        work: impl Future<Output = Result<T>>,
    ) -> impl Future<Output = Result<T>> {
        self.within(1, work)
    }

    /// Waits for half of what is left at most, so that the rest remains for what follows.
    pub(super) fn limit_half<T>(
        &self,
        work: impl Future<Output = Result<T>>,
    ) -> impl Future<Output = Result<T>> {
        self.within(2, work)
    }

    /// Waits for this part of what is left at most.
    async fn within<T>(&self, part: u32, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut work = pin!(work);
        let mut timer = pin!(None);
        // Stores in memory answer at once and need no timer; nor is any work asked twice for one.
        let done = poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            if timer.is_none() {
                // By tokio's clock, which tests may stop; and also for work that has used up its turn.
                timer.set(Some(unconstrained(sleep(self.left() / part))));
            }
            match timer.as_mut().as_pin_mut() {
                Some(timer) => timer.poll(cx).map(|()| None),
                None => Poll::Pending,
            }
        });
        match done.await {
            Some(done) => done,
            None => {
                let message = format!("no answer within the deadline of {:?}", self.allowed);
                Err(Error::unavailable(message))
            }
        }
    }

    pub(super) fn left(&self) -> Duration {
        let now = Instant::now();
        let until = self.until.get_or_init(|| later(now, self.allowed));
        until.saturating_duration_since(now)
    }

    pub(super) fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// Sleeps, but not beyond the deadline.
    pub(super) async fn pause(&self, time: Duration) {
        if time.is_zero() {
            return;
        }
        let left = self.left();
        sleep(time.min(left)).await;
    }
}
