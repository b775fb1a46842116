//! What a store can do beyond the contract, and what that gives to an application.

/// What a [`Backend`](crate::Backend) claims about itself. Each claim gates conformance cases.
///
/// The default claims nothing. A wrapper forwards the claims of the store that it wraps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// Sessions survive when the store is closed and opened again.
    pub durable: bool,
    /// The server removes expired records by itself: `gc` has nothing to do.
    pub expires_natively: bool,
}

/// What a [`SessionStore`](crate::SessionStore) guarantees, computed from its medium and its backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Guarantees {
    /// Parallel writes of one session are merged, none is lost. A cookie can't do that.
    pub detects_conflicts: bool,
    /// A destroyed session is dead, also for a client that kept its cookie. A cookie store needs a
    /// revocation store for it.
    pub revocable: bool,
    /// Sessions survive a restart of the process.
    pub durable: bool,
    /// Expired records are removed without [`gc`](crate::SessionStore::gc).
    pub expires_natively: bool,
}
