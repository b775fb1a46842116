//! What the sessions of the visitors contain.

use std::collections::BTreeSet;

use session_core::Session;

/// The list of the changes that were made by updates.
pub(crate) const LIST: &str = "list";

/// Puts a change at the end of the list.
pub(crate) fn push(change: u32) -> impl Fn(Option<Vec<u32>>) -> Vec<u32> + Send + Sync + 'static {
    move |list| {
        let mut list = list.unwrap_or_default();
        list.push(change);
        list
    }
}

/// The list of the updates, and what was inserted.
pub(crate) fn content(session: &Session) -> (Vec<u32>, BTreeSet<u32>) {
    let list = session.get(LIST).ok().flatten().unwrap_or_default();
    let number = |name: &String| name.strip_prefix('i')?.parse().ok();
    (list, session.keys().iter().filter_map(number).collect())
}

pub(crate) fn all(list: &[u32], names: &BTreeSet<u32>) -> BTreeSet<u32> {
    list.iter().chain(names).copied().collect()
}
