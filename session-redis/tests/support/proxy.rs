//! A proxy that can stop to forward.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

/// Forwards connections until told to stop; what is open then stays open and silent.
pub(crate) struct Proxy {
    pub(crate) url: String,
    pub(crate) stopped: Arc<AtomicBool>,
}

impl Proxy {
    pub(crate) async fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}/", listener.local_addr().unwrap());
        let stopped = Arc::new(AtomicBool::new(false));
        let (server, current) = (server.to_owned(), Arc::clone(&stopped));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(forward(client, server, Arc::clone(&current)));
            }
        });
        Self { url, stopped }
    }
}

async fn forward(mut client: TcpStream, mut server: TcpStream, stopped: Arc<AtomicBool>) {
    let until_stopped = async {
        while !stopped.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        () = until_stopped => tokio::time::sleep(Duration::from_secs(60)).await,
    }
}
