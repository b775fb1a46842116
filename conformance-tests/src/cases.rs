//! The cases, a module for each group.

mod concurrency;
mod data;
mod destroy;
mod expiry;
mod gc;
mod ids;
mod load;
mod owner;
mod rotate;
mod save;
mod touch;

use crate::case::Case;

/// All cases, in the order of their listing.
pub(crate) fn all() -> impl Iterator<Item = &'static Case> {
    [
        load::CASES,
        save::CASES,
        touch::CASES,
        expiry::CASES,
        rotate::CASES,
        destroy::CASES,
        gc::CASES,
        concurrency::CASES,
        data::CASES,
        ids::CASES,
        owner::CASES,
    ]
    .into_iter()
    .flatten()
}
