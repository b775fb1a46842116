//! Statements for several numbers of rows, each prepared once, for databases that can't bind an array.

use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use crate::dialect::MAX_BATCH;

/// The same statement for growing numbers of rows, up to the largest batch.
#[derive(Clone, Debug)]
pub(crate) struct Ladder(Vec<(SqlStr, usize)>);

impl Ladder {
    /// For rows that are written: one, two, four and so on, because each row too many costs.
    pub(crate) fn rows(statement: impl Fn(usize) -> String) -> Self {
        Self::new(2, statement)
    }

    /// For lists of keys: one, four, sixteen and so on. A key that is repeated costs nearly nothing, a
    /// prepared statement does.
    pub(crate) fn keys(statement: impl Fn(usize) -> String) -> Self {
        Self::new(4, statement)
    }

    fn new(factor: usize, statement: impl Fn(usize) -> String) -> Self {
        let steps = std::iter::successors(Some(1), |rows| Some(rows * factor));
        let steps = steps.take_while(|rows| *rows <= MAX_BATCH);
        Self(steps.map(|rows| (AssertSqlSafe(statement(rows)).into_sql_str(), rows)).collect())
    }

    /// A statement that has room for these, and how many rows it takes.
    pub(crate) fn step(&self, rows: usize) -> (SqlStr, usize) {
        let step = self.0.iter().find(|(_, room)| *room >= rows);
        step.expect("no batch is larger than the last step").clone()
    }
}

/// `one` as many times, with commas.
pub(crate) fn list(one: &str, times: usize) -> String {
    vec![one; times].join(", ")
}
