//! Which sessions of a shard are due, without looking at the others.

use std::collections::BTreeSet;

use crate::clock::Moment;

/// The sessions of one shard in the order of the moment they are filed at; each exactly once.
///
/// A session is named by the first eight bytes of its key, which is a quarter of the key's memory.
/// Should two sessions share them, both are found.
///
/// A session that is prolonged stays where it is filed, so a touch costs nothing here; when its turn
/// comes, the collector files it anew. That happens at most once per lifetime.
#[derive(Debug, Default)]
pub(crate) struct Deadlines(BTreeSet<(Moment, u64)>);

impl Deadlines {
    /// Files a session and says where: at its deadline, or just after it when the place is taken.
    #[must_use]
    pub(crate) fn file(&mut self, deadline: Moment, prefix: u64) -> Moment {
        let mut at = deadline;
        while !self.0.insert((at, prefix)) {
            at += 1;
        }
        at
    }

    pub(crate) fn remove(&mut self, filed: Moment, prefix: u64) {
        self.0.remove(&(filed, prefix));
    }

    pub(crate) fn has_due(&self, now: Moment) -> bool {
        self.0.first().is_some_and(|(at, _)| *at <= now)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes the next session that is due out of the files: where it was filed, and its prefix.
    pub(crate) fn pop_due(&mut self, now: Moment) -> Option<(Moment, u64)> {
        if !self.has_due(now) {
            return None;
        }
        self.0.pop_first()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_of_one_prefix_and_deadline_are_both_filed() {
        let mut deadlines = Deadlines::default();
        assert_eq!(deadlines.file(10, 7), 10);
        assert_eq!(deadlines.file(10, 7), 11);
        assert_eq!(deadlines.pop_due(9), None);
        assert_eq!(deadlines.pop_due(11), Some((10, 7)));
        assert_eq!(deadlines.pop_due(11), Some((11, 7)));
        assert_eq!(deadlines.pop_due(11), None);
    }
}
