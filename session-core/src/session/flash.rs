//! Flash: values and messages that are delivered once.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Session;
use crate::Result;
use crate::document::{FlashContent, FlashEntry, Level, Message};
use crate::json::{from_json, to_json};

impl Session {
    /// The flash: values and messages for a later request.
    #[must_use]
    pub fn flash(&self) -> Flash<'_> {
        Flash(self)
    }
}

/// The flash of a session: [`Session::flash`].
///
/// An entry that a request adds is delivered to a *later* request: it is not visible in the request
/// that adds it. The first request that takes it removes it. Two concurrent requests may both get
/// an entry, and no entry is lost unread. A request that does not use the session changes nothing
/// in the flash.
///
/// ```
/// use session_core::{Flash, Level, Message, Session};
///
/// /// The request that changes something.
/// fn saved(session: &Session) -> session_core::Result<()> {
///     let flash: Flash<'_> = session.flash();
///     flash.message(Level::Info, "Your address was saved.");
///     flash.insert("highlight", "address")
/// }
///
/// /// The next page.
/// fn page(session: &Session) -> session_core::Result<String> {
///     let line = |message: &Message| format!("{}: {}\n", message.level, message.text);
///     let messages: String = session.flash().take_messages().iter().map(line).collect();
///     let highlight: Option<String> = session.flash().take("highlight")?;
///     Ok(messages + highlight.as_deref().unwrap_or_default())
/// }
/// ```
#[derive(Debug)]
pub struct Flash<'a>(&'a Session);

impl Flash<'_> {
    /// Adds a value for a later request. It replaces an undelivered value of the same name.
    ///
    /// # Errors
    /// `InvalidValue` when the value can't be written as JSON.
    pub fn insert(&self, name: &str, value: impl Serialize) -> Result<()> {
        let json = to_json(name, &value)?;
        let value = from_json(name, &json)?;
        let entry = FlashEntry::new(FlashContent::Value { name: name.to_owned(), value });
        self.0.write(|state| {
            let number = state.changes.next();
            state.remove_flash(|old| old.is_value(name), number);
            state.changes.flash.added.retain(|(_, old)| !old.is_value(name));
            state.changes.flash.added.push((number, entry));
        });
        Ok(())
    }

    /// Takes a value: no later request gets it.
    ///
    /// # Errors
    /// `InvalidValue` when it can't be read as `T`; it remains then.
    pub fn take<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let value = self.peek(name)?;
        if value.is_some() {
            self.0.write(|state| {
                let number = state.changes.next();
                state.remove_flash(|entry| entry.is_value(name), number);
            });
        }
        Ok(value)
    }

    /// Reads a value and leaves it for a later request.
    ///
    /// # Errors
    /// `InvalidValue` when it can't be read as `T`.
    pub fn peek<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let json = self.0.read(|state| {
            state.visible_flash().rev().find_map(|entry| match &entry.content {
                FlashContent::Value { name: own, value } if own == name => Some(value.clone()),
                _ => None,
            })
        });
        json.map(|json| from_json(name, json.get().as_bytes())).transpose()
    }

    /// Whether there is a value of this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.read(|state| state.visible_flash().any(|entry| entry.is_value(name)))
    }

    /// Keeps a value for one more request. It undoes a [`take`](Self::take) of this request, and
    /// with [`FlashMode::NextRequest`](crate::FlashMode::NextRequest) it also keeps a value that
    /// was not taken.
    pub fn keep(&self, name: &str) {
        self.0.write(|state| state.keep_flash(|entry| entry.is_value(name)));
    }

    /// Keeps all values and messages, as [`keep`](Self::keep) does.
    pub fn keep_all(&self) {
        self.0.write(|state| state.keep_flash(|_| true));
    }

    /// Adds a message for a later request. Messages keep their order.
    pub fn message(&self, level: impl Into<Level>, text: impl Into<String>) {
        let message = Message { level: level.into(), text: text.into() };
        let entry = FlashEntry::new(FlashContent::Message(message));
        self.0.write(|state| {
            let number = state.changes.next();
            state.changes.flash.added.push((number, entry));
        });
    }

    /// Takes all messages, in the order in which they were added.
    #[must_use]
    pub fn take_messages(&self) -> Vec<Message> {
        self.take_where(|_| true)
    }

    /// Takes the messages of one level, in the order in which they were added.
    #[must_use]
    pub fn take_level(&self, level: &Level) -> Vec<Message> {
        self.take_where(|message| message.level == *level)
    }

    /// Reads all messages and leaves them for a later request.
    #[must_use]
    pub fn peek_messages(&self) -> Vec<Message> {
        self.0
            .read(|state| state.visible_flash().filter_map(FlashEntry::message).cloned().collect())
    }

    fn take_where(&self, wanted: impl Fn(&Message) -> bool) -> Vec<Message> {
        let wanted = |entry: &FlashEntry| entry.message().is_some_and(&wanted);
        self.0.write(|state| {
            let taken: Vec<_> = state
                .visible_flash()
                .filter(|entry| wanted(entry))
                .filter_map(FlashEntry::message)
                .cloned()
                .collect();
            if !taken.is_empty() {
                let number = state.changes.next();
                state.remove_flash(wanted, number);
            }
            taken
        })
    }
}
