//! Prints the tables of the README from the JSON lines of benchmark runs:
//! `table OURS.json` and `table --peers PEERS.json`.

use std::io::Write as _;
use std::path::Path;

use bench_harness::{Report, Row};

fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let text = match &args[..] {
        [flag, file] if flag == "--peers" => peers(&Report::read(Path::new(file))?),
        [file] => ours(&Report::read(Path::new(file))?),
        _ => panic!("usage: table OURS.json | table --peers PEERS.json"),
    };
    std::io::stdout().write_all(text.as_bytes())
}

/// Each row of this project with its raw row.
fn ours(rows: &[Row]) -> String {
    let mut text = String::from(
        "| backend | operation | tasks | ops/s | p50 µs | p99 µs | raw ops/s | ratio |\n\
         |---|---|--:|--:|--:|--:|--:|--:|\n",
    );
    for row in rows.iter().filter(|row| row.who == "ours") {
        let raw = row.raw_ops_s.map(count).unwrap_or_default();
        let ratio = row.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
        text += &format!(
            "| {} | {} | {} | {} | {:.1} | {:.1} | {raw} | {ratio} |\n",
            row.backend,
            row.op,
            row.tasks,
            count(row.ops_s),
            row.p50_us,
            row.p99_us,
        );
    }
    text
}

/// Each row of a peer, and the ratio of this project to it in the same run.
fn peers(rows: &[Row]) -> String {
    let mut text = String::from(
        "| backend | operation | tasks | peer | ops/s | p99 µs | ours ops/s | ours p99 µs | ours ÷ peer |\n\
         |---|---|--:|---|--:|--:|--:|--:|--:|\n",
    );
    for row in rows.iter().filter(|row| row.who != "ours") {
        let ours = rows.iter().find(|ours| {
            ours.who == "ours"
                && (&ours.backend, &ours.op, ours.tasks) == (&row.backend, &row.op, row.tasks)
        });
        let (rate, p99, times) = match ours {
            Some(ours) => (
                count(ours.ops_s),
                format!("{:.1}", ours.p99_us),
                format!("{:.2}", ours.ops_s / row.ops_s),
            ),
            None => Default::default(),
        };
        let lost = row.lost.filter(|lost| *lost > 0);
        let lost = lost.map(|lost| format!(", {lost} updates lost")).unwrap_or_default();
        text += &format!(
            "| {} | {}{lost} | {} | {} | {} | {:.1} | {rate} | {p99} | {times} |\n",
            row.backend,
            row.op,
            row.tasks,
            row.who,
            count(row.ops_s),
            row.p99_us,
        );
    }
    text
}

/// The number with commas between thousands.
fn count(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
