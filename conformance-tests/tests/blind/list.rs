//! The faults, each with the clause that it violates.

/// Where the store deviates. `None` is the correct store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    KeyEndsAtNul,
    RevisionComparedAsDouble,
    OwnerWithoutTrailingBlanks,
    EmptyPayloadCoalesced,
    PayloadCutAtOneMebibyte,
    IdenticalUpdateIsConflict,
    TouchToSameExpiryIsGone,
    UpsertOverExpiredKeepsOwner,
    CreateOverExpiredRaces,
    OwnerInSecondStatement,
    SetThenExpire,
    LockSurvivesDrop,
    TtlCheckedAfterWrite,
    ExpiredOtherRevisionConflicts,
    UpdateWithoutTtlInSeconds,
    RenewalSaturatesAt31Bits,
    TouchWritesRecordBack,
    UpdateReadsThenWrites,
    DestroyOnlyLoadsThenDeletes,
    CachedLoad,
    LateLazyDelete,
    GcIndexIgnoresUpdate,
    GcChunksOverrunLimit,
    GcCountsSnapshot,
    DestroyManyInKeyOrder,
}

/// The fault, the clause that it violates, and a case that finds it.
pub(crate) const ALL: &[(Fault, &str, &str)] = &[
    (
        Fault::KeyEndsAtNul,
        "2: the key goes through a C string, so bytes after the first zero byte are ignored",
        "ids::keys_of_any_bytes",
    ),
    (
        Fault::RevisionComparedAsDouble,
        "6, 16, 18: revisions are stored exactly but compared as doubles (Lua's tonumber), so two \
         above 2^53 that differ in low bits match",
        "touch::of_other_revision_conflicts",
    ),
    (
        Fault::OwnerWithoutTrailingBlanks,
        "1: a CHAR column drops the blanks at the end of an owner",
        "owner::is_byte_exact",
    ),
    (
        Fault::EmptyPayloadCoalesced,
        "8: the empty payload is NULL to the database, and COALESCE(?, payload) keeps the old \
         payload under the new revision",
        "save::update_replaces_payload",
    ),
    (
        Fault::PayloadCutAtOneMebibyte,
        "1: a payload above 1 MiB is cut there without an error",
        "data::payload_of_one_mebibyte",
    ),
    (
        Fault::IdenticalUpdateIsConflict,
        "9: MySQL reports 0 affected rows for an update that changes no column; taken for a \
         conflict",
        "save::identical_update_succeeds",
    ),
    (
        Fault::TouchToSameExpiryIsGone,
        "16: MySQL reports 0 affected rows for a touch that sets the expiry that is stored \
         already, to the millisecond; taken for Gone",
        "touch::keeps_record",
    ),
    (
        Fault::UpsertOverExpiredKeepsOwner,
        "1, 14: ON DUPLICATE KEY UPDATE of a create over an expired row forgets the owner column: \
         the new session belongs to the old owner",
        "expiry::create_over_expired_succeeds",
    ),
    (
        Fault::CreateOverExpiredRaces,
        "10, 14: a create that finds an expired row replaces it in a second, unconditional \
         statement, so two concurrent creates succeed",
        "concurrency::one_create_over_an_expired_record_wins",
    ),
    (
        Fault::OwnerInSecondStatement,
        "11: an update that changes the owner writes it in a second statement without a \
         transaction",
        "concurrency::loads_see_whole_records",
    ),
    (
        Fault::SetThenExpire,
        "11, 12: a create is SET NX and then PEXPIRE; in between, and for ever if the future is \
         dropped there, the record has no expiry",
        "concurrency::dropped_creates_expire",
    ),
    (
        Fault::LockSurvivesDrop,
        "11: an update holds a lock file across an await without a guard; after a dropped future \
         no later update of the key works",
        "concurrency::dropped_futures_leave_whole_records",
    ),
    (
        Fault::TtlCheckedAfterWrite,
        "15: an update with a ttl of zero writes the record, then returns InvalidValue, for which \
         nothing_was_written is true",
        "expiry::zero_ttl_is_refused",
    ),
    (
        Fault::ExpiredOtherRevisionConflicts,
        "13, 6, 16: update and touch compare the revision before the expiry, so an expired record \
         of another revision is Conflict instead of Gone",
        "expiry::update_of_expired_is_gone",
    ),
    (
        Fault::UpdateWithoutTtlInSeconds,
        "7: an update without a ttl reads TTL and writes SET EX: the remaining life is rounded up \
         to whole seconds, so the expiry moves",
        "save::update_without_ttl_keeps_deadline",
    ),
    (
        Fault::RenewalSaturatesAt31Bits,
        "7, 15, 16: the new ttl of an update or touch (not of a create) passes through an i32 of \
         milliseconds: at most 24.8 days",
        "expiry::huge_ttl_is_clamped",
    ),
    (
        Fault::TouchWritesRecordBack,
        "16, 10: touch loads the record and writes all of it back with the new expiry, so an \
         update in between is lost though it was acknowledged",
        "concurrency::a_touch_takes_no_update_back",
    ),
    (
        Fault::UpdateReadsThenWrites,
        "6, 16, 18: an update with a ttl compares atomically; one without a ttl reads, compares \
         and then writes if a live row is still there, of whatever revision (clause 10)",
        "concurrency::one_update_wins",
    ),
    (
        Fault::DestroyOnlyLoadsThenDeletes,
        "18: destroy with `only` loads, compares and then deletes by key: an update in between is \
         destroyed",
        "concurrency::destroy_or_update_wins",
    ),
    (
        Fault::CachedLoad,
        "17, 8, wrappers: each object serves a load from its own cache for 200 ms; its own writes \
         clear it, those of another object do not",
        "load::every_handle_sees_the_same",
    ),
    (
        Fault::LateLazyDelete,
        "14, 19: a load that finds an expired record deletes it a moment later by key only, and \
         with it a record that was created meanwhile",
        "concurrency::a_load_of_an_expired_record_removes_no_later_one",
    ),
    (
        Fault::GcIndexIgnoresUpdate,
        "19: gc trusts an index by expiry, which create and touch maintain but update with a ttl \
         does not: gc removes live, renewed records",
        "gc::never_removes_renewed",
    ),
    (
        Fault::GcChunksOverrunLimit,
        "19: gc deletes in chunks of at most 50 until `limit` is reached, without shortening the \
         last chunk: it removes more than `limit`",
        "gc::respects_limit",
    ),
    (
        Fault::GcCountsSnapshot,
        "19: gc selects keys and then deletes those still expired, but returns how many it \
         selected: two at once both count the same records",
        "gc::runs_on_many_nodes",
    ),
    (
        Fault::DestroyManyInKeyOrder,
        "BatchBackend (order of the items): destroy_many sorts the items by key against deadlocks \
         and returns the results in that order",
        "batch::destroys_are_in_order",
    ),
];
