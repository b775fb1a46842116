//! Values as JSON, and errors that name the value but never show it.

use std::any::type_name;
use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::document::check_nesting;
use crate::{Error, Result};

/// Encodes a value; errors name it by `name`.
pub(crate) fn to_json<T: Serialize + ?Sized>(name: &str, value: &T) -> Result<Bytes> {
    let json = serde_json::to_vec(value).map_err(|_| {
        let wanted = type_name::<T>();
        Error::invalid_value(format!("the value {name:?} ({wanted}) can't be written as JSON"))
    })?;
    check_nesting(&json).map_err(|malformed| {
        Error::invalid_value(format!("the value {name:?} can't be stored")).with_source(malformed)
    })?;
    Ok(json.into())
}

/// Decodes a value; errors name it by `name`.
pub(crate) fn from_json<T: DeserializeOwned>(name: &str, json: &[u8]) -> Result<T> {
    serde_json::from_slice(json).map_err(|error| {
        let (wanted, position) = (type_name::<T>(), Position::from(&error));
        match error.classify() {
            Category::Data => {
                Error::invalid_value(format!("the value {name:?} can't be read as {wanted}"))
            }
            _ => Error::corrupt(format!("the value {name:?} is not JSON")),
        }
        .with_source(position)
    })
}

/// The position of an error in a value. It replaces the error of serde, whose message may quote the
/// value.
#[derive(Debug)]
struct Position {
    line: usize,
    column: usize,
}

impl From<&serde_json::Error> for Position {
    fn from(error: &serde_json::Error) -> Self {
        Self { line: error.line(), column: error.column() }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at line {}, column {} of the value", self.line, self.column)
    }
}

impl std::error::Error for Position {}
