//! The results: a table on the terminal, and lines of JSON in a file.

use std::io::{self, Write as _};
use std::path::Path;

use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};

/// One result.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    /// Where sessions are kept.
    pub backend: String,
    /// `ours`, `raw` or a peer's name.
    pub who: String,
    /// The operation.
    pub op: String,
    /// The number of concurrent tasks.
    pub tasks: usize,
    /// Operations per second; for gc, sessions removed per second.
    pub ops_s: f64,
    /// Median latency in microseconds.
    pub p50_us: f64,
    /// 99th percentile of the latency in microseconds.
    pub p99_us: f64,
    /// The rate of the bare driver in the same run.
    pub raw_ops_s: Option<f64>,
    /// `ops_s` divided by `raw_ops_s`.
    pub ratio: Option<f64>,
    /// For the hot workload: increments that were acknowledged and lost.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lost: Option<u64>,
}

/// All rows, each of which is written at once.
#[derive(Debug)]
pub struct Report {
    rows: Vec<Row>,
    json: Option<std::fs::File>,
}

impl Report {
    /// A report that also writes to a file, if one is named.
    ///
    /// # Errors
    /// When the file can't be created.
    pub fn new(json: Option<&Path>) -> io::Result<Self> {
        Ok(Self { rows: Vec::new(), json: json.map(std::fs::File::create).transpose()? })
    }

    /// Adds rows that were measured together.
    ///
    /// # Panics
    /// When the JSON file can't be written.
    pub fn add(&mut self, mut rows: Vec<Row>, progress: &ProgressBar) {
        let raw = rows.iter().find(|row| row.who == "raw").map(|row| row.ops_s);
        for row in &mut rows {
            row.raw_ops_s = raw;
            row.ratio = raw.map(|raw| row.ops_s / raw);
            if self.rows.is_empty() {
                progress.suspend(|| print(&heading()));
            }
            progress.suspend(|| print(&line(row)));
            if let Some(json) = &mut self.json {
                let text = serde_json::to_string(row).expect("a row is JSON");
                writeln!(json, "{text}").expect("the JSON file can be written");
            }
            self.rows.push(row.clone());
        }
        progress.inc(1);
    }

    /// All rows.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Reads a file that a report wrote.
    ///
    /// # Errors
    /// When the file can't be read, or was not written by a report.
    pub fn read(path: &Path) -> io::Result<Vec<Row>> {
        let text = std::fs::read_to_string(path)?;
        text.lines().map(|line| serde_json::from_str(line).map_err(io::Error::from)).collect()
    }
}

fn print(line: &str) {
    // After the pipe is closed, the rows are still written to the JSON file.
    let _ = writeln!(io::stdout(), "{line}");
}

fn heading() -> String {
    format!(
        "{:<10} {:<20} {:<11} {:>5} {:>10} {:>10} {:>10} {:>6}",
        "backend", "who", "op", "tasks", "ops/s", "p50 µs", "p99 µs", "ratio"
    )
}

fn line(row: &Row) -> String {
    let ratio = row.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
    let lost = row.lost.map(|lost| format!("  {lost} updates lost")).unwrap_or_default();
    format!(
        "{:<10} {:<20} {:<11} {:>5} {:>10.0} {:>10.1} {:>10.1} {:>6}{lost}",
        row.backend, row.who, row.op, row.tasks, row.ops_s, row.p50_us, row.p99_us, ratio
    )
}
