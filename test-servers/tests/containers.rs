//! Tests of the containers. They need a Docker engine with the images
//! (`scripts/build-test-images.sh`).
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]
#![cfg(feature = "containers")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use test_servers::{Missing, Origin, Server, mariadb, postgres, redis};

/// A test may be skipped only if the engine or the image is missing. With
/// `SESSION_TEST_CONTAINERS=1`, which `scripts/test.sh` sets if Docker answers, it is never
/// skipped.
fn start(image: &str, start: fn() -> Result<Server, Missing>) -> Option<Server> {
    let inspected = Command::new("docker").args(["image", "inspect", image]).output();
    if inspected.is_ok_and(|output| output.status.success()) {
        return Some(start().unwrap_or_else(|missing| panic!("{missing}")));
    }
    let wanted = std::env::var_os("SESSION_TEST_CONTAINERS").is_some_and(|value| value == "1");
    assert!(!wanted, "no Docker engine or no image {image}: run scripts/build-test-images.sh");
    println!("SKIPPED: no Docker engine or no image {image}");
    None
}

/// Pauses, resumes, kills and restarts a server that answers to `hello`, and removes it.
fn kills_and_restarts(server: Server, hello: &[u8]) {
    assert_eq!(server.origin(), Origin::Container);
    let greeting = |server: &Server| -> std::io::Result<()> {
        // Any answer counts. An accepted connection does not, because a proxy of the engine may
        // accept it for a dead server.
        let mut stream = TcpStream::connect(server.address())?;
        stream.set_read_timeout(Some(Duration::from_millis(500)))?;
        stream.write_all(hello)?;
        stream.read_exact(&mut [0])
    };
    greeting(&server).unwrap();
    server.pause().unwrap();
    assert!(greeting(&server).is_err());
    server.resume().unwrap();
    greeting(&server).unwrap();
    server.kill().unwrap();
    assert!(greeting(&server).is_err());
    server.restart().unwrap();
    greeting(&server).unwrap();
    let address = server.address().to_owned();
    drop(server);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn redis_is_killed_and_restarted() {
    if let Some(server) = start("redis:7", redis::start_container) {
        kills_and_restarts(server, b"PING\r\n");
    }
}

#[test]
fn postgres_is_killed_and_restarted() {
    if let Some(server) = start("postgres:15", postgres::start_container) {
        kills_and_restarts(server, b"\0\0\0\x08\x04\xd2\x16\x2f");
    }
}

#[test]
fn mariadb_is_killed_and_restarted() {
    if let Some(server) = start("mariadb:10.11", mariadb::start_container) {
        kills_and_restarts(server, b"");
    }
}
