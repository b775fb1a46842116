//! What a call may answer, and what it did.

use session_core::{ErrorKind, Revision};

/// What a write asks for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted {
    Create { zero: bool },
    Over { expected: Revision, zero: bool },
}

/// An answer that the contract allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Done,
    Refused(ErrorKind),
}

/// What the store answered.
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
