//! Logs hold no secrets. The test has its own process because a trace log belongs to the whole process.
#![allow(clippy::unwrap_used, reason = "a test's helpers are tests")]

#[allow(dead_code, unused_imports, reason = "shared with the other tests")]
#[path = "web/app.rs"]
mod app;
#[path = "../../session-http/web-tests/log.rs"]
mod log;
#[path = "../../session-http/web-tests/stream.rs"]
mod stream;
#[allow(dead_code, reason = "shared with the other tests")]
#[path = "../../session-http/web-tests/support.rs"]
mod support;

use session_core::{ErrorKind, SessionId};

use crate::app::start;
use crate::log::Log;
use crate::support::Probe;

/// Spring CVE-2023-20866.
#[tokio::test]
async fn spring_cve_2023_20866_no_cookie_value_in_a_trace_log() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let probe = Probe::default();
    let mut client = start(&probe).await;
    let mut ids = Vec::new();
    ids.extend(client.get("/set/value/s3cret-value").await.session_cookie());
    ids.extend(client.get("/login/ann").await.session_cookie());
    for (operation, kind) in [
        ("load", ErrorKind::Corrupt),
        ("load", ErrorKind::Unavailable),
        ("save", ErrorKind::Other),
        ("destroy", ErrorKind::Unavailable),
    ] {
        probe.fail(operation, kind);
        client.get("/set/value/s3cret-value").await;
        client.get("/logout").await;
    }
    probe.recover();
    client.get("/logout").await;

    let log = log.text();
    assert!(log.contains("told to fail") && log.contains("the probe's cause"), "the log says why");
    assert!(log.matches('\n').count() > 20, "the log is at trace level");
    // The client's library logs the URL of the request, which holds the value; the server's lines do not.
    let server = log.lines().filter(|line| line.contains("session_"));
    assert!(server.clone().count() > 5);
    assert!(server.clone().all(|line| !line.contains("s3cret-value")));
    assert_eq!(ids.len(), 2);
    for id in &ids {
        let bytes = *SessionId::parse(id).unwrap().expose_bytes();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        for spelling in [id.clone(), hex.to_uppercase(), hex, format!("{bytes:?}")] {
            assert!(!log.contains(&spelling));
        }
    }
}
