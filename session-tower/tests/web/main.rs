//! The layer in a web application, over real sockets.

mod app;
mod caching;
mod calls;
mod cookies;
mod endings;
mod failures;
mod gc;
mod logs;
mod parallel;
mod plain_tower;
mod support;
mod unknown;
mod websocket;
