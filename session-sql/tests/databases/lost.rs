//! A network that loses a connection: neither end is told, and both remain open.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use session_core::{Backend, Update, UpdateItem};
use session_sql::MySqlBackend;
use test_servers::Options;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::common::{create, key, over, record, revision};

/// How long MariaDB keeps a transaction of a lost connection, and a moment more.
const PATIENCE: Duration = Duration::from_secs(5);

/// A forwarder that loses each connection once the rows are locked: it forwards the statement that locks them and
/// nothing after it.
async fn losing_after_the_lock(server: String) -> (SocketAddr, Arc<AtomicBool>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (address, lost) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
    let tells = Arc::clone(&lost);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let lost = Arc::clone(&tells);
            let server = TcpStream::connect(&server).await.unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::spawn(forward(from_server, to_client));
            tokio::spawn(forward_until_locked(from_client, to_server, lost));
        }
    });
    (address, lost)
}

async fn forward(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let _ = tokio::io::copy(&mut from, &mut to).await;
}

async fn forward_until_locked(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    lost: Arc<AtomicBool>,
) {
    let mut bytes = vec![0; 64 * 1024];
    let mut prepared = false;
    loop {
        let Ok(length @ 1..) = from.read(&mut bytes).await else {
            return;
        };
        to.write_all(&bytes[..length]).await.unwrap();
        if prepared {
            lost.store(true, Ordering::SeqCst);
            // The server's end stays open, whatever the client does.
            std::future::pending::<()>().await;
        }
        prepared = bytes[..length].windows(10).any(|text| text == b"FOR UPDATE");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_lost_within_a_transaction_locks_no_rows_for_long() {
    let server = test_servers::mariadb::start_new(Options::default()).expect("MariaDB");
    let direct = MySqlBackend::connect(server.url()).await.unwrap();
    direct.migrate().await.unwrap();
    for number in 0..2 {
        direct.save(&key(number), &record(1), create()).await.unwrap();
    }
    let (address, lost) = losing_after_the_lock(server.address().to_owned()).await;
    let url = server.url().replace(server.address(), &address.to_string());
    let through = MySqlBackend::connect(&url).await.unwrap();
    let items: Vec<_> = (0..2)
        .map(|number| UpdateItem {
            key: key(number),
            record: record(2),
            update: Update { expected: revision(1), ttl: None },
        })
        .collect();
    let batch = through.batch().unwrap();
    // The application gives up as soon as the rows are locked.
    tokio::select! {
        results = batch.update_many(&items) => panic!("the connection is lost, but: {results:?}"),
        () = async {
            while !lost.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        } => {}
    }
    let freed = tokio::time::timeout(PATIENCE, async {
        while direct.save(&key(0), &record(3), over(1)).await.is_err() {}
    });
    freed.await.expect("the rows are still locked");
}
