//! The suite that proves a session store.
//!
//! A case is a named fact, such as `save::update_after_destroy_is_gone`, and proves a clause of
//! the contract in the documentation of [`Backend`](session_core::Backend). Tell the suite how to
//! open your store ([`Harness`], [`Fixture`]) and let [`main`] do the rest: it lists one trial per
//! store and case, takes the command line of an ordinary Rust test (filters, `--list`, `--exact`,
//! `--test-threads`), and shows each case that it skips with the reason. With
//! `CONFORMANCE_STRICT=1` a store that is missing is a failure.
//!
//! [`check`] runs one case and gives its [`Outcome`]; [`cases`] names them all.

// The README is this crate's manual; its example is compiled as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod case;
mod cases;
mod fixture;
mod model;
mod runner;
mod spy;
mod visitor;

pub use fixture::{Fixture, Harness};
pub use runner::{Outcome, cases, check, main, promise};
