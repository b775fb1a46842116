//! Starts the database, the application servers and the load generator, and prints the table.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use clap::{Args, ValueEnum as _};
use test_servers::{Missing, Options, Server};

use crate::Stack;

#[derive(Args)]
pub(crate) struct Drive {
    /// redis or postgres.
    #[arg(long, default_value = "redis")]
    backend: String,
    /// Numbers of sessions, each for a row of the table.
    #[arg(long, value_delimiter = ',', default_values_t = [16, 256, 2048, 8192])]
    sessions: Vec<usize>,
    /// Application servers, each in its own process.
    #[arg(long, default_value_t = 1)]
    servers: usize,
    /// Connections to all servers together.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// How long each stack is measured in each round of a row.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// The number of rounds, in which the stacks alternate.
    #[arg(long, default_value_t = 2)]
    rounds: usize,
}

pub(crate) async fn run(drive: Drive) {
    println!(
        "| backend | servers | sessions | stack | requests/s | p50 ms | p99 ms | lost | other |"
    );
    println!("|---|--:|--:|---|--:|--:|--:|--:|--:|");
    for sessions in &drive.sessions {
        for _ in 0..drive.rounds {
            for stack in [Stack::Ours, Stack::TowerSessions] {
                row(&drive, *sessions, stack);
            }
        }
    }
}

fn row(drive: &Drive, sessions: usize, stack: Stack) {
    let database = database(&drive.backend);
    let name = stack.to_possible_value().expect("no stack is hidden").get_name().to_owned();
    let apps: Vec<_> = (0..drive.servers).map(|_| App::start(&name, database.url())).collect();
    let ports: Vec<_> = apps.iter().map(|app| app.port.to_string()).collect();
    let load = program()
        .args(["load", "--ports", &ports.join(",")])
        .args(["--connections", &(drive.connections / drive.servers).to_string()])
        .args(["--sessions", &sessions.to_string()])
        .args(["--seconds", &drive.seconds.to_string()])
        .output()
        .expect("the program starts");
    assert!(load.status.success(), "{}", String::from_utf8_lossy(&load.stderr));
    let figures = String::from_utf8_lossy(&load.stdout).into_owned();
    let figures: Vec<f64> =
        figures.split_whitespace().map(|figure| figure.parse().expect("a number")).collect();
    let [rate, p50, p99, acknowledged, other, counted] = figures[..] else {
        panic!("the load generator printed {figures:?}");
    };
    println!(
        "| {} | {} | {sessions} | {name} | {rate:.0} | {:.2} | {:.2} | {} | {other} |",
        drive.backend,
        drive.servers,
        p50 / 1000.0,
        p99 / 1000.0,
        acknowledged - counted,
    );
}

fn database(backend: &str) -> Server {
    let start = |start: fn(Options) -> Result<Server, Missing>, durable| {
        start(Options::default().durable(durable)).unwrap_or_else(|missing| panic!("{missing}"))
    };
    match backend {
        "redis" => start(test_servers::redis::start_new, false),
        "postgres" => start(test_servers::postgres::start_new, true),
        other => panic!("{other} is neither redis nor postgres"),
    }
}

fn program() -> Command {
    Command::new(std::env::current_exe().expect("this program has a path"))
}

/// An application server in its own process.
struct App {
    process: Child,
    port: u16,
}

impl App {
    fn start(stack: &str, url: &str) -> Self {
        let mut process = program()
            .args(["serve", "--stack", stack, "--url", url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let output = process.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut line).expect("the server prints its port");
        let port = line.trim().parse().expect("the server prints its port");
        Self { process, port }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
