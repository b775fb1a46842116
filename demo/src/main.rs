//! A small web application on any session store: run `cargo run -p demo` and open the printed URL.

mod app;
mod devices;
mod lab;
mod naive;
mod options;
mod outage;
mod pages;
mod panel;
mod routes;
mod sign_in;
mod stores;
mod theme;
mod watch;

use std::error::Error;
use std::io::{Write as _, stderr, stdout};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use app::App;
use naive::NaiveStore;
use options::Options;
use outage::Outage;

/// The limits of the histogram of times, in seconds.
const BUCKETS: [f64; 8] = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.25, 1.0];

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
    // Before the first operation of a store, which looks for a recorder.
    let metrics = record()?;
    let outage = Outage::default();
    let first = stores::open(&options, &outage).await?;
    let name = first.store.backend_name();
    let listeners = listen(options.listen, options.servers).await?;
    let addresses: Result<Vec<_>, _> = listeners.iter().map(TcpListener::local_addr).collect();
    let servers: Arc<[String]> =
        addresses?.iter().map(|address| format!("http://{address}")).collect();
    let mut running = JoinSet::new();
    for (place, listener) in listeners.into_iter().enumerate() {
        // Each server has its own connections, but where the sessions are in this process.
        let opened = match place == 0 || options.is_in_process() {
            true => first.clone(),
            false => stores::open(&options, &outage).await?,
        };
        let app = App {
            store: opened.store,
            records: opened.records,
            outage: outage.clone(),
            naive: NaiveStore::default(),
            servers: Arc::clone(&servers),
            place,
            metrics: metrics.clone(),
        };
        let router = routes::router(app, options.cookie())?;
        // Every session is saved before its response is sent, so this is for the visitors only.
        let end = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
        running.spawn(axum::serve(listener, router).with_graceful_shutdown(end).into_future());
    }
    for url in &*servers {
        writeln!(stdout(), "{url}/ (sessions in: {name})")?;
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    Ok(())
}

/// Installs the recorder of the page `/metrics`.
fn record() -> Result<PrometheusHandle, Box<dyn Error>> {
    let recorder = PrometheusBuilder::new().set_buckets(&BUCKETS)?.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|error| error.to_string())?;
    Ok(handle)
}

/// The second server and the following ones get free ports.
async fn listen(address: SocketAddr, servers: u8) -> std::io::Result<Vec<TcpListener>> {
    let mut listeners = vec![TcpListener::bind(address).await?];
    for _ in 1..servers {
        listeners.push(TcpListener::bind((address.ip(), 0)).await?);
    }
    Ok(listeners)
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
