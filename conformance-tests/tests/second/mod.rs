//! The stores of the crate `second-author`: 25 wrong ones that were written from the contract alone, by an author who
//! had not seen the suite. At that time the suite rejected 16 of them.

use second_author::{Fault, Wrong};
use session_conformance::{Fixture, Harness};
use session_core::{Capabilities, Result, async_trait};

use crate::failures;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Second(pub(crate) Fault);

#[async_trait]
impl Harness for Second {
    fn name(&self) -> &str {
        "second"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn open(&self) -> Result<Fixture> {
        let store = Wrong::new(self.0);
        Ok(Fixture::connecting(move || {
            let same = store.clone();
            async move { Ok(same) }
        }))
    }
}

/// Each fault and the case that must find it.
pub(crate) const ALL: [(Fault, &str); 25] = [
    (Fault::ZeroMeansAny, "data::revision_extremes"),
    (Fault::RevisionAsDouble, "touch::of_other_revision_conflicts"),
    (Fault::TrailingSpaceKey, "ids::keys_of_any_bytes"),
    (Fault::EmptyUpdateKeepsPayload, "save::update_replaces_payload"),
    (Fault::TouchWraps, "expiry::huge_ttl_is_clamped"),
    (Fault::GcZeroIsAll, "gc::respects_limit"),
    (Fault::SubMillisecondIsZero, "model::random_calls_agree"),
    (Fault::ErrorNamesKey, "refusal::names_no_key_payload_or_owner"),
    (Fault::ExpiredIsConflict, "expiry::update_of_expired_is_gone"),
    (Fault::RefusedButWritten, "refusal::among_many_writes_has_written_nothing"),
    (Fault::LoserIsGone, "concurrency::one_update_wins"),
    (Fault::TwoWinnersOverExpired, "concurrency::one_create_over_an_expired_record_wins"),
    (Fault::ChunkedLoad, "concurrency::loads_see_large_records_whole"),
    (Fault::UpdateUndoesTouch, "concurrency::an_update_takes_no_touch_back"),
    (Fault::TouchWritesBack, "concurrency::a_touch_takes_no_update_back"),
    (Fault::DropLeavesLock, "concurrency::dropped_futures_leave_whole_records"),
    (Fault::CacheForgetsTouch, "load::every_handle_sees_the_same"),
    (Fault::CacheRefillRace, "concurrency::loads_see_whole_records"),
    (Fault::RepeatIsRemembered, "save::late_copy_of_an_update_is_refused"),
    (Fault::BatchAbortLies, "batch::a_bad_item_does_not_affect_the_others"),
    (Fault::BatchItemTooLarge, "batch::takes_what_is_as_large_as_a_single_record"),
    (Fault::BatchOneTtl, "batch::each_item_has_a_life_of_its_own"),
    (Fault::LimitBeforeFilter, "owner::index_pages_go_on_after_expired_records"),
    (Fault::ProlongMovesEntry, "owner::index_keeps_the_owner_when_a_change_fails"),
    (Fault::CursorPrefix, "owner::index_compares_whole_keys"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn the_store_without_a_fault_passes() {
    assert_eq!(failures(Second(Fault::None)).await, Vec::<String>::new());
}

#[test]
fn each_fault_has_a_case() {
    assert_eq!(ALL.map(|(fault, _)| fault), second_author::ALL);
}
