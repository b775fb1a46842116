//! The operations as workloads.

use std::sync::{Arc, Mutex, PoisonError};

use crate::Subject;
use crate::closed_loop::Work;

/// The sessions of the hot workload.
pub(crate) const HOT: usize = 8;

/// One operation on a subject.
pub(crate) struct Job<S: Subject, K> {
    pub(crate) subject: Arc<S>,
    pub(crate) ids: Arc<Vec<S::Id>>,
    pub(crate) kind: K,
}

/// The number of ids that a task prepares.
const READY: usize = 16_384;

pub(crate) struct LoadHit;

impl<S: Subject> Work for Job<S, LoadHit> {
    type State = (Vec<S::Id>, usize);

    /// The sessions are at random places in the store, but the ids are adjacent in memory: a web server has
    /// just read the cookie of its request, and waits for the session only.
    async fn begin(&self, _: usize) -> Self::State {
        let mut random = fastrand::Rng::new();
        let ready = READY.min(self.ids.len());
        ((0..ready).map(|_| self.ids[random.usize(..self.ids.len())].clone()).collect(), 0)
    }

    async fn step(&self, (ids, next): &mut Self::State) -> bool {
        let found = self.subject.load(&ids[*next % ids.len()]).await;
        assert!(found, "a stored session is found");
        *next += 1;
        true
    }

    async fn end(&self, _: Self::State) {}
}

pub(crate) struct LoadMiss;

impl<S: Subject> Work for Job<S, LoadMiss> {
    type State = (Vec<S::Id>, usize);

    async fn begin(&self, _: usize) -> Self::State {
        ((0..512).map(|_| self.subject.unknown()).collect(), 0)
    }

    async fn step(&self, (unknown, next): &mut Self::State) -> bool {
        let found = self.subject.load(&unknown[*next % unknown.len()]).await;
        assert!(!found, "an unknown session is not found");
        *next += 1;
        true
    }

    async fn end(&self, _: Self::State) {}
}

pub(crate) struct Save;

impl<S: Subject> Work for Job<S, Save> {
    type State = (S::Session, u64);

    async fn begin(&self, task: usize) -> Self::State {
        (self.subject.open(&self.ids[task]).await, 0)
    }

    async fn step(&self, (session, number): &mut Self::State) -> bool {
        *number += 1;
        self.subject.save(session, *number).await;
        true
    }

    async fn end(&self, _: Self::State) {}
}

pub(crate) struct Touch;

impl<S: Subject> Work for Job<S, Touch> {
    type State = S::Session;

    async fn begin(&self, task: usize) -> S::Session {
        self.subject.open(&self.ids[task]).await
    }

    async fn step(&self, session: &mut S::Session) -> bool {
        self.subject.touch(session).await;
        true
    }

    async fn end(&self, _: S::Session) {}
}

pub(crate) struct Create<T> {
    pub(crate) made: Arc<Mutex<Vec<Vec<T>>>>,
}

impl<S: Subject> Work for Job<S, Create<S::Session>> {
    type State = Vec<S::Session>;

    async fn begin(&self, _: usize) -> Self::State {
        Vec::new()
    }

    async fn step(&self, made: &mut Self::State) -> bool {
        made.push(self.subject.create().await);
        true
    }

    async fn end(&self, made: Self::State) {
        self.kind.made.lock().unwrap_or_else(PoisonError::into_inner).push(made);
    }
}

pub(crate) struct Destroy<T> {
    pub(crate) made: Arc<Mutex<Vec<Vec<T>>>>,
}

impl<S: Subject> Work for Job<S, Destroy<S::Session>> {
    type State = Vec<S::Session>;

    async fn begin(&self, _: usize) -> Self::State {
        self.kind.made.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    async fn step(&self, made: &mut Self::State) -> bool {
        let Some(session) = made.pop() else {
            return false;
        };
        self.subject.destroy(session).await;
        true
    }

    async fn end(&self, _: Self::State) {}
}

pub(crate) struct Hot;

impl<S: Subject> Work for Job<S, Hot> {
    type State = usize;

    async fn begin(&self, task: usize) -> usize {
        task % HOT
    }

    async fn step(&self, session: &mut usize) -> bool {
        self.subject.increment(&self.ids[*session]).await;
        true
    }

    async fn end(&self, _: usize) {}
}
