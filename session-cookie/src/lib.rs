#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("../README.md")]

#[cfg(feature = "encryption")]
mod encrypted;
mod envelope;
mod key;
mod permissions;
mod protection;
mod signed;
mod size;
mod store;
mod weakness;

pub use key::SecretKey;
pub use session_core;
pub use store::CookieStore;

use session_core::{SessionStore, global};

/// Makes `store` the process-wide store of [`session_core::global`], with default settings, and
/// returns the store. It replaces an earlier one.
///
/// ```
/// use session_cookie::{CookieStore, SecretKey, start_session};
///
/// # fn main() -> session_core::Result<()> {
/// start_session(CookieStore::signed("__Host-session", [SecretKey::generate()?])?);
/// assert_eq!(session_core::global::store()?.backend_name(), "cookie");
/// # Ok(()) }
/// ```
pub fn start_session(store: CookieStore) -> SessionStore {
    let store = SessionStore::new_cookie(store);
    global::cache_store(store.clone());
    store
}
