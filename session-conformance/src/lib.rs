//! A test suite for session stores.
//!
//! A case is a named fact, such as `save::update_after_destroy_is_gone`, and tests a clause of the
//! contract in the documentation of [`Backend`](session_core::Backend). Implement [`Harness`] to open
//! your store as a [`Fixture`], and call [`main`]. It runs one trial for each store and case, accepts the
//! command line of an ordinary Rust test (filters, `--list`, `--exact`, `--test-threads`), and shows each
//! skipped case with the reason. With `CONFORMANCE_STRICT=1` a missing store is a failure.
//!
//! [`check`] runs one case and returns its [`Outcome`]; [`cases`] returns the names of all cases.
//!
//! ```
//! use session_conformance::{Fixture, Harness, Outcome, cases, check, promise};
//! use session_core::{Capabilities, Result, async_trait};
//! # use session_memory::MemoryBackend as YourStore;
//!
//! struct Yours;
//!
//! #[async_trait]
//! impl Harness for Yours {
//!     fn name(&self) -> &str { "yours" }
//!     fn capabilities(&self) -> Capabilities { Capabilities::default() }
//!     async fn open(&self) -> Result<Fixture> { Ok(Fixture::new(YourStore::default())) }
//! }
//!
//! # #[tokio::main(flavor = "multi_thread")]
//! # async fn main() {
//! for name in cases().filter(|name| name.starts_with("save::")) {
//!     if let Outcome::Failed(why) = check(&Yours, name).await {
//!         panic!("{name}: {}: {why}", promise(name).unwrap_or_default());
//!     }
//! }
//! # }
//! ```

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
