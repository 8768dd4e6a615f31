//! The harness proves itself: oracles with known answers, run through the same generator and the
//! same histograms as every campaign.
//!
//! The *stall oracle* freezes a server twice and knows from arithmetic what the percentiles must
//! be; a harness that counts from the sending of a request would report a five-hundredth of them.
//! The *queue oracle* is the M/M/1 queue, whose mean and percentiles theory gives. The numbers in
//! the first column are the requirements of `specs/models.md`.

mod exact;
mod queue;
mod stall;

use crate::pool::Cancel;
#[cfg(test)]
pub(crate) use exact::stalling;

/// One requirement, what was expected, and what came out.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// The requirement, such as `H6`.
    pub id: &'static str,
    /// What is checked.
    pub what: String,
    /// What must come out.
    pub expected: String,
    /// What came out.
    pub measured: String,
    /// Whether that is good enough.
    pub pass: bool,
}

impl Check {
    fn new(
        id: &'static str,
        what: impl Into<String>,
        expected: impl Into<String>,
        measured: impl Into<String>,
        pass: bool,
    ) -> Self {
        let (what, expected, measured) = (what.into(), expected.into(), measured.into());
        Check {
            id,
            what,
            expected,
            measured,
            pass,
        }
    }
}

/// Runs all checks on up to `jobs` threads; `progress` is told how many of how many parts are done.
/// Less than everything comes back after a cancellation.
pub fn run(jobs: usize, cancel: &Cancel, mut progress: impl FnMut(usize, usize)) -> Vec<Check> {
    let cells = queue::cells();
    let total = cells.len() + 2;
    let mut checks = exact::checks();
    progress(1, total);
    checks.extend(stall::checks());
    progress(2, total);
    checks.extend(queue::checks(jobs, cancel, &cells, |done| {
        progress(done + 2, total)
    }));
    checks.sort_by_key(|check| check.id[1..].parse::<u32>().unwrap_or(u32::MAX));
    checks
}

/// The checks as a table of plain text.
pub fn table(checks: &[Check]) -> String {
    let head = ["", "requirement", "expected", "measured", "result"].map(str::to_owned);
    let rows = checks.iter().map(|check| {
        let result = if check.pass { "pass" } else { "FAIL" };
        let Check {
            id,
            what,
            expected,
            measured,
            ..
        } = check;
        [
            (*id).to_owned(),
            what.clone(),
            expected.clone(),
            measured.clone(),
            result.to_owned(),
        ]
    });
    crate::table::plain(std::iter::once(head).chain(rows))
}
