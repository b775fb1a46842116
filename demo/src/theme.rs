//! The theme that a visitor chose.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Theme {
    /// That of the system.
    #[default]
    System,
    Light,
    Dark,
}
