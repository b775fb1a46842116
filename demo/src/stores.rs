//! Opens the session store. No other part of the application depends on the kind of store.

use std::sync::Arc;

use session_cookie::{CookieStore, SecretKey};
use session_core::{Backend, Error, Result, SessionStore};
use session_file::FileBackend;
use session_memory::MemoryBackend;
use session_redis::RedisBackend;
use session_sql::{MySqlBackend, PostgresBackend, SqliteBackend};

use crate::options::Options;
use crate::outage::{Outage, Stoppable};

/// The store, and its records if it has any.
#[derive(Clone)]
pub(crate) struct Opened {
    pub(crate) store: SessionStore,
    pub(crate) records: Option<Arc<dyn Backend>>,
}

/// Opens the store that `--store` names.
pub(crate) async fn open(options: &Options, outage: &Outage) -> Result<Opened> {
    let url = options.store.as_str();
    let (kind, rest) = url.split_once(':').unwrap_or((url, ""));
    if kind == "cookie" {
        let store = SessionStore::new_cookie(cookie_store(options.cookie_name(), rest)?);
        return Ok(Opened { store: store.with_config(options.config())?, records: None });
    }
    let records = backend(kind, url, rest).await?;
    // An application has no `Stoppable` and gives the backend to `SessionStore::new`.
    let backend = Stoppable { store: Arc::clone(&records), outage: outage.clone() };
    let store = SessionStore::new(backend).with_config(options.config())?;
    Ok(Opened { store, records: Some(records) })
}

async fn backend(kind: &str, url: &str, rest: &str) -> Result<Arc<dyn Backend>> {
    Ok(match kind {
        "memory" => Arc::new(MemoryBackend::new()),
        "file" => Arc::new(FileBackend::open(rest)?),
        "sqlite" => {
            let backend = SqliteBackend::connect(url).await?;
            backend.migrate().await?;
            Arc::new(backend)
        }
        "postgres" | "postgresql" => {
            let backend = PostgresBackend::connect(url).await?;
            backend.migrate().await?;
            Arc::new(backend)
        }
        "mysql" | "mariadb" => {
            let backend = MySqlBackend::connect(url).await?;
            backend.migrate().await?;
            Arc::new(backend)
        }
        // Also rediss, unix, redis+cluster, redis+sentinel and so on.
        _ if kind.starts_with("redis") || kind == "unix" => {
            Arc::new(RedisBackend::connect(url).await?)
        }
        _ => {
            return Err(Error::invalid_config(format!(
                "there is no store of the kind {kind:?}: --help lists the kinds"
            )));
        }
    })
}

/// Signed cookies. The revocation marks are stored beside the key file. A generated key is lost with the
/// process, and all its cookies become invalid, so its revocation marks can be kept in memory.
fn cookie_store(cookie_name: &'static str, key_file: &str) -> Result<CookieStore> {
    let signed = |key| CookieStore::signed(cookie_name, [key]);
    Ok(match key_file {
        "" => signed(SecretKey::generate()?)?.with_revocation(MemoryBackend::new()),
        path => signed(SecretKey::from_file_or_generate(path)?)?
            .with_revocation(FileBackend::open(format!("{path}.revoked"))?),
    })
}
