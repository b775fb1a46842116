//! Every request writes, over real HTTP: application servers and the load generator are processes of
//! their own, on one Redis or PostgreSQL.
//!
//! `cargo run --release --manifest-path benchmarks/peers/Cargo.toml --bin http -- --help`

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

/// The driver starts the program again in these roles.
#[derive(Subcommand)]
enum Role {
    #[command(hide = true)]
    Serve(serve::Serve),
    #[command(hide = true)]
    Load(load::Load),
}

/// Which sessions the application uses.
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
