//! The name of the table.

use session_core::{Error, Result};

/// The indexes' names are made from the table's, and PostgreSQL cuts names after 63 bytes.
const MAX_NAME: usize = 45;
const MAX_SCHEMA: usize = 63;

/// A table's name, with the schema (MySQL: the database) where one was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    schema: Option<Box<str>>,
    name: Box<str>,
}

impl Table {
    /// Reads `table` or `schema.table`. Names are put into statements, therefore nothing is a name
    /// but lower-case ASCII letters, digits and `_`, not beginning with a digit: such a name means
    /// the same in every database, quoted or not.
    pub(crate) fn parse(text: &str, schemas: bool) -> Result<Self> {
        let (schema, name) = match text.split_once('.') {
            Some((schema, name)) => (Some(schema), name),
            None => (None, text),
        };
        let schema_fits = schema.is_none_or(|schema| schemas && is_name(schema, MAX_SCHEMA));
        if !is_name(name, MAX_NAME) || !schema_fits {
            return Err(Error::invalid_config(format!(
                "a table is `name`, or `schema.name` where the database has schemas: lower-case \
                 letters, digits and `_`, not beginning with a digit, the name at most {MAX_NAME} \
                 and the schema at most {MAX_SCHEMA} bytes"
            )));
        }
        Ok(Self { schema: schema.map(Into::into), name: name.into() })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The name as a statement holds it. `quote` is the database's quotation mark.
    pub(crate) fn quoted(&self, quote: char) -> String {
        match &self.schema {
            Some(schema) => format!("{quote}{schema}{quote}.{quote}{}{quote}", self.name),
            None => format!("{quote}{}{quote}", self.name),
        }
    }
}

impl Default for Table {
    fn default() -> Self {
        Self { schema: None, name: "sessions".into() }
    }
}

fn is_name(text: &str, max: usize) -> bool {
    let ordinary = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=max).contains(&text.len())
        && text.bytes().all(ordinary)
        && !text.as_bytes()[0].is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_are_accepted_and_quoted() {
        assert_eq!(Table::default().quoted('"'), r#""sessions""#);
        let table = Table::parse("app_1.web_sessions", true).unwrap();
        assert_eq!(table.quoted('`'), "`app_1`.`web_sessions`");
    }

    #[test]
    fn anything_else_is_refused() {
        let long = "a".repeat(MAX_NAME + 1);
        let hostile = [
            "", ".", "a.", ".a", "a.b.c", "1a", "A", "a b", "a\"b", "a`b", "a;b", "a-b", "ä",
            "a\0", &long,
        ];
        for name in hostile {
            assert!(Table::parse(name, true).is_err(), "{name:?}");
        }
        assert!(Table::parse("app.sessions", false).is_err());
    }
}
