//! A test suite for session stores.
//!
//! A case is a named fact, such as `save::update_after_destroy_is_gone`, and tests a clause of the
//! contract in the documentation of [`Backend`](session_core::Backend). Implement [`Harness`] to open
//! your store as a [`Fixture`], and call [`main`]. It runs one trial for each store and case, accepts the
//! command line of an ordinary Rust test (filters, `--list`, `--exact`, `--test-threads`), and shows each
//! skipped case with the reason. With `CONFORMANCE_STRICT=1` a missing store is a failure.
//!
//! [`check`] runs one case and returns its [`Outcome`]; [`cases`] returns the names of all cases.

// The README is the manual of this crate; its example is compiled as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod case;
mod cases;
mod fixture;
mod model;
mod observed;
mod outcome;
mod report;
mod runner;
mod spy;
mod visitor;

pub use fixture::{Fixture, Harness};
pub use outcome::Outcome;
pub use runner::{cases, check, main, promise};
