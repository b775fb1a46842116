//! Draws the charts of the README from the JSON lines of benchmark runs:
//! `chart THROUGHPUT.svg LATENCY.svg OURS.json [PEERS.json]`.
//!
//! The bars of a group were measured alternately in one process. Results of different files were not, so they
//! are not in the same group.

use std::path::Path;

use bench_harness::{Chart, Report, Row, Scale};

const BACKENDS: [&str; 7] = ["memory", "file", "redis", "sqlite", "postgres", "mariadb", "cookie"];
const OPERATIONS: [(&str, &str); 2] = [("load_hit", "load"), ("save", "save")];
const TASKS: usize = 64;

fn main() -> std::io::Result<()> {
    let files: Vec<String> = std::env::args().skip(1).collect();
    let [throughput, latency, ours, peers @ ..] = &files[..] else {
        panic!("usage: chart THROUGHPUT.svg LATENCY.svg OURS.json [PEERS.json]");
    };
    let mut runs = vec![("", Report::read(Path::new(ours))?)];
    for file in peers {
        runs.push((", beside other libraries", Report::read(Path::new(file))?));
    }
    let title = format!("Operations per second, {TASKS} tasks at once (more is better)");
    std::fs::write(throughput, chart(title, &runs, |row| row.ops_s).to_svg())?;
    let title = format!("99th percentile of latency in µs, {TASKS} tasks at once (less is better)");
    std::fs::write(latency, chart(title, &runs, |row| row.p99_us).to_svg())
}

fn chart(title: String, runs: &[(&str, Vec<Row>)], value: impl Fn(&Row) -> f64) -> Chart {
    let mut chart = Chart::new(title, Scale::Linear);
    let places = BACKENDS.iter().flat_map(|backend| OPERATIONS.map(|op| (*backend, op)));
    for (backend, (op, name)) in places {
        for (beside, rows) in runs {
            let belongs = |row: &&Row| row.backend == backend && row.op == op && row.tasks == TASKS;
            let mut group: Vec<&Row> = rows.iter().filter(belongs).collect();
            if group.is_empty() {
                continue;
            }
            group.sort_by_key(|row| match row.who.as_str() {
                "ours" => 0,
                "raw" => 2,
                _ => 1,
            });
            chart.group(format!("{backend}: {name}{beside}"));
            for row in group {
                chart.bar(row.who.clone(), value(row));
            }
        }
    }
    chart
}
