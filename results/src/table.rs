//! The results as a table of plain text, at most 100 columns wide, readable without colour.
//!
//! One line per cell of the campaign: the median run, and in brackets the spread of the 99th
//! percentile over the repetitions. A run whose verdict is not valid is marked; the table never
//! orders runtimes by their numbers.

use crate::aggregate::{LatencyPoint, Point, Spread};
use crate::format::{dollars, plain, significant};
use triptych_model::Status;

/// The widest line.
pub const WIDTH: usize = 100;

/// How a point's verdict reads in a table.
pub fn verdict(point: &Point) -> String {
    let rules: Vec<&str> = point.violated.iter().map(String::as_str).collect();
    match (point.standing, point.broken) {
        (Status::Invalid, true) => format!("BROKEN {}", rules.join(" ")),
        (Status::Invalid, false) => format!("invalid {}", rules.join(" ")),
        (status, _) => status.to_string(),
    }
}

/// A latency with its marks: `≥` for a lower bound, `~` for too few samples beyond it.
pub fn latency(point: Option<LatencyPoint>) -> String {
    point.map_or("–".to_string(), |point| {
        format!("{}{}", marks(point), significant(point.ms.median, 4))
    })
}

fn marks(point: LatencyPoint) -> &'static str {
    match (point.at_least, point.supported) {
        (true, _) => "≥",
        (false, false) => "~",
        (false, true) => "",
    }
}

/// The smallest and the largest of several runs; nothing for one.
pub fn range(spread: Spread) -> String {
    if spread.n < 2 {
        return String::new();
    }
    format!(
        "[{}–{}]",
        significant(spread.min, 3),
        significant(spread.max, 3)
    )
}

const HEADS: [&str; 8] = [
    "runtime",
    "offered",
    "achieved",
    "p50",
    "p99",
    "p99 runs",
    "$/million",
    "verdict",
];
const UNITS: [&str; 8] = ["", "req/s", "req/s", "ms", "ms", "ms", "requests", ""];

/// The table of some points, as [`crate::points`] gives them.
pub fn table(points: &[Point]) -> String {
    let mut out = String::new();
    let same = |a: &Point, b: &Point| {
        (&a.profile, &a.latency_profile, &a.price_sheet, a.simulated)
            == (&b.profile, &b.latency_profile, &b.price_sheet, b.simulated)
    };
    for group in points.chunk_by(same) {
        if !out.is_empty() {
            out.push('\n');
        }
        section(&mut out, group);
    }
    if out.is_empty() {
        out.push_str("no complete runs\n");
    }
    out
}

fn section(out: &mut String, points: &[Point]) {
    let first = &points[0];
    line(out, &format!("{}, {}", first.profile, first.time_label));
    line(
        out,
        &format!(
            "latencies {}, prices {}",
            first.latency_profile, first.price_sheet
        ),
    );
    let rows: Vec<[String; 8]> = points.iter().map(row).collect();
    let mut widths = [0; 8];
    for row in [HEADS.map(str::to_string), UNITS.map(str::to_string)]
        .iter()
        .chain(&rows)
    {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    // Names give way first, so that the numbers stay whole.
    widths[0] = widths[0].min(18);
    let cells = |row: &[String; 8]| {
        let mut text = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let cell = clipped(cell, if column == 7 { usize::MAX } else { width });
            match column {
                0 => text.push_str(&format!("{cell:<width$}")),
                7 => text.push_str(&format!("  {cell}")),
                _ => text.push_str(&format!("  {cell:>width$}")),
            }
        }
        text
    };
    line(out, &cells(&HEADS.map(str::to_string)));
    line(out, &cells(&UNITS.map(str::to_string)));
    for (position, row) in rows.iter().enumerate() {
        if position > 0 && points[position - 1].runtime != points[position].runtime {
            out.push('\n');
        }
        line(out, &cells(row));
    }
    notes(out, points);
}

fn row(point: &Point) -> [String; 8] {
    let mark = if point.flags.is_empty() { "" } else { "*" };
    [
        format!("{}{mark}", point.runtime),
        plain(point.rate),
        point
            .achieved
            .map_or("–".into(), |achieved| significant(achieved.median, 4)),
        latency(point.p50),
        latency(point.p99),
        point.p99.map_or(String::new(), |p99| range(p99.ms)),
        point.cost.map_or("–".into(), |cost| dollars(cost.median)),
        verdict(point),
    ]
}

/// What the marks of a table mean, only those that it has.
fn notes(out: &mut String, points: &[Point]) {
    let runs = points.iter().map(|point| point.runs.len());
    let (fewest, most) = (runs.clone().min().unwrap_or(0), runs.max().unwrap_or(0));
    if most > 1 {
        let count = if fewest == most {
            format!("{most}")
        } else {
            format!("{fewest}–{most}")
        };
        let text = format!(
            "each line is the median of {count} runs, in brackets the smallest and largest"
        );
        line(out, &text);
    }
    let latencies = || {
        points
            .iter()
            .flat_map(|point| [point.p50, point.p99])
            .flatten()
    };
    if latencies().any(|latency| marks(latency) == "~") {
        line(
            out,
            "~ fewer than 100 requests lie beyond this quantile: an anecdote",
        );
    }
    if latencies().any(|latency| latency.at_least) {
        line(
            out,
            "≥ so many requests were never answered that only a lower bound is known",
        );
    }
    if points.iter().any(|point| point.standing != Status::Valid) {
        line(
            out,
            "invalid or unknown: these numbers stand beside no others; see the report",
        );
    }
    for point in points.iter().filter(|point| !point.flags.is_empty()) {
        for flag in &point.flags {
            line(
                out,
                &format!("* {} at {} req/s: {flag}", point.runtime, plain(point.rate)),
            );
        }
    }
}

/// Appends a line, broken nowhere and never too wide.
fn line(out: &mut String, text: &str) {
    out.push_str(clipped(text, WIDTH).trim_end());
    out.push('\n');
}

/// `text`, or as much of its start as fits into `width` characters.
pub(crate) fn clipped(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_string();
    }
    let mut clipped: String = text.chars().take(width.saturating_sub(1)).collect();
    clipped.push('…');
    clipped
}
