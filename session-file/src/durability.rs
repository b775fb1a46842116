//! The only setting of the store.

/// Determines what a power failure or a crash of the operating system may undo.
///
/// The death of a process, even by `kill -9`, undoes no acknowledged change, with any durability.
/// The README says which store to use if a power failure must not undo anything either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// Nothing is synced: the changes of about the last half minute may be undone. On some file
    /// systems a session that was saved in that time may be `Corrupt` afterwards.
    None,
    /// The content of a file is synced before the file gets its name: the changes of the last
    /// seconds may be undone, including logouts. A session then has an earlier state, but is never
    /// damaged.
    #[default]
    Data,
}
