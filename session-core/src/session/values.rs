//! The values of a session.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Session;
use super::changes::Step;
use super::watch::Watch;
use crate::json::{from_json, to_json};
use crate::{Error, Result};

/// How often an update is tried again because the value changed meanwhile.
const MAX_ROUNDS: u32 = 100;

impl Session {
    /// The value of this name; `None` when there is none.
    ///
    /// # Errors
    /// `InvalidValue` when it can't be read as `T`. The error names the value and the type, and does
    /// not contain the value. `Corrupt` when it is not JSON.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let json = self.read(|state| state.changes.value(&state.base, name));
        json.map(|json| from_json(name, &json)).transpose()
    }

    /// Sets a value. If another request saves a value of the same name meanwhile, the later save
    /// wins. Other values are not affected.
    ///
    /// Values are stored as JSON: a float that is not finite becomes `null`.
    ///
    /// # Errors
    /// `InvalidValue` when the value can't be written as JSON, or is nested more than 100 deep.
    pub fn insert(&self, name: &str, value: impl Serialize) -> Result<()> {
        let json = to_json(name, &value)?;
        self.write(|state| state.changes.set(name, json));
        Ok(())
    }

    /// Changes a value and returns a **provisional** result: if another request saves the session
    /// before this one, `f` is applied again, to the value that the other request saved.
    ///
    /// So a counter that N parallel requests increment ends at N, but this method may return the
    /// same number to all of them. If the number decides something (a limit, a one-time code), use
    /// [`SessionStore::update`](crate::SessionStore::update), which saves and returns the value
    /// that was written.
    ///
    /// `f` may run several times, so it should have no side effects. It is kept until the session
    /// was saved, so it should not own a clone of the session.
    ///
    /// # Errors
    /// `InvalidValue` when the stored value can't be read as `T` or the result can't be written as
    /// JSON. [`save`](crate::SessionStore::save) returns the same error if this becomes clear only
    /// then.
    ///
    /// ```
    /// # fn main() -> session_core::Result<()> {
    /// let session = session_core::Session::new();
    /// let visits = session.update("visits", |visits: Option<u64>| visits.unwrap_or(0) + 1)?;
    /// assert_eq!(visits, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn update<T, F>(&self, name: &str, f: F) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        F: Fn(Option<T>) -> T + Send + Sync + 'static,
    {
        let (json, _) = self.record_update(name, &step(name, f), None)?;
        from_json(name, &json)
    }

    /// As [`update`](Self::update); returns the number of the change and what becomes of it.
    pub(crate) fn update_watched<T, F>(&self, name: &str, f: F) -> Result<(u64, Arc<Watch>)>
    where
        T: Serialize + DeserializeOwned,
        F: Fn(Option<T>) -> T + Send + Sync + 'static,
    {
        let step = step(name, f);
        let watch = Arc::<Watch>::default();
        let results = Arc::clone(&watch);
        let watching: Step = Arc::new(move |json| {
            let result = step(json)?;
            results.ran(result.clone());
            Ok(result)
        });
        let (_, number) = self.record_update(name, &watching, Some(&watch))?;
        Ok((number, watch))
    }

    /// The result, and the number of the change.
    fn record_update(
        &self,
        name: &str,
        step: &Step,
        watch: Option<&Arc<Watch>>,
    ) -> Result<(Bytes, u64)> {
        for _ in 0..MAX_ROUNDS {
            let (life, before) =
                self.read(|state| (state.version().life, state.changes.value(&state.base, name)));
            // Outside the lock: the step is code of the application and may use the session.
            let json = step(before.as_deref())?;
            let recorded = self.state(|state| {
                let unchanged = state.version().life == life
                    && state.changes.value(&state.base, name) == before;
                if unchanged {
                    state.changes.update(name, Arc::clone(step), watch.cloned(), json.clone());
                }
                unchanged.then(|| state.changes.last())
            });
            if let Some(number) = recorded {
                return Ok((json, number));
            }
        }
        Err(Error::invalid_value(format!(
            "the value {name:?} was changed again and again while it was updated"
        )))
    }

    /// Removes a value and returns it; `None` when there is none.
    ///
    /// # Errors
    /// As [`get`](Self::get); the value remains then.
    pub fn take<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let value = self.get(name)?;
        // Of two clones that take it at once, one has removed it.
        Ok(value.filter(|_| self.remove(name)))
    }

    /// Removes a value. Returns whether there was one.
    pub fn remove(&self, name: &str) -> bool {
        self.write(|state| {
            let existed = state.changes.value(&state.base, name).is_some();
            if existed {
                state.changes.remove(name);
            }
            existed
        })
    }

    /// Whether there is a value of this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.read(|state| state.changes.value(&state.base, name).is_some())
    }

    /// The names of all values, sorted.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.read(|state| state.changes.names(&state.base))
    }

    /// The number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read(|state| state.changes.len(&state.base))
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all values. The session itself remains, and so does the flash; to end a session, use
    /// [`destroy`](Self::destroy).
    pub fn clear(&self) {
        self.write(|state| {
            if state.changes.len(&state.base) > 0 {
                state.changes.clear();
            }
        });
    }
}

/// Turns an update of a typed value into one of its JSON.
fn step<T, F>(name: &str, f: F) -> Step
where
    T: Serialize + DeserializeOwned,
    F: Fn(Option<T>) -> T + Send + Sync + 'static,
{
    let name: Box<str> = name.into();
    Arc::new(move |json| {
        let value = json.map(|json| from_json(&name, json)).transpose()?;
        to_json(&name, &f(value))
    })
}
