//! Statements for one row, two, four and so on: prepared once each, for databases that can't bind
//! an array.

use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use crate::queue::MAX_BATCH;

/// The same statement for each power of two of rows, up to the greatest batch.
#[derive(Clone, Debug)]
pub(crate) struct Ladder(Vec<SqlStr>);

impl Ladder {
    pub(crate) fn new(statement: impl Fn(usize) -> String) -> Self {
        let steps = (0..).map(|step| 1 << step).take_while(|rows| *rows <= MAX_BATCH);
        Self(steps.map(|rows| AssertSqlSafe(statement(rows)).into_sql_str()).collect())
    }

    /// The statement that takes these, and how many rows it takes.
    pub(crate) fn step(&self, rows: usize) -> (SqlStr, usize) {
        let step =
            usize::try_from(rows.next_power_of_two().trailing_zeros()).expect("a number of bits");
        (self.0[step].clone(), 1 << step)
    }
}

/// `one` as many times, with commas.
pub(crate) fn list(one: &str, times: usize) -> String {
    vec![one; times].join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_of_rows_finds_a_statement_that_has_room() {
        let ladder = Ladder::new(|rows| list("?", rows));
        for rows in 1..=MAX_BATCH {
            let (statement, room) = ladder.step(rows);
            assert!(room >= rows && room < rows * 2);
            assert_eq!(statement.as_str().matches('?').count(), room);
        }
    }
}
