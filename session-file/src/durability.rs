//! The one setting of the store.

/// What a power failure or a crash of the operating system may undo.
///
/// A process that dies undoes nothing that was acknowledged, whatever this is, not even by `kill -9`.
/// The README says which store to use if a power failure must not undo anything either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// Nothing is synced: the changes of the last half minute or so may be undone. On some file systems
    /// a session that was saved in that time may be `Corrupt` afterwards.
    None,
    /// The content of a file is synced before the file takes its name: the changes of the last seconds
    /// may be undone, a logout as well. A session is then as it was before, never damaged.
    #[default]
    Data,
}
