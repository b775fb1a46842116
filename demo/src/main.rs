//! A small web application on any session store: run `cargo run -p demo` and open the printed URL.

mod devices;
mod options;
mod pages;
mod panel;
mod routes;
mod sign_in;
mod stores;
mod theme;

use std::error::Error;
use std::io::{Write as _, stderr, stdout};
use std::process::ExitCode;

use clap::Parser as _;
use options::Options;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(stderr).init();
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(stderr(), "The demo can't run: {}", sentence(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let store = stores::open(&options).await?;
    let router = routes::router(store.clone(), options.cookie())?;
    let listener = tokio::net::TcpListener::bind(options.listen).await?;
    let address = listener.local_addr()?;
    writeln!(stdout(), "http://{address}/ (sessions in: {})", store.backend_name())?;
    // Every session is saved before its response is sent, so this is for the visitors only.
    let end = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
    axum::serve(listener, router).with_graceful_shutdown(end).await?;
    Ok(())
}

/// The text of an error and its causes.
fn sentence(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
