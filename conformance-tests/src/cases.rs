//! The cases, a module for each group.

mod calls;
mod concurrency;
mod cookie_value;
mod data;
mod destroy;
mod errors;
mod expiry;
mod flash;
mod gc;
mod ids;
mod lifetime;
mod load;
mod logout;
mod merge;
mod owner;
mod save;
mod session;
mod touch;

use crate::case::Case;

/// All cases, in the order of their listing.
pub(crate) fn all() -> impl Iterator<Item = &'static Case> {
    [
        load::CASES,
        save::CASES,
        touch::CASES,
        expiry::CASES,
        destroy::CASES,
        gc::CASES,
        concurrency::CASES,
        data::CASES,
        ids::CASES,
        owner::CASES,
        session::CASES,
        flash::CASES,
        cookie_value::CASES,
        merge::CASES,
        logout::CASES,
        lifetime::CASES,
        errors::CASES,
        calls::CASES,
    ]
    .into_iter()
    .flatten()
}
