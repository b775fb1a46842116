//! The results that the contract allows for a call, and the actual result.

use session_core::{ErrorKind, Revision};

/// The kinds of writes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted {
    Create { zero: bool },
    Over { expected: Revision, zero: bool },
}

/// A result that the contract allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Done,
    Refused(ErrorKind),
}

/// The result of the store.
#[derive(Debug)]
pub(super) enum Told {
    Done,
    Refused(ErrorKind),
    NotKnown,
}

pub(super) fn list(answers: &[Answer]) -> String {
    let names = answers.iter().map(|answer| match answer {
        Answer::Done => "Ok".to_owned(),
        Answer::Refused(kind) => format!("{kind:?}"),
    });
    names.collect::<Vec<_>>().join(" or ")
}
