#![doc = include_str!("../README.md")]

#[cfg(not(unix))]
compile_error!("session-file needs a Unix system: file modes, `openat` and `flock`");

mod backend;
mod collect;
mod directory;
mod format;
mod operations;
#[cfg(test)]
mod tests;

pub use backend::{Durability, FileBackend};
