//! What a store can do beyond the contract.

/// What a store claims. Each claim gates conformance cases, and a store that claims something else
/// than its test harness expects fails.
///
/// The default claims nothing; write `Capabilities { durable: true, ..Capabilities::default() }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// A write over a revision that is not there any more is refused. Every server store must; a
    /// cookie can't.
    pub detects_conflicts: bool,
    /// A destroyed session is dead, also for a client that kept its cookie.
    pub revocable: bool,
    /// Sessions survive that the store is closed and opened again.
    pub durable: bool,
    /// The server removes expired records by itself: `gc` has nothing to do.
    pub expires_natively: bool,
    /// `rotate` is one atomic step, so that after a lost acknowledgement the new record alone says
    /// that it was carried out.
    pub rotates_atomically: bool,
    /// The owner is indexed, so that the sessions of one account can be found.
    pub owner_index: bool,
}
