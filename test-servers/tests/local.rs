//! Every kind of server starts, stops, pauses, restarts and cleans up after itself.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use test_servers::{Missing, Options, Origin, Server, mariadb, postgres, redis};

fn connects(server: &Server) -> bool {
    TcpStream::connect(server.address()).is_ok()
}

/// Kills and restarts a server of its own, then drops it.
fn lives_and_dies(started: Result<Server, Missing>) {
    let server = match started {
        Ok(server) => server,
        Err(missing) => return println!("SKIPPED: {missing}"),
    };
    assert_eq!(server.origin(), Origin::Local);
    assert!(connects(&server));
    server.kill().unwrap();
    assert!(!connects(&server));
    server.restart().unwrap();
    assert!(connects(&server));
    let directory = server.directory().unwrap().to_owned();
    assert!(directory.join("log").exists());
    let address = server.address().to_owned();
    drop(server);
    assert!(TcpStream::connect(address).is_err());
    assert!(!directory.exists());
}

#[test]
fn redis_lives_and_dies() {
    lives_and_dies(redis::start_new(Options::default()));
}

#[test]
fn postgres_lives_and_dies() {
    lives_and_dies(postgres::start_new(Options::default()));
}

#[test]
fn mariadb_lives_and_dies() {
    lives_and_dies(mariadb::start_new(Options::default()));
}

#[test]
fn shared_servers_start_once() {
    for (first, second) in [
        (redis::shared(), redis::shared()),
        (postgres::shared(), postgres::shared()),
        (mariadb::shared(), mariadb::shared()),
    ] {
        match (first, second) {
            (Ok(first), Ok(second)) => assert_eq!(first.url(), second.url()),
            (Err(missing), _) => println!("SKIPPED: {missing}"),
            _ => panic!("the same call gave two answers"),
        }
    }
}

#[test]
fn a_paused_redis_is_silent_until_it_resumes() {
    let server = match redis::start_new(Options::default()) {
        Ok(server) => server,
        Err(missing) => return println!("SKIPPED: {missing}"),
    };
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    server.pause().unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut reply = [0; 7];
    assert!(stream.read_exact(&mut reply).is_err());
    server.resume().unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"+PONG\r\n");
}
