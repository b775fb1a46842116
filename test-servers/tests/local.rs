//! Starts, pauses, kills and restarts each kind of server, and checks that it is cleaned up.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use test_servers::{Missing, Options, Origin, Server, mariadb, postgres, redis};

/// A test may be skipped only if a program is not installed, and in strict mode never.
fn skip(missing: &Missing) {
    let strict = std::env::var_os("CONFORMANCE_STRICT").is_some_and(|value| value == "1");
    assert!(missing.what.contains("not installed") && !strict, "{missing}");
    println!("SKIPPED: {missing}");
}

fn connects(server: &Server) -> bool {
    TcpStream::connect(server.address()).is_ok()
}

/// Kills and restarts a server, then drops it.
fn kills_and_restarts(started: Result<Server, Missing>) {
    let server = match started {
        Ok(server) => server,
        Err(missing) => return skip(&missing),
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
fn redis_is_killed_and_restarted() {
    kills_and_restarts(redis::start_new(Options::default()));
}

#[test]
fn postgres_is_killed_and_restarted() {
    kills_and_restarts(postgres::start_new(Options::default()));
}

#[test]
fn mariadb_is_killed_and_restarted() {
    kills_and_restarts(mariadb::start_new(Options::default()));
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
            (Err(missing), _) => skip(missing),
            _ => panic!("the same call gave two answers"),
        }
    }
}

#[test]
fn a_paused_redis_does_not_answer_until_it_resumes() {
    let server = match redis::start_new(Options::default()) {
        Ok(server) => server,
        Err(missing) => return skip(&missing),
    };
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    server.pause().unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut reply = [0; 7];
    assert!(stream.read_exact(&mut reply).is_err());
    server.resume().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"+PONG\r\n");
}

#[test]
fn a_cluster_replaces_a_dead_master() {
    let cluster = match redis::cluster::start_new(3, 1) {
        Ok(cluster) => cluster,
        Err(missing) => return skip(&missing),
    };
    assert_eq!(cluster.nodes().count(), 6);
    assert_eq!(cluster.masters().count(), 3);
    let master = cluster.masters().next().unwrap();
    master.kill().unwrap();
    let started = Instant::now();
    while cluster.masters().count() < 3 {
        assert!(started.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(100));
    }
    cluster.wait_until_healthy().unwrap();
}

#[test]
fn sentinels_find_each_other() {
    match redis::sentinel::start_new() {
        Ok(sentinels) => assert_eq!(sentinels.urls().len(), 3),
        Err(missing) => skip(&missing),
    }
}

/// Set in the process that [`servers_end_with_a_killed_process`] starts and kills.
const CHILD: &str = "TEST_SERVERS_VICTIM";

#[test]
fn servers_end_with_a_killed_process() {
    if std::env::var_os(CHILD).is_some() {
        let server = redis::start_new(Options::default()).unwrap();
        println!("\nserver {}", server.address());
        std::thread::sleep(Duration::from_secs(60));
        return;
    }
    if let Err(missing) = redis::start_new(Options::default()) {
        return skip(&missing);
    }
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "servers_end_with_a_killed_process", "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let address = BufReader::new(victim.stdout.take().unwrap())
        .lines()
        .find_map(|line| Some(line.unwrap().strip_prefix("server ")?.to_owned()))
        .unwrap();
    assert!(TcpStream::connect(&address).is_ok());
    victim.kill().unwrap();
    victim.wait().unwrap();
    let killed = Instant::now();
    while TcpStream::connect(&address).is_ok() {
        assert!(killed.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(20));
    }
}
