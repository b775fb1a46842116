//! The session and its save algorithm over a store that fails in every way.
#![allow(clippy::unwrap_used)]
mod client;
mod cookie;
mod deadline;
mod faulty;
mod flash;
mod interleave;
mod life;
mod races;
mod refusal;
mod rotation;
mod save;
mod support;
mod together;
