//! One workload for every store, measured in a closed loop.
//!
//! A [`Subject`] keeps sessions: a store of this project, a store of a peer, or the bare driver with the
//! same work ("raw"). [`Comparison`] runs the operations on several subjects alternately, each for a
//! fraction of a second, so that other work on the machine slows all of them.

mod args;
mod chart;
mod closed_loop;
mod comparison;
mod contender;
mod jobs;
mod ours;
mod payload;
mod report;
mod subject;

pub use args::Args;
pub use chart::{Chart, Scale};
pub use closed_loop::{Slice, Timing};
pub use comparison::{Comparison, Operation};
pub use contender::Contender;
pub use ours::Ours;
pub use payload::{CHANGED_KEY, COUNTER_KEY, READ_KEY, changed_value, values};
pub use report::{Report, Row};
pub use subject::Subject;
