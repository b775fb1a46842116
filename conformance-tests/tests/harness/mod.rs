//! The stores under test. Each store has a file here, a `mod` line, and a line in [`all`].
//!
//! A file has one `pub(crate) fn harnesses() -> Vec<Box<dyn Harness>>`. `Harness::open` is called for each
//! case and returns an isolated, empty store. It starts a server lazily and once (a `tokio::sync::OnceCell` in
//! the harness), so that `--list` starts none. The server ends when the harness is dropped, so a harness must
//! not be in a `static`. If there is no server, `open` returns `Fixture::missing`.

mod cookie;
mod file;
mod memory;
mod redis;
mod reference;
mod sql;

use session_conformance::Harness;

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
