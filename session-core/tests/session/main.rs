//! Tests of the session and its save algorithm on a store that fails on demand.
#![allow(clippy::unwrap_used)]
mod calls;
mod client;
mod cookie;
mod deadline;
mod destroyed;
mod doubt;
mod faulty;
mod flash;
mod interleave;
mod late;
mod life;
mod limit;
mod owned;
mod races;
mod records;
mod refusal;
mod rotation;
mod save;
mod support;
mod together;
mod update;
