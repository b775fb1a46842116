//! The capabilities of a backend beyond the contract, and the guarantees of a store.

/// The claims of a [`Backend`](crate::Backend). Each claim enables conformance cases.
///
/// The default claims nothing. A wrapper forwards the claims of the store that it wraps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// Sessions survive when the store is closed and opened again.
    pub durable: bool,
    /// The server removes expired records by itself: `gc` has nothing to do.
    pub expires_natively: bool,
}

/// The guarantees of a [`SessionStore`](crate::SessionStore), computed from its medium and its
/// backend.
///
/// ```
/// use session_core::{Guarantees, SessionStore};
///
/// /// Refuses a store that an application with accounts must not use.
/// fn check(store: &SessionStore) -> Result<(), &'static str> {
///     let Guarantees { revocable, durable, .. } = store.guarantees();
///     match (revocable, durable) {
///         (false, _) => Err("a sign-out must be final: give the cookie store a revocation store"),
///         (_, false) => Err("a restart must not sign everyone out"),
///         _ => Ok(()),
///     }
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Guarantees {
    /// Concurrent writes of one session are merged, and none is lost. False for cookie stores.
    pub detects_conflicts: bool,
    /// A destroyed session is never loaded again, even if the client kept its cookie. A cookie
    /// store needs a revocation store for this.
    pub revocable: bool,
    /// Sessions survive a restart of the process.
    pub durable: bool,
    /// Expired records are removed without [`gc`](crate::SessionStore::gc).
    pub expires_natively: bool,
}
