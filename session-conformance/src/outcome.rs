//! What a case found out.

/// The outcome of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// The fact holds.
    Passed,
    /// The case does not apply to this store, for this reason.
    Skipped(String),
    /// There is no store, for this reason.
    Missing(String),
    /// The fact does not hold: the clause of the contract, and the behaviour of the store.
    Failed(String),
}
