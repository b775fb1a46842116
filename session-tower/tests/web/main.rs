//! The layer in a web application, over real sockets.
#![allow(clippy::unwrap_used, reason = "a test's helpers are tests")]

mod account;
mod app;
mod caching;
mod calls;
mod cookies;
mod endings;
mod explicit;
mod failures;
mod gc;
mod late;
mod max_age;
mod parallel;
mod plain_tower;
mod several;
mod support;
mod unknown;
mod websocket;
