//! How many may do something at the same time, without trusting that each of them goes on.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::timeout;

/// How often some task that waits looks for itself: the one that was woken may not run.
const LOOK: Duration = Duration::from_millis(5);
/// After the limit was lowered, it is raised by one this often.
const GROW_AFTER: Duration = Duration::from_secs(30);

/// A limited number of slots.
///
/// A semaphore gives a free permit to the task that has waited longest. If that task is on a worker thread
/// that is blocked, or on a runtime that rests, nobody has any use of the permit. Here a slot is free
/// until a task takes it, and one that was held for too long counts as free.
#[derive(Debug)]
pub(crate) struct Slots {
    state: Mutex<State>,
    overdue: Duration,
}

#[derive(Debug)]
struct State {
    most: usize,
    /// At most `most`, and less for some time where the server gives fewer connections.
    limit: usize,
    lowered: Instant,
    next: u64,
    held: Vec<(u64, Instant)>,
    /// In the order in which they came.
    waiting: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    wake: Arc<Notify>,
    /// It was woken and has not looked since.
    woken: bool,
}

impl State {
    /// Wakes the first one that does not know yet that a slot is free.
    fn wake(&mut self) {
        if self.held.len() < self.limit
            && let Some(waiter) = self.waiting.iter_mut().find(|waiter| !waiter.woken)
        {
            waiter.woken = true;
            waiter.wake.notify_one();
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl Slots {
    /// `most` slots, each of which counts as free after `overdue`.
    pub(crate) fn new(most: usize, overdue: Duration) -> Self {
        let state = State {
            most,
            limit: most,
            lowered: Instant::now(),
            next: 0,
            held: Vec::new(),
            waiting: VecDeque::new(),
        };
        Self { state: Mutex::new(state), overdue }
    }

    pub(crate) async fn take(&self) -> Slot<'_> {
        if let Some(slot) = self.try_take() {
            return slot;
        }
        let place = Place::new(self);
        loop {
            let waiting = u32::try_from(self.state().waiting.len()).unwrap_or(u32::MAX);
            // Either way it looks.
            let _ = timeout(LOOK * waiting, place.wake.notified()).await;
            if let Some(slot) = self.try_take() {
                return slot;
            }
            place.has_looked();
        }
    }

    /// Lets those that wait go first, if any. A task that takes slots in a loop calls it in between.
    pub(crate) async fn give_way(&self) {
        if !self.state().waiting.is_empty() {
            yield_now().await;
        }
    }

    /// Takes a slot out of use for some time. False if no other one would be left.
    pub(crate) fn lower(&self) -> bool {
        let mut state = self.state();
        let lower = state.limit.min(state.held.len()).saturating_sub(1);
        if lower == 0 {
            return false;
        }
        state.limit = lower;
        state.lowered = Instant::now();
        true
    }

    pub(crate) fn set_most(&self, most: usize) {
        let mut state = self.state();
        (state.most, state.limit) = (most, most);
    }

    /// How many are taken.
    pub(crate) fn held(&self) -> usize {
        self.state().held.len()
    }

    fn try_take(&self) -> Option<Slot<'_>> {
        let mut state = self.state();
        let now = Instant::now();
        if state.held.len() >= state.limit {
            state.held.retain(|(_, since)| now.duration_since(*since) < self.overdue);
            if state.limit < state.most && now.duration_since(state.lowered) > GROW_AFTER {
                state.limit += 1;
                state.lowered = now;
            }
            if state.held.len() >= state.limit {
                return None;
            }
        }
        let number = state.number();
        state.held.push((number, now));
        Some(Slot { slots: self, number })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot<'a> {
    slots: &'a Slots,
    number: u64,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut state = self.slots.state();
        state.held.retain(|(number, _)| *number != self.number);
        state.wake();
    }
}

/// A place among those that wait.
struct Place<'a> {
    slots: &'a Slots,
    number: u64,
    wake: Arc<Notify>,
}

impl<'a> Place<'a> {
    fn new(slots: &'a Slots) -> Self {
        let wake = Arc::new(Notify::new());
        let mut state = slots.state();
        let number = state.number();
        state.waiting.push_back(Waiter { number, wake: Arc::clone(&wake), woken: false });
        // One may have become free in between.
        state.wake();
        drop(state);
        Self { slots, number, wake }
    }

    fn has_looked(&self) {
        let mut state = self.slots.state();
        for waiter in state.waiting.iter_mut().filter(|waiter| waiter.number == self.number) {
            waiter.woken = false;
        }
        state.wake();
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.slots.state();
        state.waiting.retain(|waiter| waiter.number != self.number);
        // What it was woken for is for the next one.
        state.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn no_more_than_the_limit_at_a_time() {
        let slots = Slots::new(2, LONG);
        let one = slots.take().await;
        let _two = slots.take().await;
        assert!(timeout(LOOK * 4, slots.take()).await.is_err());
        drop(one);
        timeout(LOOK * 4, slots.take()).await.unwrap();
    }

    /// The first that waits is woken and never runs again; the second one takes the slot.
    #[tokio::test]
    async fn a_task_that_does_not_run_keeps_nobody_waiting() {
        let slots = Slots::new(1, LONG);
        let held = slots.take().await;
        let mut resting = Box::pin(slots.take());
        assert!(futures_poll(&mut resting).is_pending());
        drop(held);
        timeout(LOOK * 4, slots.take()).await.unwrap();
    }

    #[tokio::test]
    async fn a_slot_that_is_held_for_too_long_counts_as_free() {
        let slots = Slots::new(1, LOOK * 2);
        let lost = slots.take().await;
        let next = timeout(LONG, slots.take()).await.unwrap();
        // When its holder comes back, it takes nothing from the next one.
        drop(lost);
        assert!(slots.try_take().is_none());
        drop(next);
        assert!(slots.try_take().is_some());
    }

    #[tokio::test]
    async fn a_lowered_limit_leaves_one() {
        let slots = Slots::new(3, LONG);
        assert!(!slots.lower());
        let one = slots.take().await;
        assert!(!slots.lower());
        let two = slots.take().await;
        assert!(slots.lower());
        drop(two);
        assert!(slots.try_take().is_none());
        drop(one);
        assert!(slots.try_take().is_some());
    }

    fn futures_poll<F: Future>(future: &mut std::pin::Pin<Box<F>>) -> std::task::Poll<F::Output> {
        future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }
}
