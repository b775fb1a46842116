//! A TCP proxy between a store and its server, which can break the connections in several ways.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

pub(crate) struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Open,
    /// All connections are closed, and new ones are closed at once.
    Cut,
    /// Nothing is forwarded; connections stay open.
    Stalled,
}

#[derive(Clone, Copy)]
struct State {
    mode: Mode,
    /// Connections with a lower number stay open and forward nothing any more, as after a router has
    /// forgotten them.
    lost_below: u64,
    next: u64,
}

impl Proxy {
    /// A proxy in front of `server`, on a free port of this machine.
    pub(crate) async fn start(server: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (state, _) = watch::channel(State { mode: Mode::Open, lost_below: 0, next: 0 });
        let (states, server) = (state.clone(), server.to_owned());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mut number = 0;
                states.send_modify(|state| {
                    number = state.next;
                    state.next += 1;
                });
                let (states, server) = (states.subscribe(), server.clone());
                tokio::spawn(async move {
                    // The client sees a closed connection.
                    let _ = forward(client, &server, number, states).await;
                });
            }
        });
        Ok(Self { address, state })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.state.send_modify(|state| state.mode = mode);
    }

    /// The connections that exist now are lost, and nobody is told.
    pub(crate) fn lose_connections(&self) {
        self.state.send_modify(|state| state.lost_below = state.next);
    }
}

impl State {
    fn forwards(&self, number: u64) -> bool {
        self.mode == Mode::Open && number >= self.lost_below
    }
}

async fn forward(
    client: TcpStream,
    server: &str,
    number: u64,
    mut states: watch::Receiver<State>,
) -> io::Result<()> {
    if states.borrow().mode == Mode::Cut {
        return Ok(());
    }
    let _ = states.wait_for(|state| state.mode != Mode::Stalled).await;
    let server = timeout(Duration::from_secs(5), TcpStream::connect(server)).await??;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
    let mut cut = states.clone();
    tokio::select! {
        ended = pump(from_client, to_server, number, states.clone()) => ended,
        ended = pump(from_server, to_client, number, states) => ended,
        _ = cut.wait_for(|state| state.mode == Mode::Cut) => Ok(()),
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    number: u64,
    mut states: watch::Receiver<State>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        let _ = states.wait_for(|state| state.forwards(number)).await;
        if length == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..length]).await?;
    }
}
