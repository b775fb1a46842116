//! The time that one operation may take.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::OnceLock;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::task::unconstrained;
use tokio::time::sleep;

use crate::clock::later;
use crate::{Error, Result};

/// Parts of the time that is left.
pub(super) const ALL: f64 = 1.0;
pub(super) const HALF: f64 = 0.5;

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
        self.within(ALL, None, work)
    }

    /// Waits for a part of what is left at most, so that the rest remains for what follows.
    pub(super) fn limit_part<T>(
        &self,
        work: impl Future<Output = Result<T>>,
    ) -> impl Future<Output = Result<T>> {
        self.within(HALF, None, work)
    }

    /// Waits for this part of what is left at most. What promised to end sooner by itself gets no timer.
    pub(super) async fn within<T>(
        &self,
        part: f64,
        promised: Option<Duration>,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let mut work = pin!(work);
        let mut timer = pin!(None);
        let mut timeless = false;
        // Stores in memory answer at once and need no timer; nor is any work asked twice for one.
        let done = poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            if timer.is_none() && !timeless {
                let now = Instant::now();
                let left = self.left_after(now).mul_f64(part);
                timeless = promised.is_some_and(|promised| promised <= left);
                // By tokio's clock, which tests may stop; and also for work that has used up its turn.
                timer.set((!timeless).then(|| unconstrained(sleep(left))));
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

    fn left(&self) -> Duration {
        self.left_after(Instant::now())
    }

    fn left_after(&self, now: Instant) -> Duration {
        let until = self.until.get_or_init(|| later(now, self.allowed));
        until.saturating_duration_since(now)
    }

    pub(super) fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// Sleeps, but not beyond the deadline.
    pub(super) async fn pause(&self, time: Duration) {
        let left = self.left();
        sleep(time.min(left)).await;
    }
}
