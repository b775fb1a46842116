//! What a run has proven of a store: a summary of one line, and a JSON document.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::case::Case;
use crate::cases::all;
use crate::outcome::Outcome;

/// The version of the contract: that of this crate and of session-core, without the patch.
const CONTRACT: &str =
    concat!(env!("CARGO_PKG_VERSION_MAJOR"), ".", env!("CARGO_PKG_VERSION_MINOR"));

/// The outcomes of one store, by the name of the case.
pub(crate) struct Report {
    store: String,
    outcomes: Mutex<BTreeMap<&'static str, Outcome>>,
}

/// The state of a clause or promise.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// All of its cases that apply to the store passed, and at least one did.
    Proven,
    Broken,
    /// None of its cases applies to the store, for this reason.
    Skipped(String),
    /// A filter left out some of its cases.
    NotRun,
}

impl Report {
    pub(crate) fn new(store: &str) -> Self {
        Self { store: store.to_owned(), outcomes: Mutex::default() }
    }

    pub(crate) fn add(&self, case: &Case, outcome: &Outcome) {
        let mut outcomes = self.outcomes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        outcomes.insert(case.name, outcome.clone());
    }

    fn outcomes(&self) -> BTreeMap<&'static str, Outcome> {
        self.outcomes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    pub(crate) fn has_run(&self) -> bool {
        !self.outcomes().is_empty()
    }

    /// Whether no case was left out and the store was there.
    fn is_complete(&self) -> bool {
        let outcomes = self.outcomes();
        let is_missing = |outcome: &Outcome| matches!(outcome, Outcome::Missing(_));
        all().all(|case| outcomes.get(case.name).is_some_and(|outcome| !is_missing(outcome)))
    }

    pub(crate) fn has_failed(&self, strict: bool) -> bool {
        self.outcomes().values().any(|outcome| match outcome {
            Outcome::Failed(_) => true,
            Outcome::Missing(_) => strict,
            Outcome::Passed | Outcome::Skipped(_) => false,
        })
    }

    /// The clauses and promises, in the order in which the cases cite them.
    fn promises(&self) -> Vec<(&'static str, State)> {
        let (outcomes, mut seen) = (self.outcomes(), BTreeSet::new());
        let promises = all().map(|case| case.promise).filter(|promise| seen.insert(*promise));
        promises.map(|promise| (promise, state(promise, &outcomes))).collect()
    }

    /// One line to paste, if the whole suite ran.
    pub(crate) fn summary(&self) -> Option<String> {
        self.is_complete().then(|| self.line())
    }

    fn line(&self) -> String {
        let (outcomes, promises) = (self.outcomes(), self.promises());
        let clauses = || promises.iter().filter(|(promise, _)| number(promise).is_some());
        let proven = clauses().filter(|(_, state)| *state == State::Proven).count();
        let skipped = clauses().filter(|(_, state)| matches!(state, State::Skipped(_))).count();
        let count = |which: fn(&Outcome) -> bool| outcomes.values().filter(|o| which(o)).count();
        let of = clauses().count() - skipped;
        let mut line =
            format!("{}: contract {CONTRACT}, {proven} of {of} clauses proven", self.store);
        if skipped > 0 {
            line.push_str(&format!(" ({skipped} do not apply)"));
        }
        let passed = count(|outcome| *outcome == Outcome::Passed);
        line.push_str(&format!(", {passed} cases passed"));
        for (text, number) in [
            ("failed", count(|outcome| matches!(outcome, Outcome::Failed(_)))),
            ("skipped", count(|outcome| matches!(outcome, Outcome::Skipped(_)))),
            ("without a store", count(|outcome| matches!(outcome, Outcome::Missing(_)))),
            ("not run", all().count() - outcomes.len()),
        ] {
            if number > 0 {
                line.push_str(&format!(", {number} {text}"));
            }
        }
        line
    }

    pub(crate) fn json(&self) -> Value {
        let outcomes = self.outcomes();
        let (mut proven, mut other) = (Vec::new(), Vec::new());
        let mut promises = self.promises();
        promises.sort_by_key(|(promise, _)| (number(promise).is_none(), number(promise)));
        for (promise, state) in promises {
            let name = number(promise).map_or_else(|| json!(promise), |number| json!(number));
            match state {
                State::Proven => proven.push(name),
                State::Broken => other.push(json!({"clause": name, "state": "broken"})),
                State::NotRun => other.push(json!({"clause": name, "state": "not run"})),
                State::Skipped(why) => {
                    other.push(json!({"clause": name, "state": "skipped", "why": why}));
                }
            }
        }
        let cases: Vec<Value> = outcomes
            .iter()
            .map(|(name, outcome)| match outcome {
                Outcome::Passed => json!({"case": name, "outcome": "passed"}),
                Outcome::Skipped(why) => json!({"case": name, "outcome": "skipped", "why": why}),
                Outcome::Missing(why) => json!({"case": name, "outcome": "missing", "why": why}),
                Outcome::Failed(why) => json!({"case": name, "outcome": "failed", "why": why}),
            })
            .collect();
        json!({
            "store": self.store,
            "contract": CONTRACT,
            "complete": self.is_complete(),
            "passed": self.is_complete() && !self.has_failed(true),
            "summary": self.line(),
            "proven": proven,
            "not_proven": other,
            "cases": cases,
        })
    }
}

fn state(promise: &str, outcomes: &BTreeMap<&'static str, Outcome>) -> State {
    let (mut passed, mut skipped) = (false, None);
    let mut is_left_out = false;
    for case in all().filter(|case| case.promise == promise) {
        match outcomes.get(case.name) {
            Some(Outcome::Failed(_)) => return State::Broken,
            Some(Outcome::Passed) => passed = true,
            Some(Outcome::Skipped(why) | Outcome::Missing(why)) => skipped = Some(why.clone()),
            None => is_left_out = true,
        }
    }
    match skipped {
        _ if is_left_out => State::NotRun,
        _ if passed => State::Proven,
        Some(why) => State::Skipped(why),
        None => State::NotRun,
    }
}

/// The number of a clause of the contract.
fn number(promise: &str) -> Option<u8> {
    promise.strip_prefix("clause ")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The outcomes that `outcome` chooses for the names of the cases; `None` leaves a case out.
    fn report(outcome: impl Fn(&str) -> Option<Outcome>) -> Report {
        let report = Report::new("yours");
        for case in all() {
            if let Some(outcome) = outcome(case.name) {
                report.add(case, &outcome);
            }
        }
        report
    }

    fn state_of(report: &Report, promise: &str) -> State {
        report.promises().into_iter().find(|(name, _)| *name == promise).expect("it is cited").1
    }

    #[test]
    fn a_complete_run_has_a_summary() {
        let report = report(|_| Some(Outcome::Passed));
        let summary = report.summary().expect("all cases ran");
        assert_eq!(
            summary,
            format!("yours: contract 0.1, 18 of 18 clauses proven, {} cases passed", all().count())
        );
        assert_eq!(report.json()["passed"], true);
        assert_eq!(report.json()["not_proven"], json!([]));
        assert!(!report.has_failed(true));
    }

    #[test]
    fn a_failed_case_breaks_its_clause() {
        let failed = "touch::renews";
        let report = report(|name| {
            Some(if name == failed { Outcome::Failed("why".into()) } else { Outcome::Passed })
        });
        assert_eq!(state_of(&report, "clause 16"), State::Broken);
        assert_eq!(state_of(&report, "clause 17"), State::Proven);
        assert!(report.has_failed(false));
        assert_eq!(report.json()["passed"], false);
        assert!(report.line().contains("17 of 18 clauses proven"));
        assert!(report.line().ends_with(", 1 failed"));
    }

    #[test]
    fn a_clause_whose_cases_were_all_skipped_is_not_proven() {
        let report = report(|name| {
            let skipped = name.starts_with("gc::") || name == "load::finds_records_after_reopening";
            Some(if skipped { Outcome::Skipped("no gc".into()) } else { Outcome::Passed })
        });
        assert_eq!(state_of(&report, "clause 19"), State::Skipped("no gc".into()));
        let why = json!({"clause": 19, "state": "skipped", "why": "no gc"});
        assert!(report.json()["not_proven"].as_array().expect("a list").contains(&why));
        assert_eq!(report.json()["passed"], true, "what does not apply is no failure");
        assert!(report.line().contains("17 of 17 clauses proven (1 do not apply), "));
    }

    #[test]
    fn a_filter_proves_nothing_of_what_it_left_out() {
        let report = report(|name| name.starts_with("touch::renews").then_some(Outcome::Passed));
        assert_eq!(report.summary(), None);
        assert_eq!(state_of(&report, "clause 16"), State::NotRun);
        assert_eq!(report.json()["passed"], false);
        assert_eq!(report.json()["complete"], false);
    }

    #[test]
    fn a_missing_store_proves_nothing() {
        let report = report(|_| Some(Outcome::Missing("start it".into())));
        assert_eq!(report.summary(), None);
        assert!(report.has_failed(true) && !report.has_failed(false));
        assert_eq!(report.json()["passed"], false);
        assert_eq!(report.json()["proven"], json!([]));
    }
}
