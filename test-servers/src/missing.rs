//! A server that can't be had.

use std::fmt;

/// Why there is no server, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What is missing, or what failed.
    pub what: String,
    /// What a person can do to get it.
    pub how_to_get_it: String,
}

impl Missing {
    pub(crate) fn new(what: impl Into<String>, how_to_get_it: impl Into<String>) -> Self {
        Self { what: what.into(), how_to_get_it: how_to_get_it.into() }
    }

    /// Neither this nor the other could be had; the way to get this one comes first.
    #[cfg(feature = "containers")]
    pub(crate) fn and(self, other: &Self) -> Self {
        Self {
            what: format!("{}; {}", self.what, other.what),
            how_to_get_it: format!("{}, or {}", self.how_to_get_it, other.how_to_get_it),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.how_to_get_it)
    }
}

impl std::error::Error for Missing {}
