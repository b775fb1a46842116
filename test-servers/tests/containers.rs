//! The containers, where a Docker engine answers and has the images (`scripts/build-test-images.sh`).
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]
#![cfg(feature = "containers")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use test_servers::{Missing, Origin, Server, mariadb, postgres, redis};

/// Only an engine or an image that is not there excuses a test, and with `SESSION_TEST_CONTAINERS=1`,
/// which `scripts/test.sh` sets where Docker answers, not even that.
fn start(image: &str, start: fn() -> Result<Server, Missing>) -> Option<Server> {
    let inspected = Command::new("docker").args(["image", "inspect", image]).output();
    if inspected.is_ok_and(|output| output.status.success()) {
        return Some(start().unwrap_or_else(|missing| panic!("{missing}")));
    }
    let wanted = std::env::var_os("SESSION_TEST_CONTAINERS").is_some_and(|value| value == "1");
    assert!(
        !wanted,
        "no Docker engine, or not the image {image}: run scripts/build-test-images.sh"
    );
    println!("SKIPPED: no Docker engine, or not the image {image}");
    None
}

/// Kills, restarts, pauses and resumes a server that answers to `hello`, and removes it.
fn lives_and_dies(server: Server, hello: &[u8]) {
    assert_eq!(server.origin(), Origin::Container);
    let greeting = |server: &Server| -> std::io::Result<()> {
        // Whatever it says, it speaks: a proxy of the engine may accept for a dead one.
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
fn redis_lives_and_dies() {
    if let Some(server) = start("redis:7", redis::start_container) {
        lives_and_dies(server, b"PING\r\n");
    }
}

#[test]
fn postgres_lives_and_dies() {
    if let Some(server) = start("postgres:15", postgres::start_container) {
        lives_and_dies(server, b"\0\0\0\x08\x04\xd2\x16\x2f");
    }
}

#[test]
fn mariadb_lives_and_dies() {
    if let Some(server) = start("mariadb:10.11", mariadb::start_container) {
        lives_and_dies(server, b"");
    }
}
