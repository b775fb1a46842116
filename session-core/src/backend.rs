//! The contract: what a backend implements.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{BatchBackend, Capabilities, Key, Loaded, OwnerIndex, Record, Result, Revision, Write};

/// A store of sessions: an expiring map from [`Key`] to [`Record`] with compare-and-swap.
///
/// Implement it over any key-value system, in about a hundred lines: five methods and a name.
/// [`SessionStore`](crate::SessionStore), which applications hold, does everything that all stores
/// share: ids, encoding, lifetimes, new ids at sign-in, merging, deadlines, tracing.
///
/// # The contract
///
/// Each clause names the conformance case that proves it. The crate `session-conformance` runs them all.
///
/// **Records**
/// 1. `load` returns what was saved, byte for byte: payload (any bytes, from none to 1 MiB and
///    more), revision (all 64 bits) and owner. — `data::payload_is_byte_exact`,
///    `data::payload_of_one_mebibyte`, `data::revision_extremes`, `owner::round_trips`
/// 2. All 32 bytes of a key are significant. — `ids::keys_differ_in_every_byte`,
///    `ids::keys_are_case_sensitive`
/// 3. A missing record is `Ok(None)`, never an error. A store that can't be reached is an error,
///    never `None`. — `load::missing_is_none`
/// 4. Stored bytes that are not a record are `Corrupt`, and `destroy` still removes them. — proven by
///    the backends' own tests
///
/// **Writes**
///
/// 5. [`Write::Create`] succeeds only if there is no live record under the key. Otherwise it is
///    `AlreadyExists` and the record does not change. — `save::create_over_live_already_exists`
/// 6. [`Write::Update`] succeeds only if the live record has the expected revision. Without a live
///    record it is `Gone`; with another revision it is `Conflict`, except for a second copy (clause 9).
///    Nothing is written then. —
///    `save::update_of_missing_is_gone`, `save::update_after_destroy_is_gone`,
///    `save::update_of_other_revision_conflicts`
/// 7. An update with `ttl: None` does not change the expiry. With `Some`, the new life begins now.
///    — `save::update_without_ttl_keeps_deadline`, `save::update_with_ttl_renews`
/// 8. An update replaces the whole record: payload, revision and owner. —
///    `save::update_replaces_payload`, `owner::update_replaces_owner`
/// 9. An update that expects the stored revision succeeds, even if the stored record is already equal
///    to the new one. An update that expects another revision is `Conflict`, even then. One exception
///    is allowed: if the stored record already has the *new* revision, the update may be the second
///    copy of one that was carried out, because a driver sent it twice; it may then return `Ok`, and
///    changes nothing, neither the record nor the expiry. — `save::identical_update_succeeds`,
///    `save::second_copy_of_an_update_changes_nothing`
/// 10. Of any number of concurrent creates of one key, or updates of one revision, exactly one
///     succeeds. — `concurrency::one_create_wins`, `concurrency::one_update_wins`
/// 11. A write is atomic: a concurrent load sees the old record or the new one, and a future that is
///     dropped at an await has written all or nothing; later calls work. —
///     `concurrency::loads_see_whole_records`, `concurrency::dropped_futures_leave_whole_records`
///
/// **Life**
///
/// 12. A record expires by the one clock of its store, to the millisecond. From the moment of its
///     expiry on it is expired. An expired record is never loaded, even if it was not removed yet.
///     — `expiry::expired_is_none`, `expiry::reports_remaining_life`
/// 13. An expired record can't be revived: update and touch are `Gone`, and `destroy` is `false`. —
///     `expiry::update_of_expired_is_gone`, `expiry::touch_of_expired_is_gone`
/// 14. An expired record counts as absent for a create. — `expiry::create_over_expired_succeeds`
/// 15. A ttl of zero is `InvalidValue`; one above [`MAX_TTL`](crate::MAX_TTL) counts as `MAX_TTL`
///     ([`ttl_millis`](crate::ttl_millis) does both). — `expiry::zero_ttl_is_refused`,
///     `expiry::huge_ttl_is_clamped`
/// 16. `touch` gives a live record that has the expected revision a new life that begins now,
///     longer or shorter, and changes nothing else. Without a live record it is `Gone`; with
///     another revision it is `Conflict`, and the expiry does not change. — `touch::renews`,
///     `touch::keeps_record`, `touch::of_missing_is_gone`, `touch::of_other_revision_conflicts`
///
/// **Destruction**
///
/// 17. `destroy` removes a record and returns whether it was a live one. Without a record it is
///     `Ok(false)`. — `destroy::removes`, `destroy::of_missing_is_false`
/// 18. With `only`, it removes the record only if it has this revision, atomically. —
///     `destroy::only_matching_revision`
/// 19. `gc` removes at most `limit` expired records, with a limit of 0 none, and returns how many. It
///     never removes a live record, not even a record that was renewed or replaced a moment ago. It may run on many
///     nodes at once. It costs in proportion to what expired, not to all records. —
///     `gc::removes_expired`, `gc::keeps_live`, `gc::keeps_what_expires_soon`, `gc::respects_limit`,
///     `gc::never_removes_renewed`, `gc::costs_what_expired`
///
/// # What to return
///
/// From the error, the handle decides whether to load the record, to send the write again or to
/// give up. Two things matter: the [kind](crate::ErrorKind), and whether it is certain that
/// [nothing was written](crate::Error::nothing_was_written).
///
/// | situation | return |
/// |---|---|
/// | there is no live record | `Ok(None)` from `load`, `Ok(false)` from `destroy`, otherwise [`Error::gone`](crate::Error::gone) |
/// | the record has another revision | [`Error::conflict`](crate::Error::conflict), but `Ok(false)` from `destroy` |
/// | a create finds a live record | [`Error::already_exists`](crate::Error::already_exists) |
/// | the stored bytes are not a record | [`Error::corrupt`](crate::Error::corrupt); keep the bytes |
/// | the record is larger than the store accepts | an error of kind `TooLarge` |
/// | the ttl is zero | what [`ttl_millis`](crate::ttl_millis) returns |
/// | no connection could be made; the pool is exhausted; the request was never sent | [`Error::refused`](crate::Error::refused) |
/// | the server refused: full, read-only, loading, not the primary, over a limit, aborted transaction | [`Error::refused`](crate::Error::refused) |
/// | wrong credentials, missing rights, missing table | `Error::new(ErrorKind::InvalidConfig, …)` |
/// | the connection broke, or a timeout passed, after the request was sent | [`Error::unavailable`](crate::Error::unavailable) |
/// | the server reported any other error | `Error::new(ErrorKind::Other, …)` with the source |
///
/// A refusal costs at most one more attempt. After an `Unavailable` or `Other` that is not a
/// refusal, the handle loads the record and looks for the revision that it wrote. A refusal after
/// which something was written therefore loses that write. If several errors apply to a call, the
/// store may return any of them. No error, and no source of one, may contain a key, a payload, an
/// owner or a password.
///
/// # Wrappers
///
/// A store that wraps another one (metrics, a cache, encryption) forwards [`name`](Self::name),
/// [`capabilities`](Self::capabilities) and the five methods. The rule for everything optional in this
/// trait: **a wrapper that does not forward it is slower, or the handle answers `Unsupported`; it is
/// never wrong.** No flag has to agree with a method.
///
/// - A wrapper that changes payloads must return from `load` what was passed to `save`.
/// - A cache must not return from `load` a record that was replaced, touched or destroyed before the
///   load began, by another process, too: a session would survive its sign-out. Writes stay correct, because they are compare-and-swap.
/// - Never add a fallback that writes: an upsert would revive destroyed sessions.
///
/// `wrapper::forwards_only_the_five_methods` proves it for each store.
///
/// # Cancellation
///
/// Every future may be dropped at any await, for example by a deadline. Clause 11 says what holds then.
///
/// # Example
///
/// `examples/third-party-store` of the crate `session-conformance`, in the repository, is a complete store in
/// a package of its own, with its tests.
#[async_trait]
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// A short name for errors and logs, for example `"redis"`.
    fn name(&self) -> &'static str;

    /// The claims of this backend. They must not change while the store is in use.
    fn capabilities(&self) -> Capabilities;

    /// Returns the live record under the key (clauses 1 to 4, 12).
    ///
    /// # Errors
    /// `Corrupt`, `Unavailable`, `InvalidConfig`, `Other`.
    async fn load(&self, key: &Key) -> Result<Option<Loaded>>;

    /// Writes a record if the record that is stored now allows it (clauses 5 to 11, 13 to 15).
    ///
    /// # Errors
    /// - for a create: `AlreadyExists`; for an update: `Gone`, `Conflict`, `Corrupt`;
    /// - `InvalidValue` for a ttl of zero, `TooLarge`, `InvalidConfig`;
    /// - `Unavailable` and `Other`: a [refusal](crate::Error::refused) if nothing was written;
    ///   otherwise the write is in doubt, and the handle looks for its revision.
    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()>;

    /// Gives the live record with this revision a life of `ttl` from now without rewriting it
    /// (clauses 13, 15 and 16). It must work on a full store.
    ///
    /// # Errors
    /// `Gone`, `Conflict`, `Corrupt`, `InvalidValue` for a ttl of zero, `InvalidConfig`,
    /// `Unavailable`, `Other`.
    async fn touch(&self, key: &Key, expected: Revision, ttl: Duration) -> Result<()>;

    /// Removes a record, or only the record with this revision (clauses 17 and 18). It must work on a
    /// full store.
    ///
    /// # Errors
    /// `InvalidConfig`, `Unavailable`, `Other`; never `Gone`, `Conflict` or `Corrupt`.
    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool>;

    /// Removes up to `limit` expired records (clause 19). Its cost is proportional to the number of
    /// expired records, not of live ones. It may leave what another process wrote to a later collection.
    ///
    /// # Errors
    /// `InvalidConfig`, `Unavailable`, `Other`; what was removed before stays removed.
    async fn gc(&self, limit: usize) -> Result<u64>;

    /// The methods that carry out many operations in one round trip; `None` if the store has none
    /// (default).
    fn batch(&self) -> Option<&dyn BatchBackend> {
        None
    }

    /// The index that finds the records of an owner; `None` if the store has none (default).
    fn owner_index(&self) -> Option<&dyn OwnerIndex> {
        None
    }
}

/// A shared backend is a backend.
#[async_trait]
impl<B: Backend + ?Sized> Backend for Arc<B> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    fn batch(&self) -> Option<&dyn BatchBackend> {
        (**self).batch()
    }

    fn owner_index(&self) -> Option<&dyn OwnerIndex> {
        (**self).owner_index()
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        (**self).load(key).await
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        (**self).save(key, record, write).await
    }

    async fn touch(&self, key: &Key, expected: Revision, ttl: Duration) -> Result<()> {
        (**self).touch(key, expected, ttl).await
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        (**self).destroy(key, only).await
    }

    async fn gc(&self, limit: usize) -> Result<u64> {
        (**self).gc(limit).await
    }
}
