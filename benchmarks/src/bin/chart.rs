//! Draws the charts of the README from the JSON lines of benchmark runs:
//! `chart THROUGHPUT.svg LATENCY.svg OURS.json [PEERS.json]`.
//!
//! A bar of a peer is from the second file, all others from the first one.

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
    let mut rows = Report::read(Path::new(ours))?;
    for file in peers {
        let peers = Report::read(Path::new(file))?;
        rows.extend(peers.into_iter().filter(|row| row.who != "ours" && row.who != "raw"));
    }
    let title = format!("Operations per second, {TASKS} tasks at once (more is better)");
    std::fs::write(throughput, chart(title, &rows, |row| row.ops_s).to_svg())?;
    let title = format!("99th percentile of latency in µs, {TASKS} tasks at once (less is better)");
    std::fs::write(latency, chart(title, &rows, |row| row.p99_us).to_svg())
}

fn chart(title: String, rows: &[Row], value: impl Fn(&Row) -> f64) -> Chart {
    let mut chart = Chart::new(title, Scale::Linear);
    for backend in BACKENDS {
        for (op, name) in OPERATIONS {
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
            chart.group(format!("{backend}: {name}"));
            for row in group {
                chart.bar(row.who.clone(), value(row));
            }
        }
    }
    chart
}
