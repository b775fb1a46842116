//! The error for a server that is not available.

use std::fmt;

/// The reason why there is no server, and how to get one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What is missing, or what failed.
    pub what: String,
    /// How to get it.
    pub how_to_get_it: String,
}

impl Missing {
    pub(crate) fn new(what: impl Into<String>, how_to_get_it: impl Into<String>) -> Self {
        Self { what: what.into(), how_to_get_it: how_to_get_it.into() }
    }

    /// Combines two reasons. The way to get the first server comes first.
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
