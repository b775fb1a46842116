//! The middleware in a web application, over real sockets. The tests in `session-http/web-tests` run on each
//! framework.
#![allow(clippy::unwrap_used, reason = "a test's helpers are tests")]

mod app;
mod caching_app;
mod explicit_app;
mod own_page;
mod several_app;

#[path = "../../../session-http/web-tests/caching.rs"]
mod caching;
#[path = "../../../session-http/web-tests/calls.rs"]
mod calls;
#[path = "../../../session-http/web-tests/cookies.rs"]
mod cookies;
#[path = "../../../session-http/web-tests/endings.rs"]
mod endings;
#[path = "../../../session-http/web-tests/explicit.rs"]
mod explicit;
#[path = "../../../session-http/web-tests/failures.rs"]
mod failures;
#[path = "../../../session-http/web-tests/gc.rs"]
mod gc;
#[path = "../../../session-http/web-tests/header.rs"]
mod header;
#[path = "../../../session-http/web-tests/kept_out.rs"]
mod kept_out;
#[path = "../../../session-http/web-tests/late.rs"]
mod late;
#[path = "../../../session-http/web-tests/max_age.rs"]
mod max_age;
#[path = "../../../session-http/web-tests/parallel.rs"]
mod parallel;
#[path = "../../../session-http/web-tests/per_request.rs"]
mod per_request;
#[path = "../../../session-http/web-tests/several.rs"]
mod several;
#[path = "../../../session-http/web-tests/stream.rs"]
mod stream;
#[path = "../../../session-http/web-tests/streaming.rs"]
mod streaming;
#[path = "../../../session-http/web-tests/support.rs"]
mod support;
#[path = "../../../session-http/web-tests/typed.rs"]
mod typed;
#[path = "../../../session-http/web-tests/unknown.rs"]
mod unknown;
