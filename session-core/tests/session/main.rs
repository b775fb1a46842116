//! The session and its save algorithm over a store that fails in every way.
#![allow(clippy::unwrap_used)]
mod calls;
mod client;
mod cookie;
mod deadline;
mod faulty;
mod flash;
mod interleave;
mod late;
mod life;
mod races;
mod refusal;
mod rotation;
mod save;
mod settled;
mod support;
mod together;
