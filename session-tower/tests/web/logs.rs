//! Nothing secret in logs.

use std::io;
use std::sync::{Arc, Mutex};

use session_core::{ErrorKind, SessionId};
use tracing_subscriber::fmt::MakeWriter;

use crate::app::start;
use crate::support::Probe;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Spring CVE-2023-20866. Everything happens on this test's thread, so the log has all of it.
#[tokio::test]
async fn spring_cve_2023_20866_no_cookie_value_in_a_trace_log() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let probe = Probe::default();
    let mut client = start(&probe).await;
    let mut secrets = vec!["s3cret-value".to_owned()];
    secrets.extend(client.get("/set/value/s3cret-value").await.session_cookie());
    secrets.extend(client.get("/login/ann").await.session_cookie());
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

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("told to fail") && log.contains("the probe's cause"), "the log says why");
    assert!(log.matches('\n').count() > 20, "the log is at trace level");
    assert!(secrets.len() >= 3);
    // The client's own library logs what it sends (its URL and headers), so only the server's lines
    // count.
    let server: String = log.lines().filter(|line| line.contains("session")).collect();
    for secret in &secrets {
        assert!(!server.contains(secret.as_str()));
        let Some(id) = SessionId::parse(secret) else { continue };
        let hex: String = id.expose_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let decimal = format!("{:?}", id.expose_bytes());
        assert!(!log.contains(secret.as_str()) && !log.contains(&hex) && !log.contains(&decimal));
    }
}
