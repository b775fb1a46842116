//! The contract: what a store implements.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{Capabilities, Error, ErrorKind, Key, Loaded, Record, Result, Revision, Update, Write};

/// A store of sessions: an expiring map from [`Key`] to [`Record`] with compare-and-swap.
///
/// It is small enough to implement over any key-value system in about a hundred lines. Everything
/// that all stores share (ids, encoding, lifetimes, merging, deadlines, tracing) is done by
/// [`SessionStore`](crate::SessionStore), which is what applications hold.
///
/// # The contract
///
/// Each clause names the conformance case that proves it; `conformance-tests` runs them all.
///
/// **Records**
/// 1. `load` gives back what was saved, byte for byte: payload (any bytes, from none to 1 MiB and
///    more), revision (all 64 bits) and owner. — `data::payload_is_byte_exact`,
///    `data::payload_of_one_mebibyte`, `data::revision_extremes`, `owner::round_trips`
/// 2. All 32 bytes of a key count. — `ids::keys_differ_in_every_byte`, `ids::keys_are_case_sensitive`
/// 3. A missing record is `Ok(None)`, never an error; a store that can't be asked is an error
///    (`Unavailable`), never `None`. — `load::missing_is_none`
/// 4. Bytes that are not a record are `Corrupt`, and `destroy` still removes them. — proven by the
///    backends' own tests
///
/// **Writes**
///
/// 5. [`Write::Create`] succeeds only where no live record stands, else `AlreadyExists` and the record
///    is as it was. — `save::create_over_live_already_exists`
/// 6. [`Write::Update`] succeeds only over the expected revision. `Gone` where no live record
///    stands, `Conflict` where another revision does; nothing is written then. —
///    `save::update_of_missing_is_gone`, `save::update_after_destroy_is_gone`,
///    `save::update_of_other_revision_conflicts`
/// 7. An update with `ttl: None` leaves the deadline exactly where it is; with `Some` the new life
///    begins now. — `save::update_without_ttl_keeps_deadline`, `save::update_with_ttl_renews`
/// 8. An update replaces the whole record: payload, revision and owner. —
///    `save::update_replaces_payload`, `owner::update_replaces_owner`
/// 9. An update that writes what stands there already succeeds. — `save::identical_update_succeeds`
/// 10. Of any number of concurrent creates of one key, or updates of one revision, exactly one
///     succeeds. — `concurrency::one_create_wins`, `concurrency::one_update_wins`
/// 11. A write is atomic: a concurrent load sees the old record or the new one, and a future that is
///     dropped at an await has written all or nothing; later calls work. —
///     `concurrency::loads_see_whole_records`, `concurrency::dropped_futures_leave_whole_records`
///
/// **Life**
///
/// 12. A record expires by one clock of the store's own, to the millisecond; at its deadline it is
///     expired. An expired record is never loaded, though it may still be there. —
///     `expiry::expired_is_none`, `expiry::reports_remaining_life`
/// 13. An expired record can't be revived: update and touch are `Gone`, and `destroy` is `false`. —
///     `expiry::update_of_expired_is_gone`, `expiry::touch_of_expired_is_gone`
/// 14. An expired record counts as absent for a create. — `expiry::create_over_expired_succeeds`
/// 15. A ttl of zero is `InvalidValue`; one above [`MAX_TTL`](crate::MAX_TTL) counts as `MAX_TTL`
///     ([`ttl_millis`](crate::ttl_millis) does both). — `expiry::zero_ttl_is_refused`,
///     `expiry::huge_ttl_is_clamped`
/// 16. `touch` gives a live record a new life that begins now, longer or shorter, and changes nothing
///     else; without one it is `Gone`. — `touch::renews`, `touch::keeps_record`,
///     `touch::of_missing_is_gone`
///
/// **Destruction**
///
/// 17. `destroy` removes a record and says whether a live one was there; removing what is not there
///     is `Ok(false)`. — `destroy::removes`, `destroy::of_missing_is_false`
/// 18. With `only`, it removes the record only if it has this revision, atomically. —
///     `destroy::only_matching_revision`
/// 19. `gc` removes at most `limit` expired records and says how many; it never removes a live one,
///     not even one that was renewed or replaced a moment ago, and it may run on many nodes at once. —
///     `gc::removes_expired`, `gc::keeps_live`, `gc::respects_limit`, `gc::never_removes_renewed`
///
/// **Rotation**
///
/// 20. `rotate` moves a session to a new key: afterwards the old key is dead and the new one holds
///     the new record. `Gone` and `Conflict` as for an update, and then the old record is as it was
///     and nothing stands under the new key. — `rotate::moves`, `rotate::of_missing_is_gone`,
///     `rotate::of_other_revision_conflicts`
/// 21. With `ttl: None` the deadline moves along, to a tolerance of the operation's own duration. —
///     `rotate::keeps_deadline`
/// 22. Of concurrent rotations exactly one succeeds, and an update that was acknowledged meanwhile is
///     never lost. — `rotate::one_rotation_wins`, `rotate::update_meanwhile_conflicts`
///
/// # Example
///
/// A complete store is in the `conformance-tests` crate's README; the shortest that ships is
/// `session-memory`.
#[async_trait]
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// A short name for errors and logs, for example `"redis"`.
    fn name(&self) -> &'static str;

    /// What this store can do beyond the contract.
    fn capabilities(&self) -> Capabilities;

    /// How long a `load`, `save` or `touch` takes at most, where the store itself sees to that,
    /// whatever hangs on its side. The handle sets no timer of its own around these if its
    /// [deadline](crate::Config::deadline) leaves as much time: timers are a few percent of
    /// what a fast store takes under load. By default there is no such promise, and none is needed.
    fn time_limit(&self) -> Option<Duration> {
        None
    }

    /// The live record under the key (clauses 1 to 4, 12).
    async fn load(&self, key: &Key) -> Result<Option<Loaded>>;

    /// Writes a record, if what stands there allows it (clauses 5 to 11, 13 to 15).
    ///
    /// # Errors
    /// `AlreadyExists`, `Gone`, `Conflict`, `InvalidValue`, `TooLarge` mean that nothing was written.
    /// After `Unavailable` and `Other` it is not known; the handle finds out by the revision.
    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()>;

    /// Gives a live record a new life of `ttl` from now without rewriting it (clause 16).
    async fn touch(&self, key: &Key, ttl: Duration) -> Result<()>;

    /// Removes a record, or only the one with this revision (clauses 17 and 18).
    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool>;

    /// Removes up to `limit` expired records (clause 19). Its cost is in proportion to what expired,
    /// not to what lives.
    async fn gc(&self, limit: usize) -> Result<u64>;

    /// Moves a session to a new key, which is fresh: nobody else has drawn it (clauses 20 to 22).
    ///
    /// Override it where the store can do it in one atomic step, and claim
    /// [`rotates_atomically`](Capabilities::rotates_atomically). The default is [`rotate_by_steps`].
    async fn rotate(&self, old: &Key, new: &Key, record: &Record, write: Update) -> Result<()> {
        rotate_by_steps(self, old, new, record, write).await
    }
}

/// The rotation of a store that can't do it in one atomic step, a cluster for example.
///
/// It saves the new record first, then destroys the old one if it still has the expected revision, and
/// takes the new one back if it had not. A crash in between leaves both: the old id with the old
/// record, which works as before, and the new one, which nobody has.
///
/// # Errors
/// `Gone` and `Conflict` as for an update; the old record is as it was then.
pub async fn rotate_by_steps<B: Backend + ?Sized>(
    backend: &B,
    old: &Key,
    new: &Key,
    record: &Record,
    write: Update,
) -> Result<()> {
    let standing = backend.load(old).await?.ok_or_else(Error::gone)?;
    if standing.record.revision != write.expected {
        return Err(Error::conflict());
    }
    let ttl = write.ttl.unwrap_or(standing.expires_in);
    backend.save(new, record, Write::Create { ttl }).await?;
    complete_rotation(backend, old, new, record.revision, write.expected).await
}

/// The second half of a rotation by steps: the new record stands; destroy the old one if it is still
/// the expected one, else take the new one back.
pub(crate) async fn complete_rotation<B: Backend + ?Sized>(
    backend: &B,
    old: &Key,
    new: &Key,
    written: Revision,
    expected: Revision,
) -> Result<()> {
    if backend.destroy(old, Some(expected)).await? {
        return Ok(());
    }
    let verdict = match backend.load(old).await? {
        Some(_) => ErrorKind::Conflict,
        None => ErrorKind::Gone,
    };
    backend.destroy(new, Some(written)).await?;
    Err(match verdict {
        ErrorKind::Conflict => Error::conflict(),
        _ => Error::gone(),
    })
}

/// A shared store is a store.
#[async_trait]
impl<B: Backend + ?Sized> Backend for Arc<B> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    fn time_limit(&self) -> Option<Duration> {
        (**self).time_limit()
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        (**self).load(key).await
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        (**self).save(key, record, write).await
    }

    async fn touch(&self, key: &Key, ttl: Duration) -> Result<()> {
        (**self).touch(key, ttl).await
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        (**self).destroy(key, only).await
    }

    async fn gc(&self, limit: usize) -> Result<u64> {
        (**self).gc(limit).await
    }

    async fn rotate(&self, old: &Key, new: &Key, record: &Record, write: Update) -> Result<()> {
        (**self).rotate(old, new, record, write).await
    }
}
