//! Opens the session store. No other part of the application depends on the kind of store.

use session_cookie::{CookieStore, SecretKey};
use session_core::{Error, Result, SessionStore};
use session_file::FileBackend;
use session_memory::MemoryBackend;
use session_redis::RedisBackend;
use session_sql::{MySqlBackend, PostgresBackend, SqliteBackend};

use crate::options::Options;

/// Opens the store that `--store` names.
pub(crate) async fn open(options: &Options) -> Result<SessionStore> {
    let url = options.store.as_str();
    let (kind, rest) = url.split_once(':').unwrap_or((url, ""));
    let store = match kind {
        "memory" => SessionStore::new(MemoryBackend::new()),
        "file" => SessionStore::new(FileBackend::open(rest)?),
        "cookie" => SessionStore::new_cookie(cookie_store(options.cookie_name(), rest)?),
        "sqlite" => {
            let backend = SqliteBackend::connect(url).await?;
            backend.migrate().await?;
            SessionStore::new(backend)
        }
        "postgres" | "postgresql" => {
            let backend = PostgresBackend::connect(url).await?;
            backend.migrate().await?;
            SessionStore::new(backend)
        }
        "mysql" | "mariadb" => {
            let backend = MySqlBackend::connect(url).await?;
            backend.migrate().await?;
            SessionStore::new(backend)
        }
        // Also rediss, unix, redis+cluster, redis+sentinel and so on.
        _ if kind.starts_with("redis") || kind == "unix" => {
            SessionStore::new(RedisBackend::connect(url).await?)
        }
        _ => {
            return Err(Error::invalid_config(format!(
                "there is no store of the kind {kind:?}: --help lists the kinds"
            )));
        }
    };
    store.with_config(options.config())
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
