//! The cases, a module for each group.

mod destroy;
mod load;
mod save;
mod touch;

use crate::case::Case;

/// All cases, in the order of their listing.
pub(crate) fn all() -> impl Iterator<Item = &'static Case> {
    [load::CASES, save::CASES, touch::CASES, destroy::CASES]
        .into_iter()
        .flatten()
}
