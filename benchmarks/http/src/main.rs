//! Measures real HTTP requests that all write their session. The application servers and the load generator
//! are separate processes, with one Redis or PostgreSQL server.
//!
//! `cargo run --release --manifest-path benchmarks/http/Cargo.toml -- --help`

mod drive;
mod load;
mod serve;

use clap::{Parser, Subcommand, ValueEnum};

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    drive: drive::Drive,
}

/// The roles in which the driver starts this program again.
#[derive(Subcommand)]
enum Role {
    #[command(hide = true)]
    Serve(serve::Serve),
    #[command(hide = true)]
    Load(load::Load),
}

/// The session library of the application.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stack {
    /// session-tower.
    Ours,
    /// tower-sessions with its Redis or PostgreSQL store.
    TowerSessions,
}

fn main() {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be built");
    runtime.block_on(async {
        match args.role {
            None => drive::run(args.drive).await,
            Some(Role::Serve(serve)) => serve::run(serve).await,
            Some(Role::Load(load)) => load::run(load).await,
        }
    });
}
