//! The stores under test: for each a file here, its `mod` line, and its line in [`all`].
//!
//! A file has one `pub(crate) fn harnesses() -> Vec<Box<dyn Harness>>`. `Harness::open` is called
//! for each case and gives an isolated, empty store; start a server there once, lazily (a
//! `tokio::sync::OnceCell` in the harness), so that `--list` starts none. It ends when the harness
//! is dropped: never keep one in a `static`. A server that can't be had is `Fixture::missing`.

mod cookie;
mod file;
mod memory;
mod redis;
mod reference;
mod sql;

use conformance_tests::Harness;

pub(crate) fn all() -> Vec<Box<dyn Harness>> {
    let mut all = Vec::new();
    all.extend(cookie::harnesses());
    all.extend(file::harnesses());
    all.extend(memory::harnesses());
    all.extend(redis::harnesses());
    all.extend(reference::harnesses());
    all.extend(sql::harnesses());
    all
}
