//! The time that one operation may take.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::OnceLock;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::later;
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
    pub(super) async fn limit<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.within(1.0, work).await
    }

    /// Waits for a part of what is left at most, so that the rest remains for what follows.
    pub(super) async fn limit_part<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.within(0.5, work).await
    }

    async fn within<T>(&self, part: f64, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut work = pin!(work);
        // Stores in memory answer at once; they need not pay for a timer.
        if let Poll::Ready(done) = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await {
            return done;
        }
        let left = self.left();
        match tokio::time::timeout(left.mul_f64(part), work).await {
            Ok(done) => done,
            Err(elapsed) => {
                let message = format!("no answer within the deadline of {:?}", self.allowed);
                Err(Error::unavailable(message).with_source(elapsed))
            }
        }
    }

    fn left(&self) -> Duration {
        let now = Instant::now();
        let until = self.until.get_or_init(|| later(now, self.allowed));
        until.saturating_duration_since(now)
    }

    pub(super) fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// Sleeps, but not beyond the deadline.
    pub(super) async fn pause(&self, time: Duration) {
        let left = self.left();
        tokio::time::sleep(time.min(left)).await;
    }
}
