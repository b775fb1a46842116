//! Removes entries of the owner index whose records are gone: their writer died in between.

use session_core::{Key, Result};

use super::{Attempt, Collection, SWEEP_INTERVAL};
use crate::clock::now;
use crate::name::bucket_of;
use crate::owner_sweep::State;
use crate::owners;

impl Collection<'_> {
    /// Looks at all entries once an hour. It opens no record: an entry is kept while a file has its key.
    pub(super) fn sweep_owners(&mut self) -> Result<()> {
        let State { due_at, mut passed } = self.shared.owners.state();
        if self.is_over() || due_at > now() {
            return Ok(());
        }
        if let Some(directory) = owners::directory(self.root)? {
            for name in owners::names(&directory)?.iter().skip(passed) {
                for key in owners::keys_in(&directory, name)? {
                    let swept = self.sweep_entry(&directory, name, &key);
                    self.check(swept);
                }
                passed += 1;
                if self.is_over() {
                    self.shared.owners.set(State { due_at, passed });
                    return Ok(());
                }
            }
        }
        self.shared.owners.set(State { due_at: now().saturating_add(SWEEP_INTERVAL), passed: 0 });
        Ok(())
    }

    fn sweep_entry(&self, directory: &std::fs::File, name: &str, key: &Key) -> Result<()> {
        let (number, record) = (bucket_of(key), key.to_hex());
        if let Some(bucket) = self.root.bucket(number)?
            && bucket.has(&record)?
        {
            return Ok(());
        }
        // Its record may be about to be written: look again without other writers.
        match self.try_lock(number)? {
            Attempt::Locked(exclusive) if !exclusive.bucket.has(&record)? => {
                owners::remove(directory, name, key)
            }
            Attempt::Missing => owners::remove(directory, name, key),
            Attempt::Locked(_) | Attempt::Busy => Ok(()),
        }
    }
}
