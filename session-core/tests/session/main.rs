//! The session and its save algorithm over a store that fails in every way.
#![allow(clippy::unwrap_used)]
mod faulty;
mod flash;
mod save;
