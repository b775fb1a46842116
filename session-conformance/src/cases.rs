//! The cases, with one module for each group.

mod account;
mod account_schedules;
mod batch;
mod batch_items;
mod calls;
mod concurrency;
mod cookie_value;
mod data;
mod deadlines;
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
mod model;
mod owner;
mod owner_index;
mod owner_limit;
mod owner_pages;
mod races;
mod refusal;
mod rotation_races;
mod save;
mod session;
mod sign_in;
mod tombstone;
mod touch;
mod wrapper;

use crate::case::Case;

/// All cases, in the order in which they are listed.
pub(crate) fn all() -> impl Iterator<Item = &'static Case> {
    [
        load::CASES,
        save::CASES,
        touch::CASES,
        expiry::CASES,
        destroy::CASES,
        gc::CASES,
        concurrency::CASES,
        races::CASES,
        model::CASES,
        batch::CASES,
        batch_items::CASES,
        data::CASES,
        ids::CASES,
        owner::CASES,
        owner_index::CASES,
        owner_pages::CASES,
        owner_limit::CASES,
        account::CASES,
        account_schedules::CASES,
        session::CASES,
        flash::CASES,
        cookie_value::CASES,
        merge::CASES,
        logout::CASES,
        lifetime::CASES,
        deadlines::CASES,
        sign_in::CASES,
        tombstone::CASES,
        rotation_races::CASES,
        errors::CASES,
        refusal::CASES,
        wrapper::CASES,
        calls::CASES,
    ]
    .into_iter()
    .flatten()
}
