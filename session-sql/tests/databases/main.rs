//! The backends against real databases: what the conformance suite can't ask of every store.

mod common;
mod mariadb;
mod outages;
mod postgres;
mod sqlite;
