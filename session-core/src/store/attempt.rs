//! Sends one write within the deadline, and finds out its outcome.

use std::time::Duration;

use super::calls::Calls;
use crate::{Error, ErrorKind, Key, Loaded, Record, Result, Revision, Update, Write};

/// How often a write is sent again after it was found not to be carried out.
pub(super) const MAX_RESENDS: u32 = 2;

/// The outcome of a compare-and-swap.
pub(super) enum SwapOutcome {
    Written,
    /// Nothing was written; the error is the reason.
    Refused(Error),
    /// There is no live record, and nothing that was written lives on.
    Gone,
    /// There is no live record. An earlier save may have written it before another request gave the
    /// session a new id, and the tombstone that would tell has expired since.
    GoneInDoubt,
    /// The write was in doubt, and the record has a third revision.
    Replaced(Loaded),
    /// The write is in doubt.
    InDoubt(Error),
}

/// The outcome of a create.
pub(super) enum CreateOutcome {
    Created,
    /// Nothing was written; the error is the reason.
    Refused(Error),
    /// There is no record yet; with the error of the attempt, if there was one. A copy of the
    /// request may still arrive, so the next attempt needs another key.
    Missing(Option<Error>),
    /// The write is in doubt.
    InDoubt(Error),
}

/// Creates a record under a new key. With `ask_first` it finds out the outcome of an earlier
/// attempt.
pub(super) async fn create(
    calls: &Calls<'_>,
    key: &Key,
    record: &Record,
    ttl: Duration,
    ask_first: bool,
) -> CreateOutcome {
    let mut cause = None;
    if !ask_first {
        match send(calls, key, record, Write::Create { ttl }).await {
            Ok(()) => return CreateOutcome::Created,
            // A driver may have sent the request twice.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => cause = Some(error),
            Err(error) if error.nothing_was_written() => return CreateOutcome::Refused(error),
            Err(error) => cause = Some(error),
        }
    }
    match calls.load(key).await {
        Ok(Some(found)) if found.record.revision == record.revision => CreateOutcome::Created,
        Ok(_) => CreateOutcome::Missing(cause),
        // Return the first failure.
        Err(error) => CreateOutcome::InDoubt(cause.unwrap_or(error)),
    }
}

/// Replaces the record of the expected revision. With `ask_first` it first finds out the outcome of
/// an earlier attempt. `resends` counts how often the operation has sent a write again.
pub(super) async fn compare_and_swap(
    calls: &Calls<'_>,
    resends: &mut u32,
    key: &Key,
    record: &Record,
    expected: Revision,
    ttl: impl Fn() -> Option<Duration>,
    ask_first: bool,
) -> SwapOutcome {
    let mut cause = None;
    let not_known = || Error::unavailable("the outcome of an earlier write is not known");
    // Whether a copy of this write may still arrive.
    let mut sent = ask_first;
    let mut ask = ask_first;
    loop {
        if !ask {
            let update = Update { expected, ttl: ttl() };
            match send(calls, key, record, Write::Update(update)).await {
                Ok(()) => return SwapOutcome::Written,
                Err(error) if error.nothing_was_written() && !sent => {
                    return SwapOutcome::Refused(error);
                }
                Err(error) if is_refusal(&error) => return SwapOutcome::InDoubt(error),
                // The first copy may have arrived since, so a conflict proves nothing.
                Err(error) => cause = Some(error),
            }
            sent = true;
        }
        ask = false;
        let found = match calls.load(key).await {
            Ok(Some(found)) => found,
            // A tombstone lives longer than the save that it could tell something.
            Ok(None) if ask_first => return SwapOutcome::GoneInDoubt,
            Ok(None) => return SwapOutcome::Gone,
            // Return the first failure.
            Err(_) => return SwapOutcome::InDoubt(cause.unwrap_or_else(not_known)),
        };
        if found.record.revision == record.revision {
            return SwapOutcome::Written;
        }
        if found.record.revision != expected {
            return SwapOutcome::Replaced(found);
        }
        if *resends >= MAX_RESENDS {
            return SwapOutcome::InDoubt(cause.unwrap_or_else(not_known));
        }
        *resends += 1;
    }
}

/// Sends a write, and sends it once more if it was refused, because another node may accept it.
async fn send(calls: &Calls<'_>, key: &Key, record: &Record, write: Write) -> Result<()> {
    match calls.save(key, record, write).await {
        Err(error) if is_refusal(&error) && !calls.deadline.is_over() => {
            calls.save(key, record, write).await
        }
        outcome => outcome,
    }
}

/// Whether the store refused the operation, so that another attempt may succeed.
pub(super) fn is_refusal(error: &Error) -> bool {
    error.nothing_was_written() && matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Other)
}

/// Removes from an error the statement that nothing was written, for a write in doubt.
pub(super) fn in_doubt(cause: Error) -> Error {
    if cause.nothing_was_written() {
        return Error::unavailable("the outcome of a write is not known").with_source(cause);
    }
    cause
}
