//! The deadline of one operation.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::OnceLock;
use std::task::Poll;
use std::time::Duration;

use tokio::task::unconstrained;
use tokio::time::sleep;

use crate::clock::{Instant, later};
use crate::{Error, Result};

/// The time begins with the first wait, so that a store in memory does not read the clock.
pub(super) struct Deadline {
    until: OnceLock<Instant>,
    allowed: Duration,
}

impl Deadline {
    pub(super) fn after(allowed: Duration) -> Self {
        Self { until: OnceLock::new(), allowed }
    }

    /// Runs `work` until the deadline at most.
    pub(super) fn limit<T>(
        &self,
        work: impl Future<Output = Result<T>>,
    ) -> impl Future<Output = Result<T>> {
        self.within(1, work)
    }

    /// Runs `work` for at most half of the remaining time.
    pub(super) fn limit_half<T>(
        &self,
        work: impl Future<Output = Result<T>>,
    ) -> impl Future<Output = Result<T>> {
        self.within(2, work)
    }

    /// Runs `work` for at most the remaining time divided by `part`.
    async fn within<T>(&self, part: u32, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut work = pin!(work);
        let mut timer = pin!(None);
        // The timer is created only if the first poll of `work` is pending: stores in memory need
        // none.
        let done = poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            if timer.is_none() {
                // tokio's clock can be paused by tests. Unconstrained: the timer has to be polled
                // even if `work` has used up the task's cooperative budget.
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

    /// Waits a random time before the next attempt after a conflict with another process, but not
    /// beyond the deadline. A longer pause does not help: while one process waits, the other one
    /// writes again and again, and the waiting saves of the first one fall further behind.
    pub(super) async fn pause_after_conflict(&self, conflicts: u32) {
        let longest = 1 << conflicts.min(2);
        let pause = Duration::from_millis(fastrand::u64(0..longest));
        if !pause.is_zero() {
            sleep(pause.min(self.left())).await;
        }
    }
}
