//! One simulated world, shared by all that run in it, and its time.

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::setup::EPOCH;
use crate::world::World;

thread_local! {
    /// The operation whose future is polled; 0: none.
    static OPERATION: Cell<u64> = const { Cell::new(0) };
}

#[derive(Clone)]
pub(crate) struct Sim {
    world: Arc<Mutex<World>>,
    start: Instant,
}

impl Sim {
    /// Needs a runtime whose time is paused.
    pub(crate) fn new(world: World) -> Self {
        Self { world: Arc::new(Mutex::new(world)), start: Instant::now() }
    }

    /// The virtual time in milliseconds.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).expect("a schedule is short")
    }

    /// Works with the world as it is now.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.advance(self.now());
        let outcome = work(&mut world);
        world.log_violations();
        outcome
    }

    pub(crate) async fn sleep_until(&self, at: u64) {
        if at == u64::MAX {
            pending::<()>().await;
        } else if at > self.now() {
            sleep_until(self.start + Duration::from_millis(at)).await;
        }
    }

    pub(crate) async fn sleep(&self, millis: u64) {
        self.sleep_until(self.now() + millis).await;
    }

    /// The code that runs next belongs to a server whose wall clock is off by this.
    pub(crate) fn set_wall_clock(&self, skew: i64) {
        let now = EPOCH.saturating_add(self.now()).saturating_add_signed(skew);
        session_core::simulation::set_wall_clock(Some(now));
    }

    /// Runs an operation on a server whose wall clock is off by `skew`, and drops it after `polls`
    /// polls or at `until`, if that is not `u64::MAX`: `None` then.
    pub(crate) async fn run<T>(
        &self,
        operation: u64,
        skew: i64,
        mut polls: u32,
        until: u64,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut work = pin!(work);
        let mut end = pin!(self.sleep_until(until));
        let (mut began, mut over) = (false, false);
        let outcome = poll_fn(|cx| {
            over = over || end.as_mut().poll(cx).is_ready();
            // It is polled once: a future that never was has done nothing, and is no operation.
            if over && began {
                return Poll::Ready(None);
            }
            began = true;
            polls -= 1;
            self.set_wall_clock(skew);
            let outer = OPERATION.replace(operation);
            let polled = work.as_mut().poll(cx);
            OPERATION.set(outer);
            if polled.is_pending() && (over || polls == 0) {
                return Poll::Ready(None);
            }
            polled.map(Some)
        })
        .await;
        self.set_wall_clock(skew);
        outcome
    }

    /// The operation on whose behalf the code runs that asks; 0 for a task of the batcher.
    pub(crate) fn operation() -> u64 {
        OPERATION.get()
    }
}
