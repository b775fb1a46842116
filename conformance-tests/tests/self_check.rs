//! Tests of the suite: the reference store passes every case, each broken store fails the cases that are listed
//! for it, and every case that uses `Backend` has a store that fails it.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a test's helpers are tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use session_conformance::{Fixture, Harness, Outcome, cases, check, promise};
use session_core::{Capabilities, Result, async_trait};
use tokio::task::JoinSet;

mod blind;
mod broken;
mod second;
mod support;
mod valid;

use blind::Blind;
use broken::{BROKEN, BrokenHarness, Defect};
use second::Second;
use support::reference::{CLAIMS, Reference};
use valid::{VALID, Valid};

/// The groups whose cases use `Backend` directly.
const BACKEND_GROUPS: [&str; 10] =
    ["load", "save", "touch", "expiry", "destroy", "gc", "concurrency", "batch", "data", "owner"];

struct Sound;

#[async_trait]
impl Harness for Sound {
    fn name(&self) -> &str {
        "sound"
    }

    fn capabilities(&self) -> Capabilities {
        CLAIMS
    }

    async fn open(&self) -> Result<Fixture> {
        let store = Reference::new();
        let dumped = Arc::clone(&store);
        Ok(Fixture::new(store).dumping(move || {
            let dump = dumped.dump();
            async move { Ok(dump) }
        }))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn the_reference_store_passes_every_case() {
    let (mut skipped, mut failed) = (Vec::new(), Vec::new());
    for name in cases() {
        match check(&Sound, name).await {
            Outcome::Passed => {}
            Outcome::Skipped(_) => skipped.push(name),
            other => failed.push(format!("{name}: {other:?}")),
        }
    }
    assert!(failed.is_empty(), "the reference store fails:\n{}", failed.join("\n"));
    // It does not claim to be durable; nothing else may be skipped.
    let reopening = [
        "load::finds_records_after_reopening",
        "owner::index_is_there_after_reopening",
        "session::survives_reopening",
    ];
    assert_eq!(skipped, reopening);
}

/// A case that rejects a correct store would cost a maintainer more time than a defect that is not found.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn equally_valid_stores_pass_every_case() {
    let mut failed = Vec::new();
    for valid in VALID {
        failed.extend(
            failures(valid).await.into_iter().map(|message| format!("{valid:?}: {message}")),
        );
    }
    assert!(failed.is_empty(), "valid stores fail:\n{}", failed.join("\n"));
}

/// Runs all cases on the store, 8 at a time, and returns the messages of those that neither passed nor were skipped.
async fn failures<H: Harness + Copy + 'static>(store: H) -> Vec<String> {
    let (mut failed, mut running) = (Vec::new(), JoinSet::new());
    for name in cases() {
        if running.len() >= 8 {
            failed.extend(running.join_next().await.expect("some run").unwrap());
        }
        running.spawn(async move {
            match check(&store, name).await {
                Outcome::Passed | Outcome::Skipped(_) => None,
                other => Some(format!("{name}: {other:?}")),
            }
        });
    }
    failed.extend(running.join_all().await.into_iter().flatten());
    failed
}

/// The handle stops waiting for a slow store at its deadline; even then no write may be lost or applied twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_store_that_stalls_loses_and_doubles_nothing() {
    let concurrent = [
        "merge::sixty_four_increments_are_64",
        "merge::different_keys_survive",
        "tombstone::acknowledged_saves_move_along",
        "tombstone::one_of_many_rotations_wins",
        "sign_in::submitted_twice_signs_in_twice",
        "wrapper::forwards_only_the_five_methods",
    ];
    let mut running = JoinSet::new();
    for name in concurrent.into_iter().cycle().take(concurrent.len() * 6) {
        running.spawn(async move {
            match check(&Valid::Stalls, name).await {
                Outcome::Passed => None,
                other => Some(format!("{name}: {other:?}")),
            }
        });
    }
    let failed: Vec<String> = running.join_all().await.into_iter().flatten().collect();
    assert!(failed.is_empty(), "on a store that stalls:\n{}", failed.join("\n"));
}

/// A wrong store and the case that must find it.
#[derive(Clone, Copy)]
struct Wrong {
    store: Store,
    case: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum Store {
    Ours(Defect),
    Theirs(Blind),
    Second(Second),
}

impl Wrong {
    fn all() -> impl Iterator<Item = Self> {
        let ours = BROKEN.iter().flat_map(|(defect, named)| {
            named.iter().map(|case| Self { store: Store::Ours(*defect), case })
        });
        let theirs = blind::ALL
            .iter()
            .map(|(fault, _, case)| Self { store: Store::Theirs(Blind(*fault)), case });
        let second = second::ALL
            .iter()
            .map(|(fault, case)| Self { store: Store::Second(Second(*fault)), case });
        ours.chain(theirs).chain(second)
    }

    async fn check(self) -> Outcome {
        match self.store {
            Store::Ours(defect) => check(&BrokenHarness(defect), self.case).await,
            Store::Theirs(blind) => check(&blind, self.case).await,
            Store::Second(second) => check(&second, self.case).await,
        }
    }

    /// Runs the case until it finds the defect, but at most `attempts` times. Returns a message if it never does.
    async fn survives(self, attempts: usize) -> Option<String> {
        let Self { store, case } = self;
        let mut outcome = self.check().await;
        for _ in 1..attempts {
            if let Outcome::Passed = outcome {
                outcome = self.check().await;
            }
        }
        let Outcome::Failed(message) = outcome else {
            return Some(format!("{store:?} survives {case}: {outcome:?}"));
        };
        let clause = promise(case).expect("the case exists");
        assert!(
            message.starts_with(clause)
                && !message.contains('\n')
                && !message.contains("an operation hangs"),
            "{case} must describe the defect in one line: {message}"
        );
        println!("{store:?}: {case}: {message}");
        None
    }
}

/// Runs the checks of all wrong stores, 8 at a time, `rounds` times each.
async fn of_all<F>(rounds: usize, check: impl Fn(Wrong) -> F) -> Vec<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let (mut outputs, mut running) = (Vec::new(), JoinSet::new());
    // For a single store or case: part of its name.
    let only = std::env::var("SELF_CHECK_ONLY").unwrap_or_default();
    let is_chosen = |wrong: &Wrong| format!("{:?} {}", wrong.store, wrong.case).contains(&only);
    for wrong in (0..rounds).flat_map(|_| Wrong::all()).filter(is_chosen) {
        if running.len() >= 8 {
            outputs.push(running.join_next().await.expect("some run").unwrap());
        }
        running.spawn(check(wrong));
    }
    outputs.extend(running.join_all().await);
    outputs
}

/// How often a case may try to find a defect: on a busy machine it may miss a race, but not in every attempt.
const ATTEMPTS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn each_wrong_store_fails_the_case_named_for_it() {
    let survivors: Vec<String> =
        of_all(1, |wrong| wrong.survives(ATTEMPTS)).await.into_iter().flatten().collect();
    assert!(survivors.is_empty(), "the suite misses defects:\n{}", survivors.join("\n"));
}

/// `cargo test -p conformance-tests --test self_check -- --ignored --nocapture`; `SELF_CHECK_RUNS` is the number
/// of runs and `SELF_CHECK_ONLY` a part of the name of a store or case.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
#[ignore = "takes minutes: it finds out how reliably each case finds its stores"]
async fn each_wrong_store_is_found_in_19_of_20_runs() {
    let number = std::env::var("SELF_CHECK_RUNS").ok().and_then(|runs| runs.parse().ok());
    let runs: usize = number.unwrap_or(20);
    let outcomes = of_all(runs, |wrong| async move {
        (format!("{:?} by {}", wrong.store, wrong.case), wrong.survives(1).await.is_none())
    });
    let mut found = BTreeMap::<String, usize>::new();
    for (pair, was_found) in outcomes.await {
        *found.entry(pair).or_default() += usize::from(was_found);
    }
    let (mut weak, mut always) = (Vec::new(), 0);
    for (pair, times) in &found {
        println!("found {times} of {runs}: {pair}");
        always += usize::from(*times == runs);
        if times * 20 < runs * 19 {
            weak.push(format!("{times} of {runs}: {pair}"));
        }
    }
    println!("{always} of {} pairs of store and case were found in every run", found.len());
    assert!(weak.is_empty(), "found in fewer than 19 of 20 runs:\n{}", weak.join("\n"));
}

#[test]
fn every_case_over_the_backend_has_a_store_that_fails_it() {
    let caught: BTreeSet<&str> = Wrong::all().map(|wrong| wrong.case).collect();
    let known: BTreeSet<&str> = cases().collect();
    let unknown: Vec<_> = caught.difference(&known).collect();
    assert!(unknown.is_empty(), "there are no such cases: {unknown:?}");
    let (mut over_backend, mut over_handle) = (Vec::new(), Vec::new());
    for name in known.difference(&caught) {
        let group = name.split("::").next().unwrap();
        let is_over_backend = BACKEND_GROUPS.contains(&group)
            || group == "wrapper"
            || promise(name).is_some_and(|place| place.starts_with("the chapter "))
            || name.starts_with("ids::keys_");
        match is_over_backend {
            true => over_backend.push(name),
            false => over_handle.push(name),
        }
    }
    let stores = BROKEN.len() + blind::ALL.len() + second::ALL.len();
    println!("{stores} stores, {} of {} cases found one", caught.len(), known.len());
    println!("cases of the handle, without a broken store: {over_handle:?}");
    assert!(BROKEN.len() >= 25);
    assert!(over_backend.is_empty(), "no broken store fails these: {over_backend:?}");
}

/// A place in the documentation of `Backend` and the cases that it names: `"clause 7"`, or a chapter.
fn contract() -> Vec<(String, Vec<&'static str>)> {
    let plain = |part: &str| part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let doc = include_str!("../../session-core/src/backend.rs");
    let mut places: Vec<(String, Vec<&str>)> = Vec::new();
    for line in doc.lines().filter_map(|line| line.trim().strip_prefix("///")).map(str::trim) {
        if let Some(chapter) = line.strip_prefix("# ") {
            places.push((format!("the chapter {chapter:?}"), Vec::new()));
        } else if let Some((number, _)) = line.split_once(". ")
            && number.parse::<u8>().is_ok()
        {
            places.push((format!("clause {number}"), Vec::new()));
        }
        for name in line.split('`').skip(1).step_by(2) {
            if let Some((group, case)) = name.split_once("::")
                && plain(group)
                && plain(case)
            {
                places.last_mut().expect("cases are named in a chapter").1.push(name);
            }
        }
    }
    places
}

#[test]
fn every_case_that_the_contract_names_exists_and_cites_its_place() {
    let contract = contract();
    for (place, named) in &contract {
        for name in named {
            assert_eq!(promise(name), Some(place.as_str()), "{name} is named by {place}");
        }
    }
    let named: usize = contract.iter().map(|(_, named)| named.len()).sum();
    assert!(named >= 35, "the contract names its cases, but only {named} were found");
}

#[test]
fn every_clause_names_a_case_and_every_case_cites_a_clause_that_exists() {
    let contract = contract();
    let clauses = || contract.iter().filter(|(place, _)| place.starts_with("clause "));
    // Only the tests of each backend know which stored bytes are corrupt.
    let without: Vec<_> =
        clauses().filter(|(_, named)| named.is_empty()).map(|(clause, _)| clause).collect();
    assert_eq!(without, ["clause 4"], "these clauses name no case");
    assert!(clauses().count() >= 19, "the clauses of the contract were not found");
    for name in cases() {
        let cited = promise(name).expect("the case exists");
        let known = contract.iter().any(|(place, _)| place == cited);
        let is_of_the_session =
            cited.starts_with("the promise ") || cited.starts_with("the claim ");
        assert!(
            known
                || is_of_the_session
                || [
                    "the harness's declaration",
                    "the whole contract",
                    "the contract of BatchBackend",
                    "the contract of OwnerIndex",
                ]
                .contains(&cited),
            "{name} cites {cited:?}, which the contract does not have"
        );
    }
}

#[test]
fn there_are_at_least_sixty_cases_with_distinct_names() {
    let names: Vec<_> = cases().collect();
    let distinct: BTreeSet<_> = names.iter().collect();
    assert!(names.len() >= 60 && distinct.len() == names.len());
}
