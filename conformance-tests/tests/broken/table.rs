//! Each defect with the cases that must find it.

/// A defect.
macro_rules! broken {
    ($($defect:ident: $($case:literal),+;)+) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Defect {
            $($defect),+
        }

        pub(crate) const BROKEN: &[(Defect, &[&str])] = &[$((Defect::$defect, &[$($case),+])),+];
    };
}

broken! {
    ClaimsTooMuch: "load::capabilities_are_as_declared";
    MissingIsEmptyRecord: "load::missing_is_none";
    MissingIsAnError: "load::missing_is_none";
    LoadCreates: "load::of_missing_creates_nothing";
    LoadRenews: "load::does_not_renew";
    LoadConsumes: "load::gives_the_same_each_time";
    CachesPerHandle: "load::every_handle_sees_the_same", "logout::destroyed_cookie_is_dead";
    ForgetsWhenReopened: "load::finds_records_after_reopening", "session::survives_reopening";
    CreateIsLost: "save::create_stores", "cookie_value::of_a_saved_session_loads_it";
    CreateOverwrites: "save::create_over_live_already_exists";
    TombstoneRefusesCreate: "save::create_after_destroy_succeeds";
    UpdateInserts: "save::update_of_missing_is_gone", "save::update_after_destroy_is_gone",
        "logout::save_after_destroy_is_gone", "concurrency::destroy_ends_all_updates",
        "logout::regenerate_after_destroy_is_gone", "tombstone::logout_between_the_steps_wins",
        "sign_in::after_destroy_is_gone";
    UpdateOfMissingIsSilent: "save::update_after_destroy_is_gone";
    UpdateIgnoresRevision: "save::update_of_other_revision_conflicts",
        "save::update_of_older_revision_conflicts", "merge::different_keys_survive",
        "merge::removal_and_insert_survive", "merge::messages_of_both_survive",
        "merge::updates_are_applied_again", "merge::sixty_four_increments_are_64",
        "merge::save_and_regenerate_survive", "merge::save_after_regenerate_is_gone",
        "tombstone::save_between_the_steps_is_not_lost", "tombstone::rotation_between_the_steps_wins",
        "tombstone::one_of_many_rotations_wins", "tombstone::late_requests_change_nothing",
        "sign_in::keeps_what_others_saved_before";
    UpdateIgnoresKey: "save::update_leaves_other_records_alone";
    UpdateRenewsAlways: "save::update_without_ttl_keeps_deadline",
        "expiry::frequent_updates_do_not_prolong", "lifetime::fixed_stays_fixed_when_written_often";
    UpdateNeverRenews: "save::update_with_ttl_renews", "expiry::renewed_by_update_lives_on",
        "lifetime::set_lifetime_is_for_this_session";
    UpdateNeverShortens: "save::update_with_ttl_shortens";
    UpdateToSmallerKeepsExpiry: "save::update_to_a_small_record_is_complete",
        "tombstone::holds_nothing_of_the_session", "tombstone::ends_on_time";
    UpdateToSmallerKeepsOwner: "save::update_to_a_small_record_is_complete";
    OlderVersionReturns: "save::update_with_ttl_shortens",
        "save::update_to_a_small_record_is_complete", "tombstone::ends_on_time";
    UpdateKeepsTail: "save::update_replaces_payload", "session::clear_is_saved",
        "tombstone::holds_nothing_of_the_session";
    CountsChangedRows: "save::identical_update_succeeds";
    TouchIsSilent: "touch::renews", "expiry::renewed_by_touch_lives_on", "lifetime::idle_timeout_is_renewed",
        "lifetime::extend_renews";
    TouchNeverShortens: "touch::shortens";
    TouchRewrites: "touch::keeps_record";
    TouchChangesRevision: "touch::keeps_the_revision_for_updates";
    TouchCreates: "touch::of_missing_is_gone", "touch::after_destroy_is_gone",
        "logout::renewal_after_destroy_is_gone";
    TouchIgnoresRevision: "touch::of_other_revision_conflicts", "touch::of_replaced_record_conflicts",
        "touch::never_prolongs_what_replaced_its_record", "tombstone::late_requests_change_nothing";
    TouchOfOtherRevisionIsGone: "touch::of_other_revision_conflicts";
    TouchRenewsBeforeItCompares: "touch::of_other_revision_conflicts",
        "touch::of_replaced_record_conflicts", "touch::never_prolongs_what_replaced_its_record";
    TouchAcceptsOlderRevisions: "touch::of_replaced_record_conflicts",
        "touch::never_prolongs_what_replaced_its_record";
    TouchComparesHalfTheRevision: "touch::of_other_revision_conflicts";
    TouchRenewsAll: "touch::leaves_other_records_alone";
    TouchReadsThenWrites: "concurrency::destroy_ends_all_touches",
        "concurrency::destroy_ends_what_was_touched";
    ForgetsExpiry: "expiry::expired_is_none", "lifetime::idle_session_expires",
        "lifetime::ends_however_busy", "lifetime::save_of_expired_is_gone";
    AliveAtDeadline: "expiry::never_loaded_at_its_deadline";
    ReportsSeconds: "expiry::reports_remaining_life";
    OneDeadlineForAll: "expiry::each_record_has_its_own";
    UpdateRevivesExpired: "expiry::update_of_expired_is_gone";
    TouchRevivesExpired: "expiry::touch_of_expired_is_gone";
    DestroyCountsExpired: "expiry::destroy_of_expired_is_false";
    CreateOverExpiredRefused: "expiry::create_over_expired_succeeds";
    ZeroTtlAccepted: "expiry::zero_ttl_is_refused";
    ShortTtlRefused: "expiry::shortest_ttl_is_accepted";
    TtlWraps: "expiry::huge_ttl_is_clamped";
    TtlPanics: "expiry::huge_ttl_is_clamped";
    DestroyIsSilent: "destroy::removes", "tombstone::logout_with_the_old_session_follows",
        "tombstone::logout_with_the_new_id_ends_both", "tombstone::logout_follows_two_rotations",
        "tombstone::logout_during_the_inquiry_wins", "logout::destroyed_cookie_is_dead",
        "logout::destroy_at_once_needs_no_save";
    DestroyAlwaysTrue: "destroy::of_missing_is_false", "destroy::twice_is_false",
        "destroy::only_of_missing_is_false", "concurrency::one_destroy_is_true";
    DestroyAlwaysFalse: "destroy::removes", "destroy::only_matching_revision";
    DestroyClearsAll: "destroy::leaves_other_records_alone";
    DestroyIgnoresOnly: "destroy::only_matching_revision";
    GcCountsLimit: "gc::of_nothing_is_zero";
    GcIsSilent: "gc::removes_expired";
    GcHides: "gc::frees_the_storage";
    GcIsGreedy: "gc::keeps_live";
    GcIsHasty: "gc::keeps_what_expires_soon";
    GcIgnoresLimit: "gc::respects_limit";
    GcAsksForEachRecord: "gc::costs_what_expired";
    GcBelievesFirstDeadline: "gc::never_removes_renewed", "gc::never_removes_replaced";
    GcChecksThenDeletes: "gc::never_removes_renewed_meanwhile", "gc::runs_on_many_nodes";
    CreateChecksThenWrites: "concurrency::one_create_wins";
    UpdateChecksThenWrites: "concurrency::one_update_wins", "concurrency::no_increment_is_lost",
        "merge::sixty_four_increments_are_64", "tombstone::acknowledged_saves_move_along",
        "tombstone::one_of_many_rotations_wins";
    WritesInParts: "concurrency::loads_see_whole_records",
        "concurrency::dropped_futures_leave_whole_records";
    LossyUtf8: "data::payload_is_byte_exact";
    NulEndsPayload: "data::payload_is_byte_exact";
    PadsPayload: "data::payload_is_byte_exact", "data::empty_payload";
    ReformatsJson: "data::payload_is_not_interpreted";
    EmptyIsMissing: "data::empty_payload";
    TruncatesAt65535: "data::payload_around_64_kib", "session::ten_thousand_keys",
        "session::value_of_almost_one_mebibyte", "session::all_of_unicode";
    LimitOfOneMebibyte: "data::payload_of_one_mebibyte";
    RevisionIsFloat: "data::revision_extremes";
    RevisionHas63Bits: "data::revision_extremes";
    EvictsTheOldest: "data::a_thousand_records";
    KeysByPrefix: "ids::keys_differ_in_every_byte";
    KeysWithoutCase: "ids::keys_are_case_sensitive";
    KeysTrimmed: "ids::keys_of_any_bytes";
    DropsOwner: "owner::round_trips", "session::owner_is_saved", "session::every_mutator_alone_is_saved",
        "sign_in::renews_id_owner_and_life", "sign_in::late_sign_in_has_an_id_of_its_own";
    FoldsOwner: "owner::is_byte_exact";
    TrimsOwner: "owner::is_byte_exact";
    OneSessionPerOwner: "owner::of_many_records_is_the_same",
        "sign_in::submitted_twice_signs_in_twice";
    UpdateKeepsOwner: "owner::update_replaces_owner";
    WrapperAnswersTouch: "wrapper::forwards_only_the_five_methods", "touch::renews",
        "touch::of_missing_is_gone";
    WrapperCachesLoads: "wrapper::forwards_only_the_five_methods", "load::every_handle_sees_the_same",
        "logout::destroyed_cookie_is_dead";
    WrapperCreatesWhatIsGone: "wrapper::forwards_only_the_five_methods",
        "save::update_after_destroy_is_gone", "logout::save_after_destroy_is_gone";
    WrapperWritesAgain: "wrapper::forwards_only_the_five_methods", "concurrency::one_update_wins",
        "tombstone::late_requests_change_nothing";
    WrapperDropsTtl: "save::update_with_ttl_shortens", "tombstone::ends_on_time";
    WrapperDropsOnly: "destroy::only_matching_revision";
    WrapperForgetsGc: "wrapper::forwards_only_the_five_methods", "gc::removes_expired";
    UpdateIsSilent: "save::update_replaces_payload", "logout::regenerate_kills_the_old_id",
        "tombstone::old_id_is_none_and_the_new_one_has_all", "sign_in::old_cookie_is_dead";
    ConflictWrites: "save::update_of_other_revision_conflicts",
        "refusal::of_any_kind_has_written_nothing";
    HugePayloadIsCut: "refusal::what_is_too_large_is_refused_or_kept";
    HugePayloadIsUnavailable: "refusal::what_is_too_large_is_refused_or_kept";
    HugePayloadReplacesAndIsRefused: "refusal::what_is_too_large_is_refused_or_kept";
    SubtleEqualPayloadKeepsOwner: "model::random_calls_agree";
    SubtleTouchDropsFraction: "model::random_calls_agree";
    SubtleUpdateDropsFraction: "model::random_calls_agree";
    SubtlePowerOfTwo: "model::random_calls_agree";
    SubtleSharesPayloads: "model::random_calls_agree";
    SubtleOnlyComparesHighBits: "model::random_calls_agree";
    SubtleCreateOverExpiredKeepsOwner: "model::random_calls_agree";
    SubtleTouchWorksOnce: "model::random_calls_agree";
    SubtleLongTtlIsNone: "model::random_calls_agree";
    SubtleNoLimitIsAll: "model::random_calls_agree";
    SubtleGcCountsToLimit: "model::random_calls_agree";
    SubtleUpdateForgetsTouch: "model::random_calls_agree";
    SubtleDestroysSibling: "model::random_calls_agree";
    SubtleHandleRemembersMissing: "model::random_calls_agree";
    SubtleWritesRemoveExpiredLate:
        "concurrency::a_write_that_finds_an_expired_record_removes_no_later_one";
    SubtleSecondCopyRenews: "save::second_copy_of_an_update_changes_nothing";
    SubtleOwnedLiveLonger: "deadlines::after_a_sign_in";
    SubtleOwnedAreNotTouched: "deadlines::after_a_read", "deadlines::after_extend";
    SubtleCreateRoundsUp: "deadlines::after_regenerate";
    SubtleCreateAddsAMoment: "deadlines::after_a_create";
    SubtleRenewalAddsToTheRest: "deadlines::after_extend", "deadlines::after_a_read",
        "deadlines::after_a_save", "deadlines::after_a_merge", "deadlines::after_an_update",
        "deadlines::after_reset_lifetime";
    SubtleUpdateKeepsTheLonger: "deadlines::after_set_lifetime";
    DestroyOnlyChecksThenRemoves: "concurrency::destroy_or_update_wins";
    BatchOfLoadsInKeyOrder: "batch::loads_are_in_order";
    BatchOfOnePage: "batch::may_have_any_number_of_items";
    BatchOfCreatesSkipsWhatExists: "batch::creates_are_in_order";
    BatchOfAllOrNothing: "batch::a_bad_item_does_not_affect_the_others";
    BatchOfUpdatesInKeyOrder: "batch::updates_are_in_order";
    BatchOfTouchesIsGoneOrDone: "batch::touches_are_in_order";
    BatchOfDestroysIgnoresOnly: "batch::destroys_are_in_order";
    IndexIsOfOneHandle: "owner::index_finds_every_record", "owner::limit_refuses_the_new_one";
    IndexFoldsCase: "owner::index_is_byte_exact";
    IndexInOrderOfWrites: "owner::index_gives_pages_in_order";
    IndexKeepsTheOwner: "owner::index_follows_a_change_of_the_owner";
    IndexKeepsTheFirstExpiry: "owner::index_keeps_what_was_renewed";
    IndexIsCutAtAThousand: "owner::index_finds_more_than_a_thousand";
    IndexIsWrittenLater: "owner::index_finds_what_was_acknowledged",
        "account::destroy_all_ends_every_session", "account::schedules_of_everything_leave_none";
    IndexIsWrittenAfterTheRecord: "owner::index_has_what_loads";
    IndexCountsPositions: "owner::index_gives_pages_while_records_end";
    IndexRemembersItsAnswer: "owner::limit_ends_the_oldest",
        "owner::limit_holds_for_parallel_sign_ins";
    IndexNeverForgets: "owner::index_forgets_what_ended";
    IndexForgetsWhenReopened: "owner::index_is_there_after_reopening";
    BatchEndsWithItsLeader: "concurrency::dropped_writes_take_no_others_along";
}
