//! Makes the calls of a sequence and compares each result with the model.

use std::sync::Arc;
use std::time::{Duration, Instant};

use session_core::{
    Backend, Error, ErrorKind, Key, Loaded, Record, Result, Revision, Update, Write,
};

use super::answer::{Answer, Told, Wanted, list};
use super::state::{Live, Slot};
use super::step::{Call, Compare, HANDLES, KEYS, Step};
use crate::case::{CaseResult, Context, Failure, SLACK, ensure, same};

/// How often a store may be `Unavailable` before it counts as broken.
const MAX_OUTAGES: usize = 50;

/// One run of a sequence, with its own keys.
struct Run<'a> {
    cx: &'a Context,
    handles: Vec<Arc<dyn Backend>>,
    keys: [Key; KEYS],
    slots: [Slot; KEYS],
    outages: usize,
    /// The expiries of records that earlier runs left, which gc may remove.
    others: &'a mut Vec<Instant>,
}

/// Makes all calls; `others` are the expiries of records that earlier runs left.
pub(crate) async fn play(cx: &Context, steps: &[Step], others: &mut Vec<Instant>) -> CaseResult {
    let mut handles = Vec::new();
    for _ in 0..HANDLES {
        handles.push(cx.backend().await?);
    }
    let slots = std::array::from_fn(|_| Slot::default());
    let mut run = Run { cx, handles, keys: keys(), slots, outages: 0, others };
    let mut result = Ok(());
    for (done, step) in steps.iter().enumerate() {
        if let Err(failure) = run.step(step).await {
            result = Err(at(failure, done, step));
            break;
        }
    }
    run.tidy().await;
    result
}

/// Random keys that differ in one bit, in the case of a letter, or in the last byte.
fn keys() -> [Key; KEYS] {
    let mut base: [u8; 32] = std::array::from_fn(|_| fastrand::u8(b'a'..=b'z'));
    let mut keys = [Key::from_bytes(base); KEYS];
    for (n, at, mask) in [(1, 31, 1), (2, 0, 0x20), (3, 16, 0x80), (4, 31, 0x20)] {
        let mut bytes = base;
        bytes[at] ^= mask;
        keys[n] = Key::from_bytes(bytes);
    }
    base[8..].fill(0);
    keys[5] = Key::from_bytes(base);
    keys
}

fn at(failure: Failure, done: usize, step: &Step) -> Failure {
    match failure {
        Failure::Failed(message) => {
            Failure::Failed(format!("call {}, {step}: {message}", done + 1))
        }
        Failure::Error(error) => Failure::Failed(format!(
            "call {}, {step}: it must succeed, but was {:?}, {error}",
            done + 1,
            error.kind()
        )),
        skipped @ Failure::Skipped(_) => skipped,
    }
}

impl Run<'_> {
    async fn step(&mut self, step: &Step) -> CaseResult {
        let store = Arc::clone(&self.handles[step.handle]);
        let stamps = self.slots.each_ref().map(Slot::stamp);
        let named = match &step.call {
            Call::Create { key, record, ttl } => {
                let record = self.slots[*key].to_write(record);
                let write = Write::Create { ttl: *ttl };
                self.save(&*store, *key, record, write).await?;
                *key
            }
            Call::Update { key, record, expected, ttl } => {
                let slot = &self.slots[*key];
                let update = Update { expected: slot.revision(*expected), ttl: *ttl };
                self.save(&*store, *key, slot.to_write(record), Write::Update(update)).await?;
                *key
            }
            Call::Touch { key, expected, ttl } => {
                let expected = self.slots[*key].revision(*expected);
                self.touch(&*store, *key, expected, *ttl).await?;
                *key
            }
            Call::Destroy { key, only } => {
                let only = only.map(|only| self.slots[*key].revision(only));
                self.destroy(&*store, *key, only).await?;
                *key
            }
            Call::Load { key } => *key,
            Call::Gc { limit } => return self.gc(step.handle, &*store, *limit).await,
            Call::Wait { time } => {
                tokio::time::sleep(*time).await;
                return Ok(());
            }
            Call::Reopen => {
                drop(store);
                self.handles[step.handle] = self.cx.backend().await?;
                return Ok(());
            }
        };
        if self.slots[named].stamp() != stamps[named] {
            self.slots[named].writer = step.handle;
        }
        match step.compare {
            Compare::Nothing if !matches!(step.call, Call::Load { .. }) => {}
            Compare::Nothing => self.compare(step.handle, named).await?,
            Compare::By(handle) => self.compare(handle, named).await?,
            Compare::All => {
                for key in 0..KEYS {
                    for handle in 0..HANDLES {
                        self.compare(handle, key).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The results that the model allows for a write between these moments.
    fn answer(&self, key: usize, write: Wanted, began: Instant, ended: Instant) -> Vec<Answer> {
        let slot = &self.slots[key];
        let live = slot.live(began, ended);
        let fits = |expected: Revision| {
            let is = slot.record.as_ref().map(|record| record.revision);
            if is == Some(expected) { Answer::Done } else { Answer::Refused(ErrorKind::Conflict) }
        };
        let (with, without, zero) = match write {
            Wanted::Create { zero } => {
                (Answer::Refused(ErrorKind::AlreadyExists), Answer::Done, zero)
            }
            Wanted::Over { expected, zero } => {
                (fits(expected), Answer::Refused(ErrorKind::Gone), zero)
            }
        };
        let mut answers = match live {
            Live::Yes => vec![with],
            Live::No => vec![without],
            Live::Maybe => vec![with, without],
        };
        if zero {
            // The store may report this mistake or another one; nothing is written in any case.
            answers.retain(|answer| *answer != Answer::Done);
            answers.push(Answer::Refused(ErrorKind::InvalidValue));
        }
        answers
    }

    async fn save(
        &mut self,
        store: &dyn Backend,
        key: usize,
        record: Record,
        write: Write,
    ) -> CaseResult {
        let (wanted, ttl) = match write {
            Write::Create { ttl } => (Wanted::Create { zero: ttl.is_zero() }, Some(ttl)),
            Write::Update(Update { expected, ttl }) => {
                let zero = ttl.is_some_and(|ttl| ttl.is_zero());
                (Wanted::Over { expected, zero }, ttl)
            }
        };
        let began = Instant::now();
        let result = store.save(&self.keys[key], &record, write).await;
        let ended = Instant::now();
        let mut answers = self.answer(key, wanted, began, ended);
        let slot = &self.slots[key];
        // The second copy of an update may find its own revision (clause 9). It changes nothing then.
        let found = slot.record.as_ref().map(|found| found.revision);
        let conflict = Answer::Refused(ErrorKind::Conflict);
        let is_copy = found == Some(record.revision) && answers.contains(&conflict);
        if is_copy && !ttl.is_some_and(|ttl| ttl.is_zero()) {
            answers.push(Answer::Done);
        }
        match self.told(result, &answers)? {
            Told::Done if is_copy => {}
            Told::Done => self.slots[key].was_written(record, ttl, began, ended),
            Told::Refused(kind) => self.saw_refusal(key, kind),
            Told::NotKnown => {
                let found = self.find(store, key).await?;
                if found.is_some_and(|found| found.record == record) {
                    self.slots[key].was_written(record, ttl, began, Instant::now());
                }
            }
        }
        Ok(())
    }

    async fn touch(
        &mut self,
        store: &dyn Backend,
        key: usize,
        expected: Revision,
        ttl: Duration,
    ) -> CaseResult {
        let began = Instant::now();
        let result = store.touch(&self.keys[key], expected, ttl).await;
        let ended = Instant::now();
        let wanted = Wanted::Over { expected, zero: ttl.is_zero() };
        let answers = self.answer(key, wanted, began, ended);
        match self.told(result, &answers)? {
            Told::Done => self.slots[key].was_renewed(ttl, began, ended),
            Told::Refused(kind) => self.saw_refusal(key, kind),
            Told::NotKnown if answers.contains(&Answer::Done) => {
                self.slots[key].may_be_renewed(ttl, began, ended);
            }
            Told::NotKnown => {}
        }
        Ok(())
    }

    async fn destroy(
        &mut self,
        store: &dyn Backend,
        key: usize,
        only: Option<Revision>,
    ) -> CaseResult {
        let began = Instant::now();
        let result = store.destroy(&self.keys[key], only).await;
        let ended = Instant::now();
        let slot = &self.slots[key];
        let is = slot.record.as_ref().map(|record| record.revision);
        let fits = only.is_none_or(|only| Some(only) == is);
        let live = slot.live(began, ended);
        match result {
            Ok(was) => {
                let right = match live {
                    _ if !fits => !was,
                    Live::Yes => was,
                    Live::No => !was,
                    Live::Maybe => true,
                };
                ensure!(right, "it must say {}, but said {was}", !was);
                if fits {
                    self.slots[key].was_ended();
                }
                if was {
                    self.slots[key].was_removed();
                }
            }
            Err(error) => {
                self.told::<()>(Err(error), &[])?;
                if fits && self.find(store, key).await?.is_none() {
                    self.slots[key].was_ended();
                }
            }
        }
        Ok(())
    }

    async fn gc(&mut self, handle: usize, store: &dyn Backend, limit: usize) -> CaseResult {
        let began = Instant::now();
        let result = store.gc(limit).await;
        let Ok(removed) = result else {
            return self.told(result.map(drop), &[]).map(drop);
        };
        let removed = usize::try_from(removed).unwrap_or(usize::MAX);
        let now = Instant::now();
        let at_most =
            self.others.len() + self.slots.iter().filter(|slot| slot.may_have_expired(now)).count();
        // A store may find only later what another handle wrote, such as another process.
        let must_go =
            |slot: &&Slot| slot.untouched && slot.writer == handle && slot.has_expired(began);
        let at_least = self.slots.iter().filter(must_go).count().min(limit);
        ensure!(removed <= limit, "it must remove {limit} at most, but says {removed}");
        ensure!(removed <= at_most, "it can remove {at_most} at most, but says {removed}");
        ensure!(
            removed >= at_least || self.cx.capabilities.expires_natively,
            "it must remove {at_least} at least, but says {removed}"
        );
        if removed == at_most {
            // All expired records are removed. Otherwise a store may have left some for the next time.
            self.others.retain(|last| *last + SLACK >= began);
            for slot in self.slots.iter_mut().filter(|slot| slot.has_expired(began)) {
                slot.was_removed();
            }
        }
        // It is not known which records were removed.
        self.slots.iter_mut().for_each(|slot| slot.untouched &= limit == 0);
        Ok(())
    }

    /// Loads a record and compares it and its remaining life.
    async fn compare(&mut self, handle: usize, key: usize) -> CaseResult {
        let store = Arc::clone(&self.handles[handle]);
        let began = Instant::now();
        let found = self.find(&*store, key).await?;
        let ended = Instant::now();
        let name = ["a", "b"][handle];
        let slot = &mut self.slots[key];
        match (found, slot.live(began, ended)) {
            (None, Live::No | Live::Maybe) => slot.was_ended(),
            (None, Live::Yes) => {
                let left = slot.left(began, ended).0;
                return Err(Failure::Failed(format!(
                    "then {name}.load(key {key}) must give the record, {left:?} are left, but is None"
                )));
            }
            (Some(_), Live::No) => {
                return Err(Failure::Failed(format!(
                    "then {name}.load(key {key}) must be None, but gives a record"
                )));
            }
            (Some(found), Live::Yes | Live::Maybe) => {
                let after = format!("that {name}.load(key {key}) then gives");
                let record = slot.record.as_ref().expect("a live slot has a record");
                same(&found.record, record, &after)?;
                let (at_least, at_most) = slot.left(began, ended);
                ensure!(
                    found.expires_in >= at_least && found.expires_in <= at_most,
                    "then {name}.load(key {key}) must have {at_least:?} to {at_most:?} left, but has {:?}",
                    found.expires_in
                );
            }
        }
        Ok(())
    }

    /// Loads, and repeats the load if the store is `Unavailable`.
    async fn find(&mut self, store: &dyn Backend, key: usize) -> CaseResult<Option<Loaded>> {
        loop {
            match store.load(&self.keys[key]).await {
                Err(error) if error.kind() == ErrorKind::Unavailable => self.outage(error)?,
                result => return Ok(result?),
            }
        }
    }

    fn outage(&mut self, error: Error) -> CaseResult {
        self.outages += 1;
        if self.outages > MAX_OUTAGES { Err(error.into()) } else { Ok(()) }
    }

    fn told<T>(&mut self, result: Result<T>, answers: &[Answer]) -> CaseResult<Told> {
        let error = match result {
            Ok(_) if answers.contains(&Answer::Done) => return Ok(Told::Done),
            Ok(_) => {
                return Err(Failure::Failed(format!("it must be {}, but was Ok", list(answers))));
            }
            Err(error) => error,
        };
        match error.kind() {
            ErrorKind::Unavailable => {
                let refused = error.nothing_was_written();
                self.outage(error)?;
                let kind = ErrorKind::Unavailable;
                Ok(if refused { Told::Refused(kind) } else { Told::NotKnown })
            }
            kind if answers.contains(&Answer::Refused(kind)) => Ok(Told::Refused(kind)),
            kind => Err(Failure::Failed(format!(
                "it must be {}, but was {kind:?} ({error})",
                list(answers)
            ))),
        }
    }

    /// The kind of a refusal shows whether there is a live record.
    fn saw_refusal(&mut self, key: usize, kind: ErrorKind) {
        match kind {
            ErrorKind::Gone => self.slots[key].was_ended(),
            // It may be that of an expired record.
            ErrorKind::InvalidValue => self.slots[key].untouched = false,
            _ => {}
        }
    }

    /// Destroys live records; expired records are left for gc in later runs.
    async fn tidy(&mut self) {
        for (key, slot) in self.keys.iter().zip(&self.slots) {
            let destroyed = matches!(self.handles[0].destroy(key, None).await, Ok(true));
            self.others.extend(slot.last_moment().filter(|_| !destroyed));
        }
    }
}
