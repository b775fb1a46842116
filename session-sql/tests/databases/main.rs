//! The backends against real databases: what the conformance suite can't ask of every store.
#![allow(clippy::unwrap_used)] // also outside of #[test] functions, in their helpers

mod common;
mod connecting;
mod deployments;
mod expiry;
mod lost;
mod mariadb;
mod outages;
mod pgpool;
mod plans;
mod poolers;
mod postgres;
mod prepared;
mod processes;
mod replaced;
mod runtimes;
mod servers;
mod sqlite;
#[cfg(feature = "tls")]
mod tls;
mod waits;
