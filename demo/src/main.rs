//! A small web application on any session store: `cargo run -p demo`, then open what it prints.

mod options;
mod pages;
mod panel;
mod routes;
mod same_origin;
mod sign_in;
mod stores;

use std::error::Error;
use std::io::Write as _;

use clap::Parser as _;
use options::Options;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let options = Options::parse();
    let store = stores::open(&options).await?;
    let router = routes::router(store.clone(), options.cookie())?;
    let listener = tokio::net::TcpListener::bind(options.listen).await?;
    let address = listener.local_addr()?;
    writeln!(std::io::stdout(), "http://{address}/ (sessions in: {})", store.backend_name())?;
    // It may be killed at any moment: a session is saved before its response is sent.
    axum::serve(listener, router).await?;
    Ok(())
}
