//! rediss:// to a server whose certificate the system trusts, and to one that it does not.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]
#![cfg(feature = "tls")]

mod support;

use std::path::Path;
use std::process::Command;

use session_core::ErrorKind;
use session_redis::RedisBackend;
use support::{create, kind, load};
use test_servers::{Missing, Options};

/// The URL of the server, in the process that trusts its certificate: what the system trusts is read
/// from the environment, which a test must not change for others.
const TRUSTING: &str = "SESSION_REDIS_TRUSTING";

#[tokio::test(flavor = "multi_thread")]
async fn tls_serves_who_trusts_the_certificate() {
    if let Ok(url) = std::env::var(TRUSTING) {
        let backend = RedisBackend::connect(&url).await.unwrap();
        create(&backend, 1, 1).await.unwrap();
        assert_eq!(load(&backend, 1).await.unwrap(), Some(1));
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    if !certify(directory.path()) {
        return println!("SKIPPED: openssl is not installed");
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let file = |name: &str| directory.path().join(name).display().to_string();
    let options = Options::default()
        .set("tls-port", port.to_string())
        .set("tls-cert-file", file("cert.pem"))
        .set("tls-key-file", file("key.pem"))
        .set("tls-ca-cert-file", file("cert.pem"))
        .set("tls-auth-clients", "no");
    let started = support::start(|| match test_servers::redis::start_new(options) {
        // A server that was built without TLS knows none of its settings.
        Err(missing) if missing.what.contains("Bad directive") => Err(Missing {
            what: "TLS is not installed with this redis-server".to_owned(),
            ..missing
        }),
        started => started,
    });
    let Some(_server) = started.await else { return };
    let url = format!("rediss://127.0.0.1:{port}/");
    assert_eq!(kind(RedisBackend::connect(&url).await), Some(ErrorKind::Unavailable));
    let trusting = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tls_serves_who_trusts_the_certificate", "--nocapture"])
        .env(TRUSTING, &url)
        .env("SSL_CERT_FILE", file("cert.pem"))
        .output()
        .unwrap();
    assert!(trusting.status.success(), "{trusting:?}");
}

/// A key and a certificate for 127.0.0.1.
fn certify(directory: &Path) -> bool {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(directory)
        .output();
    made.is_ok_and(|output| output.status.success())
}
