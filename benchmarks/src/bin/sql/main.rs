//! Measures two design decisions of session-sql. Compared figures are measured in the same run.
//!
//! ```text
//! cargo run --release -p benchmarks --bin sql -- gc [ROWS] [DATABASE]…
//! cargo run --release -p benchmarks --bin sql -- hot
//! ```
//!
//! DATABASE is `sqlite`, `postgres` or `mariadb`; the default is all three. The default of ROWS is 1,000,000.
//! The program starts its own servers, with the default durability.

use std::error::Error;
use std::io::Write as _;

use session_core::{Bytes, Key, Record, Revision};
use test_servers::{Options, Server};

mod gc;
mod hot;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build()?.block_on(measure())
}

async fn measure() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (what, databases) = match arguments.split_first() {
        Some((what, [])) => (what.as_str(), vec!["sqlite", "postgres", "mariadb"]),
        Some((what, some)) => (what.as_str(), some.iter().map(String::as_str).collect()),
        None => return Err("name a measurement: gc or hot".into()),
    };
    match what {
        "gc" => {
            let (rows, named) = match databases.first().map(|first| first.parse()) {
                Some(Ok(rows)) => (rows, &databases[1..]),
                _ => (1_000_000, &databases[..]),
            };
            let all = ["sqlite", "postgres", "mariadb"];
            gc::all(rows, if named.is_empty() { &all } else { named }).await
        }
        "hot" => hot::postgres().await,
        other => Err(format!("there is no measurement {other}: name gc or hot").into()),
    }
}

fn say(line: &str) {
    // An error means that the pipe is closed.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The load average of the last minute, if the system reports it.
fn load_average() -> String {
    let read = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    read.split_whitespace().next().unwrap_or("?").to_owned()
}

fn postgres() -> Outcome<Server> {
    test_servers::postgres::start_new(Options::default().durable(true))
        .map_err(|e| e.to_string().into())
}

fn mariadb() -> Outcome<Server> {
    // The default size, 128 MiB, is for a machine that also runs other programs.
    let options = Options::default().durable(true).set("innodb-buffer-pool-size", "1G");
    test_servers::mariadb::start_new(options).map_err(|e| e.to_string().into())
}

fn key(number: usize) -> Key {
    let mut bytes = [0; 32];
    // Distributed like a digest.
    let spread = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bytes[..8].copy_from_slice(&spread.to_be_bytes());
    bytes[8..16].copy_from_slice(&(number as u64).to_be_bytes());
    Key::from_bytes(bytes)
}

fn record(revision: u64) -> Record {
    Record {
        payload: Bytes::from(vec![b'x'; 460]),
        revision: Revision::from_u64(revision),
        owner: None,
    }
}
