//! For the crate `simulation` only: it sets the wall clock and the revisions of this thread.
//! Without a call of these functions, both are the usual ones.

use std::cell::{Cell, RefCell};

use fastrand::Rng;

thread_local! {
    static WALL_CLOCK: Cell<Option<u64>> = const { Cell::new(None) };
    static REVISIONS: RefCell<Option<Rng>> = const { RefCell::new(None) };
}

/// Sets the wall clock of this thread, in milliseconds since 1970. `None` restores the machine's
/// clock.
pub fn set_wall_clock(millis: Option<u64>) {
    WALL_CLOCK.set(millis);
}

/// Derives the revisions of this thread from a seed. `None` makes them random again.
pub fn seed_revisions(seed: Option<u64>) {
    REVISIONS.set(seed.map(Rng::with_seed));
}

pub(crate) fn wall_clock() -> Option<u64> {
    WALL_CLOCK.get()
}

pub(crate) fn revision() -> Option<u64> {
    REVISIONS.with_borrow_mut(|random| random.as_mut().map(|random| random.u64(..)))
}
