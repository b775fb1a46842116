//! What `Durability` asks for: which changes of directories the disk has confirmed.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use session_core::{Error, Result};

use crate::Durability;

/// What one sub-directory still owes to the disk, as far as this process knows.
#[derive(Debug, Default)]
struct Place {
    /// Since a rename or a removal there was no sync that succeeded.
    unconfirmed: AtomicBool,
    /// Its entry in the directory of the store is confirmed.
    entered: AtomicBool,
}

#[derive(Debug)]
pub(crate) struct Syncs {
    pub(crate) durability: Durability,
    places: Box<[Place]>,
    /// Every sync of a directory fails.
    #[cfg(test)]
    pub(crate) broken: AtomicBool,
}

impl Syncs {
    pub(crate) fn new(durability: Durability) -> Self {
        Self {
            durability,
            places: (0..256).map(|_| Place::default()).collect(),
            #[cfg(test)]
            broken: AtomicBool::new(false),
        }
    }

    fn is_full(&self) -> bool {
        self.durability == Durability::Full
    }

    /// Makes the content of a file survive, before it is renamed.
    pub(crate) fn content(&self, file: &File) -> io::Result<()> {
        match self.durability {
            Durability::None => Ok(()),
            Durability::Data | Durability::Full => file.sync_data(),
        }
    }

    /// To be called before a name in this sub-directory changes, and under its lock.
    pub(crate) fn will_change(&self, number: u8) {
        self.place(number).unconfirmed.store(true, Ordering::SeqCst);
    }

    /// Makes the changed names survive, if that is asked for. Under the sub-directory's lock.
    pub(crate) fn names(&self, number: u8, directory: &File) -> Result<()> {
        if self.is_full() {
            self.sync(directory).map_err(not_confirmed)?;
            self.place(number).unconfirmed.store(false, Ordering::SeqCst);
        }
        Ok(())
    }

    /// What was written earlier is confirmed, before it is relied on. Under the sub-directory's lock.
    pub(crate) fn settle(&self, number: u8, directory: &File) -> Result<()> {
        if !self.is_settled(number) {
            self.sync(directory).map_err(not_settled)?;
            self.place(number).unconfirmed.store(false, Ordering::SeqCst);
        }
        Ok(())
    }

    /// The same for what was just read without the lock, and so without an end to the matter.
    pub(crate) fn settle_read(&self, number: u8, directory: &File) -> Result<()> {
        if !self.is_settled(number) {
            self.sync(directory).map_err(not_settled)?;
        }
        Ok(())
    }

    /// Whether [`settle_read`](Self::settle_read) has nothing to do.
    pub(crate) fn is_settled(&self, number: u8) -> bool {
        !self.is_full() || !self.place(number).unconfirmed.load(Ordering::SeqCst)
    }

    /// A sub-directory was created just now.
    pub(crate) fn will_enter(&self, number: u8) {
        self.place(number).entered.store(false, Ordering::SeqCst);
    }

    /// The sub-directory itself survives, whoever created it. Under its lock.
    pub(crate) fn enter(&self, number: u8, root: &File) -> Result<()> {
        if self.is_full() && !self.place(number).entered.load(Ordering::SeqCst) {
            self.sync(root).map_err(not_settled)?;
            self.place(number).entered.store(true, Ordering::SeqCst);
        }
        Ok(())
    }

    fn sync(&self, directory: &File) -> io::Result<()> {
        #[cfg(test)]
        if self.broken.load(Ordering::SeqCst) {
            return Err(io::Error::other("broken by the test"));
        }
        directory.sync_all()
    }

    fn place(&self, number: u8) -> &Place {
        &self.places[usize::from(number)]
    }
}

pub(crate) fn not_confirmed(error: io::Error) -> Error {
    Error::unavailable("the change was made, but the disk did not confirm it").with_source(error)
}

fn not_settled(error: io::Error) -> Error {
    Error::unavailable("the disk does not confirm what was written before; nothing was written")
        .with_source(error)
}
