//! Random calls on a store, compared with a small model of the contract.

mod answer;
pub(crate) mod play;
pub(crate) mod shrink;
mod state;
pub(crate) mod step;
