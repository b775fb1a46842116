//! Session stores that are subtly wrong, to test a conformance suite. [`Wrong::new`] with
//! [`Fault::None`] is a correct store in memory; each other [`Fault`] breaks one clause of the
//! contract of [`session_core::Backend`].

mod batch;
mod fault;
mod owners;
mod state;
mod store;
#[cfg(test)]
mod tests;

pub use fault::{ALL, Fault};
pub use store::Wrong;
