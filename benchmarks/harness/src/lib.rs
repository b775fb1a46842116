//! One workload for every store, measured in a closed loop side by side.
//!
//! A [`Subject`] is something that keeps sessions: one of our stores, a peer's, or the bare driver doing
//! the same work ("raw"). [`Comparison`] runs the operations on several subjects in turns of a
//! fraction of a second, so that whatever else the machine does slows all of them alike.

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
