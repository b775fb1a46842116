//! One line a store: all that the application has to know about where its sessions live.

use session_cookie::{CookieStore, SecretKey};
use session_core::{Error, Result, SessionStore};
use session_file::FileBackend;
use session_memory::MemoryBackend;

use crate::options::Options;

/// Opens the store that `--store` names.
pub(crate) async fn open(options: &Options) -> Result<SessionStore> {
    let (kind, place) = options.store.split_once(':').unwrap_or((&options.store, ""));
    let store = match (kind, place) {
        ("memory", "") => SessionStore::new(MemoryBackend::new()),
        ("file", path) if !path.is_empty() => SessionStore::new(FileBackend::open(path)?),
        ("cookie", key_file) => {
            let key = match key_file {
                "" => SecretKey::generate()?,
                path => SecretKey::from_file_or_generate(path)?,
            };
            let sealed = CookieStore::signed(options.cookie_name(), [key])?;
            SessionStore::new_cookie(sealed.with_revocation(MemoryBackend::new()))
        }
        _ => {
            return Err(Error::invalid_config(format!(
                "no store is called {kind:?}; --help lists them"
            )));
        }
    };
    store.with_config(options.config())
}
