//! What the log warns of.
#![allow(clippy::unwrap_used, reason = "a test's helpers are tests")]

#[path = "../web-tests/log.rs"]
mod log;

use std::future::Future;

use session_core::SessionStore;
use session_http::{CookieConfig, Exchange, Handle, RequestHeaders, Shared};
use session_memory::MemoryBackend;

use crate::log::Log;

/// The warnings while this runs.
fn warnings_of(run: impl FnOnce()) -> Vec<String> {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, run);
    log.text().lines().map(str::to_owned).collect()
}

fn store() -> SessionStore {
    SessionStore::new(MemoryBackend::new())
}

/// A request without headers.
struct NoHeaders;

impl RequestHeaders for NoHeaders {
    fn each<'a>(&'a self, _: &str, _: impl FnMut(&'a [u8])) {}
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

#[test]
fn a_cookie_for_plain_http_is_warned_of_once_in_a_process() {
    let warnings =
        warnings_of(|| drop(Shared::new(store()).with_cookie(CookieConfig::new()).unwrap()));
    assert_eq!(warnings, [""; 0]);
    let warnings = warnings_of(|| {
        for _ in 0..3 {
            drop(Shared::new(store()).with_cookie(CookieConfig::for_plain_http()).unwrap());
        }
    });
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("sent over plain HTTP"), "{warnings:?}");
}

#[test]
fn what_a_streaming_body_writes_to_a_new_session_is_warned_of() {
    for (writes, lines) in [(true, 1), (false, 0)] {
        let warnings = warnings_of(|| {
            run(async {
                let handle = Handle::new(Shared::new(store()), None, "GET", &NoHeaders);
                let mut exchange = Exchange::new(handle.clone());
                assert!(exchange.begin_to_save(false).is_none(), "nothing asked for the session");
                let trailing = exchange.into_trailing(false).unwrap();
                let session = handle.session().await.unwrap();
                if writes {
                    session.insert("value", "late").unwrap();
                }
                drop(trailing);
            });
        });
        assert_eq!(warnings.len(), lines, "{warnings:?}");
        assert!(warnings.iter().all(|line| line.contains("is lost") && !line.contains("late")));
    }
}
