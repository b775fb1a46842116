//! The command line of all benchmark programs.

use std::path::PathBuf;
use std::time::Duration;

use crate::Operation;

/// What to measure and for how long.
#[derive(Debug, Clone, clap::Parser)]
pub struct Args {
    /// A backend to measure (repeat it for several); all of them when none is named
    #[arg(long, value_name = "NAME")]
    pub backend: Vec<String>,
    /// An operation to measure (repeat it for several); all of them when none is named
    #[arg(long, value_enum, value_name = "NAME")]
    pub op: Vec<Operation>,
    /// The number of concurrent tasks
    #[arg(long, value_delimiter = ',', default_value = "1,64")]
    pub tasks: Vec<usize>,
    /// How long each contender is measured for each row
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// Writes each row as a line of JSON to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Also measures gc with 1,000,000 sessions; filling the stores takes minutes
    #[arg(long)]
    pub large: bool,
}

impl Args {
    /// Whether a backend was selected.
    #[must_use]
    pub fn wants_backend(&self, name: &str) -> bool {
        self.backend.is_empty() || self.backend.iter().any(|wanted| wanted == name)
    }

    /// Whether an operation was selected.
    #[must_use]
    pub fn wants(&self, operation: Operation) -> bool {
        self.op.is_empty() || self.op.contains(&operation)
    }

    /// Half a second, or less if the measurement itself is shorter.
    #[must_use]
    pub fn warm_up(&self) -> Duration {
        Duration::from_secs_f64(self.seconds.min(0.5))
    }
}
