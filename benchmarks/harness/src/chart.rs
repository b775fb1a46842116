//! Bar charts as SVG, for the README.

use std::fmt::Write as _;

const WIDTH: f64 = 860.0;
const LABELS: f64 = 190.0;
const VALUES: f64 = 70.0;
const BAR: f64 = 15.0;
const GAP: f64 = 10.0;
const PANEL_GAP: f64 = 22.0;

/// How the length of a bar depends on its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Proportional to the longest bar of its group.
    Linear,
    /// Logarithmic.
    Logarithmic,
}

/// Groups of bars, one below the other.
#[derive(Debug)]
pub struct Chart {
    title: String,
    scale: Scale,
    groups: Vec<(String, Vec<Bar>)>,
}

#[derive(Debug)]
struct Bar {
    label: String,
    value: f64,
    colour: &'static str,
}

impl Chart {
    /// An empty chart.
    #[must_use]
    pub fn new(title: impl Into<String>, scale: Scale) -> Self {
        Self { title: title.into(), scale, groups: Vec::new() }
    }

    /// Begins a group of bars that can be compared.
    pub fn group(&mut self, label: impl Into<String>) {
        self.groups.push((label.into(), Vec::new()));
    }

    /// Adds a bar to the latest group.
    pub fn bar(&mut self, label: impl Into<String>, value: f64) {
        let label = label.into();
        let colour = match label.as_str() {
            "ours" => "#2a6f97",
            "raw" => "#b8b8b8",
            _ => "#e09f3e",
        };
        if let Some((_, bars)) = self.groups.last_mut() {
            bars.push(Bar { label, value, colour });
        }
    }

    /// The chart as SVG.
    #[must_use]
    pub fn to_svg(&self) -> String {
        let bars: usize = self.groups.iter().map(|(_, bars)| bars.len()).sum();
        #[allow(clippy::cast_precision_loss, reason = "a few bars")]
        let height =
            50.0 + bars as f64 * (BAR + 3.0) + self.groups.len() as f64 * (GAP + PANEL_GAP);
        let mut svg = String::new();
        let out = &mut svg;
        // Writing to a string can't fail.
        let _ = writeln!(
            out,
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0}" font-family="system-ui, sans-serif" font-size="12"><rect width="100%" height="100%" fill="#ffffff"/><text x="12" y="24" font-size="16" font-weight="600">{}</text>"##,
            escape(&self.title)
        );
        let mut y = 44.0;
        for (label, bars) in &self.groups {
            y += PANEL_GAP;
            let _ = writeln!(
                out,
                r#"<text x="12" y="{:.1}" font-weight="600">{}</text>"#,
                y - 6.0,
                escape(label)
            );
            let values = || bars.iter().map(|bar| bar.value).filter(|value| *value > 0.0);
            let longest = values().fold(0.0, f64::max);
            let shortest = values().fold(f64::INFINITY, f64::min);
            for bar in bars {
                let room = WIDTH - LABELS - VALUES;
                let part = self.part(bar.value, shortest, longest);
                let _ = writeln!(
                    out,
                    r#"<text x="{:.0}" y="{:.1}" text-anchor="end">{}</text><rect x="{LABELS}" y="{y:.1}" width="{:.1}" height="{BAR}" fill="{}"/><text x="{:.1}" y="{:.1}">{}</text>"#,
                    LABELS - 8.0,
                    y + 12.0,
                    escape(&bar.label),
                    part * room,
                    bar.colour,
                    LABELS + part * room + 6.0,
                    y + 12.0,
                    short(bar.value),
                );
                y += BAR + 3.0;
            }
            y += GAP;
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// The length of a bar, as a part of the full width.
    fn part(&self, value: f64, shortest: f64, longest: f64) -> f64 {
        if value <= 0.0 || longest <= 0.0 {
            return 0.0;
        }
        match self.scale {
            Scale::Linear => value / longest,
            Scale::Logarithmic => {
                let floor = (shortest / 2.0).ln();
                (value.ln() - floor) / (longest.ln() - floor)
            }
        }
    }
}

/// A number with at most three significant digits.
fn short(value: f64) -> String {
    let (value, unit) = match value {
        value if value >= 999_500.0 => (value / 1e6, " M"),
        value if value >= 9_995.0 => (value / 1e3, " k"),
        value => (value, ""),
    };
    match value {
        value if value >= 99.95 => format!("{value:.0}{unit}"),
        value if value >= 9.995 => format!("{value:.1}{unit}"),
        value => format!("{value:.2}{unit}"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_in_proportion_and_labels_are_escaped() {
        let mut chart = Chart::new("a < b", Scale::Linear);
        chart.group("memory");
        chart.bar("ours", 2_000_000.0);
        chart.bar("raw", 1_000_000.0);
        let svg = chart.to_svg();
        assert!(svg.contains("a &lt; b"));
        assert!(svg.contains(r#"width="600.0""#) && svg.contains(r#"width="300.0""#));
        assert!(svg.contains(">2.00 M<"));
    }

    #[test]
    fn figures_have_three_digits() {
        let figures = [0.5, 12.0, 999.0, 9_990.0, 12_345.0, 999_600.0];
        assert_eq!(figures.map(short), ["0.50", "12.0", "999", "9990", "12.3 k", "1.00 M"]);
    }
}
