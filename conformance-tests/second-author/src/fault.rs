//! The faults. "Clause" is a numbered clause of `session_core::Backend`.

/// One deliberate violation of the contract, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A correct store.
    None,

    // Rare values.
    /// Clause 18: "it removes the record only if it has this revision". `only` of revision 0 removes
    /// any record. SQL: `DELETE .. WHERE id = ? AND (? = 0 OR revision = ?)` with `unwrap_or(0)`.
    ZeroMeansAny,
    /// Clause 16: touch "with another revision [..] is `Conflict`". Touch compares revisions as
    /// doubles, so those that differ only in low bits are equal. Redis: `tonumber` in a Lua script.
    RevisionAsDouble,
    /// Clause 2: "All 32 bytes of a key are significant." Trailing 0x20 bytes become 0x00. SQL: a
    /// `CHAR` column strips spaces, and the driver pads the fixed-size array with zeros.
    TrailingSpaceKey,
    /// Clause 8: "An update replaces the whole record: payload". An update with an empty payload keeps
    /// the old one. SQL: `SET payload = COALESCE(NULLIF(?, ''), payload)`; Oracle does half by itself.
    EmptyUpdateKeepsPayload,
    /// Clause 16: a touch "gives [..] a new life that begins now, longer or shorter"; 15: "one above
    /// `MAX_TTL` counts as `MAX_TTL`". The milliseconds of a touch are 32 bits wide and wrap after
    /// 49.7 days. A client of Redis in C that passes an `unsigned int` to `PEXPIRE`.
    TouchWraps,
    /// Clause 19: "`gc` removes at most `limit` expired records". A limit of 0 removes all.
    /// MongoDB: `limit(0)` means no limit.
    GcZeroIsAll,

    // Errors.
    /// Clause 15: "A ttl of zero is `InvalidValue`", and only that: `ttl_millis` rounds up. Update and
    /// touch refuse a ttl below one millisecond. A driver that checks `as_millis() == 0`.
    SubMillisecondIsZero,
    /// "No error may contain a key, a payload, an owner or a password." The source of `AlreadyExists`
    /// has the key in hexadecimal. Postgres: "Key (id)=(..) already exists".
    ErrorNamesKey,
    /// Clause 13: "An expired record can't be revived: update and touch are `Gone`". With another
    /// revision they are `Conflict`: revision before expiry, until gc has run. DynamoDB: items stay
    /// long after their TTL, and the condition that failed first is reported.
    ExpiredIsConflict,
    /// "A refusal after which something was written therefore loses that write." With eight other saves
    /// in flight, a save is carried out and reported as `Error::refused`. A pool whose timeout
    /// "exhausted" also covers the query, not only the wait for a connection.
    RefusedButWritten,
    /// Clause 6: "with another revision it is `Conflict`". The loser of a race gets `Gone`. SQL: the row
    /// is read to tell both apart, then `UPDATE .. WHERE revision = ?` with 0 rows is taken for a
    /// deleted row.
    LoserIsGone,

    // Concurrency and timing.
    /// Clause 10: "Of any number of concurrent creates of one key [..] exactly one succeeds." Over an
    /// expired record, all succeed. DynamoDB: a conditional put first, then, if the item found is
    /// expired, a put without a condition.
    TwoWinnersOverExpired,
    /// Clause 11: "a concurrent load sees the old record or the new one". From 256 KiB, a load reads
    /// the payload after the header. MongoDB GridFS, or a row and its large object.
    ChunkedLoad,
    /// Clause 7: "An update with `ttl: None` does not change the expiry." It undoes a touch that runs
    /// between its two steps. Redis before `KEEPTTL`: `PTTL`, then `SET .. PX`.
    UpdateUndoesTouch,
    /// Clause 16: a touch "changes nothing else". It writes the whole record back, so it undoes an update
    /// that runs between its two steps. A file store: read, change the header, rename.
    TouchWritesBack,
    /// Clause 11: a future "dropped at an await has written all or nothing; later calls work". A dropped
    /// update keeps the lock of its key, and later updates are refused after a wait. A lock row or lock
    /// file without a guard.
    DropLeavesLock,

    // Wrappers and caches.
    /// Clause 12: "An expired record is never loaded". A cache, filled at the second load, is
    /// invalidated by save and destroy, not by a touch: a shorter life has no effect on loads.
    CacheForgetsTouch,
    /// "A cache must not return from `load` a record that another process replaced or destroyed". A load
    /// that overlaps a write fills the cache after the write invalidated it.
    CacheRefillRace,
    /// Clause 6: "Without a live record it is `Gone`", and clause 9, whose exception is only for a record
    /// that *has* the new revision. A retrying wrapper remembers the updates that succeeded, and says
    /// `Ok` to a repetition, even if the record was replaced or destroyed since.
    RepeatIsRemembered,

    // Batches.
    /// "One bad item does not affect the others", and no refusal after a write. One zero ttl or too large
    /// record in `create_many` aborts; the items before it were written, but are reported as refused.
    /// A "transaction" in autocommit mode.
    BatchAbortLies,
    /// "Each result is what the single operation would have returned". A record above 1 MiB is `TooLarge`
    /// in a batch, also alone in it. A pipeline's buffer with a fixed maximum.
    BatchItemTooLarge,
    /// "Each result is what the single operation would have returned; all clauses of `Backend` hold", so
    /// clause 16. `touch_many` groups its items by whole seconds, one statement for each group, and
    /// gives all the life of the group's first.
    BatchOneTtl,

    // The owner index.
    /// "Fewer than `limit` keys mean that there are no more." Expired records count for the limit and
    /// are filtered afterwards. SQL: a `LIMIT` in the subquery, `expires > now` outside.
    LimitBeforeFilter,
    /// "at every moment it finds each live record that has the owner". `prolong` for a new owner removes
    /// the entry of the old one; the update that follows may fail. An entry table with the key as its
    /// primary key.
    ProlongMovesEntry,
    /// "up to `limit` keys that are greater than `after`". Keys are compared by `Key::prefix`, so those
    /// that share eight bytes with `after` are skipped. Redis: a sorted set with a numeric score.
    CursorPrefix,
}

/// Every fault.
pub const ALL: [Fault; 25] = [
    Fault::ZeroMeansAny,
    Fault::RevisionAsDouble,
    Fault::TrailingSpaceKey,
    Fault::EmptyUpdateKeepsPayload,
    Fault::TouchWraps,
    Fault::GcZeroIsAll,
    Fault::SubMillisecondIsZero,
    Fault::ErrorNamesKey,
    Fault::ExpiredIsConflict,
    Fault::RefusedButWritten,
    Fault::LoserIsGone,
    Fault::TwoWinnersOverExpired,
    Fault::ChunkedLoad,
    Fault::UpdateUndoesTouch,
    Fault::TouchWritesBack,
    Fault::DropLeavesLock,
    Fault::CacheForgetsTouch,
    Fault::CacheRefillRace,
    Fault::RepeatIsRemembered,
    Fault::BatchAbortLies,
    Fault::BatchItemTooLarge,
    Fault::BatchOneTtl,
    Fault::LimitBeforeFilter,
    Fault::ProlongMovesEntry,
    Fault::CursorPrefix,
];
