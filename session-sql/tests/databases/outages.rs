//! A server that goes and comes back, for the databases that have one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use session_core::{Backend, ErrorKind, Result};
use test_servers::Server;

use crate::common::{LIFE, create, key, kind, over, record, revision};

/// The handle's deadline: an outage must be known before.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);

/// Killed: every operation says so in time. Back: the very next one works.
pub(crate) async fn server_is_killed_and_comes_back(server: Server, backend: Arc<dyn Backend>) {
    let server = Arc::new(server);
    // Several connections, so that several are dead afterwards.
    use_at_once(&backend).await;
    blocking(&server, |server| server.kill()).await;
    let start = Instant::now();
    assert_eq!(kind(backend.load(&key(0)).await), ErrorKind::Unavailable);
    assert_eq!(kind(backend.save(&key(0), &record(2), over(1)).await), ErrorKind::Unavailable);
    assert!(start.elapsed() < DEADLINE * 2, "{:?}", start.elapsed());
    blocking(&server, |server| server.restart()).await;
    backend.save(&key(0), &record(2), over(1)).await.unwrap();
    assert_eq!(backend.load(&key(0)).await.unwrap().unwrap().record, record(2));

    // Restarted while nobody looked: nobody notices.
    use_at_once(&backend).await;
    blocking(&server, |server| server.restart()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    backend.save(&key(0), &record(3), over(2)).await.unwrap();
    use_at_once(&backend).await;
}

/// Stopped in its tracks: connections stay open and nothing answers.
pub(crate) async fn server_is_paused_and_goes_on(server: Server, backend: Arc<dyn Backend>) {
    let server = Arc::new(server);
    use_at_once(&backend).await;
    blocking(&server, |server| server.pause()).await;
    // The signal is sent; each of its threads stops a moment later.
    tokio::time::sleep(Duration::from_millis(200)).await;
    for _ in 0..2 {
        let start = Instant::now();
        assert_eq!(kind(backend.load(&key(0)).await), ErrorKind::Unavailable);
        assert!(start.elapsed() < DEADLINE, "{:?}", start.elapsed());
    }
    blocking(&server, |server| server.resume()).await;
    assert_eq!(backend.load(&key(0)).await.unwrap().unwrap().record, record(1));
    use_at_once(&backend).await;
}

/// Its connections are killed one and all: reads don't notice, a write says so at most once.
pub(crate) async fn connections_are_killed<F>(backend: Arc<dyn Backend>, kill: impl Fn() -> F)
where
    F: Future<Output = ()>,
{
    use_at_once(&backend).await;
    for _ in 0..3 {
        kill().await;
        backend.load(&key(1)).await.unwrap().unwrap();
        kill().await;
        if let Err(error) = backend.touch(&key(1), revision(1), LIFE).await {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        }
        backend.touch(&key(1), revision(1), LIFE).await.unwrap();
        use_at_once(&backend).await;
    }
}

/// Somebody holds the pool's only connection.
pub(crate) async fn pool_is_exhausted<C>(backend: impl Backend, held: C) {
    let start = Instant::now();
    let loaded = backend.load(&key(0)).await;
    assert!(loaded.as_ref().unwrap_err().message().contains("pool is exhausted"), "{loaded:?}");
    assert_eq!(kind(loaded), ErrorKind::Unavailable);
    let saved = backend.save(&key(0), &record(1), create()).await;
    assert!(saved.as_ref().unwrap_err().nothing_was_written(), "{saved:?}");
    assert!(start.elapsed() < DEADLINE * 2);
    drop(held);
    assert!(backend.load(&key(0)).await.unwrap().is_none());
}

/// `set` makes the database read-only, or writable again.
pub(crate) async fn database_is_read_only(backend: impl Backend, set: impl AsyncFn(&str)) {
    backend.save(&key(0), &record(1), create()).await.unwrap();
    set("on").await;
    for _ in 0..3 {
        let saved = backend.save(&key(0), &record(2), over(1)).await;
        assert!(saved.as_ref().unwrap_err().message().contains("read-only"), "{saved:?}");
        assert!(saved.as_ref().unwrap_err().nothing_was_written(), "{saved:?}");
        assert_eq!(kind(saved), ErrorKind::Unavailable);
        assert_eq!(backend.load(&key(0)).await.unwrap().unwrap().record, record(1));
    }
    set("off").await;
    backend.save(&key(0), &record(2), over(1)).await.unwrap();
}

/// Until `migrate` has made it.
pub(crate) async fn table_is_missing(
    backend: impl Backend,
    migrate: impl Future<Output = Result<()>>,
) {
    let loaded = backend.load(&key(0)).await;
    assert!(loaded.as_ref().unwrap_err().message().contains("migrate()"), "{loaded:?}");
    assert_eq!(kind(loaded), ErrorKind::InvalidConfig);
    assert_eq!(kind(backend.save(&key(0), &record(1), create()).await), ErrorKind::InvalidConfig);
    migrate.await.unwrap();
    backend.save(&key(0), &record(1), create()).await.unwrap();
}

/// `connect` does so as somebody whose password is `right`, or as nobody to a server that is none.
pub(crate) async fn password_is_wrong<B: Backend>(
    url: impl Fn(&str) -> String,
    scheme: &str,
    connect: impl AsyncFn(String) -> Result<B>,
) {
    let error = connect(url("zebra7")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error:?}");
    assert!(!format!("{error:?}").contains("zebra7"));
    connect(url("right")).await.unwrap();
    let nobody = connect(format!("{scheme}://nobody@127.0.0.1:1/x")).await;
    assert_eq!(kind(nobody), ErrorKind::Unavailable);
    assert_eq!(kind(connect("no url".to_owned()).await), ErrorKind::InvalidConfig);
}

async fn use_at_once(backend: &Arc<dyn Backend>) {
    if backend.load(&key(0)).await.unwrap().is_none() {
        for number in 0..16 {
            backend.save(&key(number), &record(1), create()).await.unwrap();
        }
    }
    let uses: Vec<_> = (1..16)
        .map(|number| {
            let backend = Arc::clone(backend);
            tokio::spawn(async move {
                let loaded = backend.load(&key(number)).await.unwrap().unwrap();
                backend.touch(&key(number), loaded.record.revision, LIFE).await.unwrap();
                backend.destroy(&key(1000), None).await.unwrap();
            })
        })
        .collect();
    for one in uses {
        one.await.unwrap();
    }
}

async fn blocking(server: &Arc<Server>, act: fn(&Server) -> std::io::Result<()>) {
    let server = Arc::clone(server);
    tokio::task::spawn_blocking(move || act(&server)).await.unwrap().unwrap();
}
