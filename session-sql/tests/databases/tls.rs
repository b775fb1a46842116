//! Encrypted connections to servers that have a certificate of their own.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use session_core::{Backend, ErrorKind, Result};
use session_sql::{MySqlBackend, PostgresBackend};
use sqlx::{AssertSqlSafe, Executor as _, MySqlPool, PgPool, Row as _};
use tempfile::TempDir;
use test_servers::{Options, mariadb, postgres};

use crate::common::{create, key, kind, record};

/// Once with the server's certificate to trust, once with another one of the same name.
#[tokio::test]
async fn postgres_serves_who_trusts_its_certificate() {
    let (ours, other) = (certificate(), certificate());
    let server = postgres::start_new(Options::default()).expect("PostgreSQL");
    let admin = PgPool::connect(server.url()).await.unwrap();
    let data: String = admin.fetch_one("SHOW data_directory").await.unwrap().get(0);
    // PostgreSQL accepts a key that is its own only.
    for name in ["cert.pem", "key.pem"] {
        let path = Path::new(&data).join(name);
        std::fs::copy(ours.path().join(name), &path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        let owner = std::fs::metadata(&data).unwrap();
        chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    for set in [
        "ALTER SYSTEM SET ssl_cert_file = 'cert.pem'",
        "ALTER SYSTEM SET ssl_key_file = 'key.pem'",
        "ALTER SYSTEM SET ssl = on",
        "SELECT pg_reload_conf()",
    ] {
        admin.execute(set).await.unwrap();
    }
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let base = server.url().replace("postgres@", "postgres:zebra7@");
    let url = |mode: &str, trusted: &TempDir| {
        format!("{base}?sslmode={mode}&sslrootcert={}", certificate_file(trusted))
    };
    for mode in ["verify-ca", "verify-full"] {
        let backend = PostgresBackend::connect(&url(mode, &ours)).await.unwrap();
        backend.migrate().await.unwrap();
        let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        assert!(backend.pool().fetch_one(encrypted).await.unwrap().get::<bool, _>(0));
        serves(&backend).await;
        refuses(PostgresBackend::connect(&url(mode, &other)).await);
        refuses(PostgresBackend::connect(&format!("{base}?sslmode={mode}")).await);
    }
    // One that offers no encryption is not spoken to in the clear.
    admin.execute("ALTER SYSTEM SET ssl = off").await.unwrap();
    admin.execute("SELECT pg_reload_conf()").await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    refuses(PostgresBackend::connect(&url("verify-full", &ours)).await);
}

#[tokio::test]
async fn mariadb_serves_who_trusts_its_certificate() {
    let (ours, other) = (certificate(), certificate());
    let file = |name| ours.path().join(name).display().to_string();
    let options =
        Options::default().set("ssl-cert", file("cert.pem")).set("ssl-key", file("key.pem"));
    let server = mariadb::start_new(options).expect("MariaDB");
    let admin = MySqlPool::connect(server.url()).await.unwrap();
    let user = "GRANT ALL ON sessions.* TO somebody IDENTIFIED BY 'zebra7' REQUIRE SSL";
    admin.execute(AssertSqlSafe(user)).await.unwrap();
    let base = server.url().replace("root@", "somebody:zebra7@");
    let url = |mode: &str, trusted: &TempDir| {
        format!("{base}?ssl-mode={mode}&ssl-ca={}", certificate_file(trusted))
    };
    for mode in ["VERIFY_CA", "VERIFY_IDENTITY"] {
        let backend = MySqlBackend::connect(&url(mode, &ours)).await.unwrap();
        backend.migrate().await.unwrap();
        let cipher = backend.pool().fetch_one("SHOW STATUS LIKE 'Ssl_cipher'").await.unwrap();
        assert!(!cipher.get::<String, _>(1).is_empty());
        serves(&backend).await;
        refuses(MySqlBackend::connect(&url(mode, &other)).await);
        refuses(MySqlBackend::connect(&format!("{base}?ssl-mode={mode}")).await);
    }
}

async fn serves(backend: &impl Backend) {
    backend.destroy(&key(0), None).await.unwrap();
    backend.save(&key(0), &record(1), create()).await.unwrap();
    assert_eq!(backend.load(&key(0)).await.unwrap().unwrap().record, record(1));
}

fn refuses<B: Backend>(connected: Result<B>) {
    let error = connected.unwrap_err();
    assert!(!format!("{error:?} {error:#?} {error}").contains("zebra7"));
    assert!(error.message().contains("certificate"), "{error:?}");
    assert_eq!(kind::<B>(Err(error)), ErrorKind::InvalidConfig);
}

/// A key and a certificate for 127.0.0.1, which another user's server can read.
fn certificate() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(directory.path())
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{made:?}");
    for (name, mode) in [("", 0o755), ("key.pem", 0o644), ("cert.pem", 0o644)] {
        let path = directory.path().join(name);
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }
    directory
}

fn certificate_file(directory: &TempDir) -> String {
    directory.path().join("cert.pem").display().to_string()
}
