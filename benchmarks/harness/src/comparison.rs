//! Measures several contenders alternately.

use std::time::Duration;

use indicatif::ProgressBar;

use crate::{Args, Contender, Report, Row, Slice};

/// The number of periods into which the time of each contender is divided.
const TURNS: u32 = 10;
/// The number of sessions in a store while it is measured.
const STANDING: usize = 10_000;
/// How often gc is measured.
const COLLECTIONS: u32 = 5;

/// The operations that are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Operation {
    /// Loads an existing session and reads a value.
    LoadHit,
    /// Loads a session that does not exist.
    LoadMiss,
    /// Changes one value of a loaded session.
    Save,
    /// Renews a session.
    Touch,
    /// Many concurrent requests that load, increment and save few sessions.
    Hot,
    /// Creates a session with eight values.
    Create,
    /// Destroys a session; measured together with `Create`.
    Destroy,
    /// Removes expired sessions, 1 % of all.
    Gc,
}

impl Operation {
    /// The name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LoadHit => "load_hit",
            Self::LoadMiss => "load_miss",
            Self::Save => "save",
            Self::Touch => "touch",
            Self::Hot => "hot",
            Self::Create => "create",
            Self::Destroy => "destroy",
            Self::Gc => "gc",
        }
    }
}

/// Measures contenders with the same work in the same run.
#[derive(Debug)]
pub struct Comparison<'a> {
    backend: &'static str,
    contenders: Vec<Contender>,
    /// The operations that are measured, and their names in reports.
    operations: Vec<(Operation, &'static str)>,
    args: &'a Args,
    progress: &'a ProgressBar,
}

impl<'a> Comparison<'a> {
    /// A comparison for one backend. If there is a contender named `raw`, the ratios of the others are
    /// relative to it.
    #[must_use]
    pub fn new(
        backend: &'static str,
        contenders: Vec<Contender>,
        args: &'a Args,
        progress: &'a ProgressBar,
    ) -> Self {
        use Operation::{Create, Destroy, Gc, Hot, LoadHit, LoadMiss, Save, Touch};
        let operations = [LoadHit, LoadMiss, Save, Touch, Create, Destroy, Hot, Gc];
        let operations = operations.map(|operation| (operation, operation.name())).to_vec();
        Self { backend, contenders, operations, args, progress }
    }

    /// Measures these operations only, and reports them under these names.
    #[must_use]
    pub fn only(mut self, operations: &[(Operation, &'static str)]) -> Self {
        self.operations = operations.to_vec();
        self
    }

    fn name_of(&self, operation: Operation) -> Option<&'static str> {
        let wanted = self.operations.iter().find(|(known, _)| *known == operation);
        wanted.filter(|_| self.args.wants(operation)).map(|(_, name)| *name)
    }

    /// Measures all selected operations.
    pub async fn run(mut self, report: &mut Report) {
        for contender in &mut self.contenders {
            self.progress.set_message(format!("{} {}: filling", self.backend, contender.name()));
            contender.fill(STANDING).await;
        }
        use Operation::{Create, Destroy, Hot, LoadHit, LoadMiss, Save, Touch};
        for operation in [LoadHit, LoadMiss, Save, Touch, Create, Hot] {
            let also = operation == Create && self.name_of(Destroy).is_some();
            if self.name_of(operation).is_none() && !also {
                continue;
            }
            let task_counts = match operation {
                Hot => &[64][..],
                _ => &self.args.tasks,
            };
            for &tasks in task_counts {
                self.one(operation, tasks, report).await;
            }
        }
        if self.name_of(Operation::Gc).is_some() {
            self.gc(100_000, report).await;
            if self.args.large {
                self.gc(1_000_000, report).await;
            }
        }
    }

    async fn one(&self, operation: Operation, tasks: usize, report: &mut Report) {
        let time = Duration::from_secs_f64(self.args.seconds);
        let label = format!("{} {} × {tasks}", self.backend, operation.name());
        self.progress.set_message(label);
        for contender in &self.contenders {
            contender.measure(operation, tasks, self.args.warm_up()).await;
        }
        // `Create` has several results: create and destroy.
        let mut totals: Vec<Vec<Slice>> = vec![Vec::new(); self.contenders.len()];
        for _ in 0..TURNS {
            for (contender, totals) in self.contenders.iter().zip(&mut totals) {
                let slices = contender.measure(operation, tasks, time / TURNS).await;
                totals.resize_with(slices.len(), Slice::empty);
                totals.iter_mut().zip(&slices).for_each(|(total, slice)| total.follow(slice));
                self.progress.tick();
            }
        }
        let names = match operation {
            Operation::Create => &[Operation::Create, Operation::Destroy][..],
            _ => &[operation],
        };
        for (place, name) in names.iter().enumerate() {
            let Some(name) = self.name_of(*name) else {
                continue;
            };
            let mut rows = Vec::new();
            for (contender, totals) in self.contenders.iter().zip(&totals) {
                let mut row = self.row(contender, name.to_owned(), tasks, &totals[place]);
                if operation == Operation::Hot {
                    row.lost = Some(contender.lost_increments().await);
                }
                rows.push(row);
            }
            report.add(rows, self.progress);
        }
    }

    async fn gc(&mut self, standing: usize, report: &mut Report) {
        let mut rows = Vec::new();
        for index in 0..self.contenders.len() {
            let contender = &mut self.contenders[index];
            let label = format!("{} {} gc of {standing}", self.backend, contender.name());
            self.progress.set_message(label);
            let mut total = Slice::empty();
            for _ in 0..COLLECTIONS {
                // Filled only now, because a store that expires by itself is not measured.
                let contender = &mut self.contenders[index];
                if total.operations == 0 && contender.collect(1).await.is_none() {
                    break;
                }
                contender.fill(standing).await;
                if let Some(slice) = contender.collect(standing / 100).await {
                    total.follow(&slice);
                }
            }
            if total.operations > 0 {
                let name = format!("gc_{standing}");
                rows.push(self.row(&self.contenders[index], name, 1, &total));
            }
        }
        report.add(rows, self.progress);
    }

    fn row(&self, contender: &Contender, op: String, tasks: usize, slice: &Slice) -> Row {
        let timing = slice.timing();
        Row {
            backend: self.backend.to_owned(),
            who: contender.name().to_owned(),
            op,
            tasks,
            ops_s: timing.rate,
            p50_us: timing.p50,
            p99_us: timing.p99,
            raw_ops_s: None,
            ratio: None,
            lost: None,
        }
    }
}
