//! The values of a session.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::Session;
use crate::document::check_nesting;
use crate::{Error, Result};

/// How often an update starts again because the value changed under it.
const MAX_ROUNDS: u32 = 100;

impl Session {
    /// The value under a key; `None` when there is none.
    ///
    /// # Errors
    /// `InvalidValue` when it is there but is no `T`; `Corrupt` when it is no JSON.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let json = self.read(|state| state.changes.value(&state.base, key));
        json.map(|json| from_json(&json)).transpose()
    }

    /// Puts a value under a key. When another request saves the same key meanwhile, the later save
    /// wins; other keys are not affected.
    ///
    /// Values are kept as JSON: a float that is not finite becomes `null`, as in JavaScript.
    ///
    /// # Errors
    /// `InvalidValue` when the value can't be written as JSON, or is nested more than 100 deep.
    pub fn insert<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<()> {
        let json = to_json(value)?;
        self.write(|state| state.changes.set(key, json));
        Ok(())
    }

    /// Changes a value by what it was: reads it, applies `f`, keeps and returns the outcome.
    ///
    /// When another request changes the session before this one is saved, `f` is applied again to
    /// what that one left, so a counter that N parallel requests increment ends at N. `f` may
    /// therefore run several times and should do nothing else. It is kept until the session was
    /// saved, so it should not hold a clone of the session.
    ///
    /// # Errors
    /// `InvalidValue` when what stands there is no `T` or the outcome can't be written as JSON. From
    /// [`save`](crate::SessionStore::save) too, when that is found only then.
    pub fn update<T, F>(&self, key: &str, f: F) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        F: Fn(Option<T>) -> T + Send + Sync + 'static,
    {
        let apply = move |json: Option<&[u8]>| -> Result<(T, Bytes)> {
            let value = f(json.map(from_json).transpose()?);
            let json = to_json(&value)?;
            Ok((value, json))
        };
        let apply = Arc::new(apply);
        for _ in 0..MAX_ROUNDS {
            let (epoch, before) =
                self.read(|state| (state.epoch, state.changes.value(&state.base, key)));
            // Outside the lock: `f` may use the session, and may take its time.
            let (value, json) = apply(before.as_deref())?;
            let step = {
                let apply = Arc::clone(&apply);
                Arc::new(move |json: Option<&[u8]>| apply(json).map(|(_, json)| json))
            };
            let recorded = self.state(|state| {
                let unchanged =
                    state.epoch == epoch && state.changes.value(&state.base, key) == before;
                if unchanged {
                    state.changes.update(key, step, json);
                }
                unchanged
            });
            if recorded {
                return Ok(value);
            }
        }
        Err(Error::invalid_value("the value changed again and again while it was updated"))
    }

    /// Removes a value; whether there was one.
    pub fn remove(&self, key: &str) -> bool {
        self.write(|state| {
            let stood = state.changes.value(&state.base, key).is_some();
            if stood {
                state.changes.remove(key);
            }
            stood
        })
    }

    /// Whether there is a value under a key.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.read(|state| state.changes.value(&state.base, key).is_some())
    }

    /// All keys, sorted.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.read(|state| state.changes.keys(&state.base))
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read(|state| state.changes.len(&state.base))
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all values. The session itself stays, and so does the flash; to end a session, use
    /// [`destroy`](Self::destroy).
    pub fn clear(&self) {
        self.write(|state| {
            if state.changes.len(&state.base) > 0 {
                state.changes.clear();
            }
        });
    }
}

pub(crate) fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<Bytes> {
    let json = serde_json::to_vec(value)
        .map_err(|_| Error::invalid_value("the value can't be written as JSON"))?;
    check_nesting(&json)?;
    Ok(json.into())
}

pub(crate) fn from_json<T: DeserializeOwned>(json: &[u8]) -> Result<T> {
    serde_json::from_slice(json).map_err(|error| match error.classify() {
        Category::Data => {
            Error::invalid_value("the value is of another type").with_source(Redacted::from(&error))
        }
        _ => Error::corrupt("the value is no JSON").with_source(Redacted::from(&error)),
    })
}

/// Where a value could not be read; serde's own message may quote the value.
#[derive(Debug)]
struct Redacted {
    line: usize,
    column: usize,
}

impl From<&serde_json::Error> for Redacted {
    fn from(error: &serde_json::Error) -> Self {
        Self { line: error.line(), column: error.column() }
    }
}

impl std::fmt::Display for Redacted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "at line {}, column {} of the value", self.line, self.column)
    }
}

impl std::error::Error for Redacted {}
