#![doc = include_str!("../README.md")]

mod backend;
mod clock;
mod deadlines;
mod entry;
#[cfg(test)]
mod tests;

pub use backend::MemoryBackend;
