//! What the checks found so far.

use crate::report::{Line, Report, Status};
use crate::requirement::Requirement;
use std::collections::BTreeMap;
use triptych_site::RuntimeEntry;
use triptych_world::fault::CrashKind;

/// The points that were struck: name and kind (none: a duplicate), and how often.
pub(crate) type Points = BTreeMap<(&'static str, Option<CrashKind>), u64>;

#[derive(Default)]
struct Entry {
    examined: u64,
    broken: u64,
    /// How to see the first violation again, and what it is.
    witness: Option<(String, String)>,
}

/// See the module documentation.
#[derive(Default)]
pub(crate) struct Book {
    entries: BTreeMap<&'static str, Entry>,
    points: Points,
    /// The requirement that is asked for, if it is one alone.
    only: Option<&'static str>,
}

/// After so many violations there is no point in looking for more.
const ENOUGH: u64 = 20;

impl Book {
    /// For one requirement alone: its first violation is enough.
    pub(crate) fn only(requirement: &'static str) -> Book {
        Book {
            only: Some(requirement),
            ..Book::default()
        }
    }

    /// Notes one examination of a requirement: of the case `case`, which broke it if there is
    /// something to tell.
    pub(crate) fn note(&mut self, requirement: &'static str, case: &str, told: Option<String>) {
        let entry = self.entries.entry(requirement).or_default();
        entry.examined += 1;
        if let Some(told) = told {
            entry.broken += 1;
            entry.witness.get_or_insert_with(|| (case.to_owned(), told));
        }
    }

    /// Whether a requirement is broken so often that nothing more is to be learned.
    pub(crate) fn enough(&self, requirement: &str) -> bool {
        let broken = |name| self.entries.get(name).map_or(0, |entry| entry.broken);
        broken(requirement) >= ENOUGH || self.only.is_some_and(|only| broken(only) > 0)
    }

    pub(crate) fn struck(&mut self, points: &Points) {
        for (point, times) in points {
            *self.points.entry(*point).or_default() += times;
        }
    }

    pub(crate) fn report(mut self, entry: &RuntimeEntry, requirements: &[Requirement]) -> Report {
        let lines = requirements.iter().map(|requirement| {
            let found = self.entries.remove(requirement.name).unwrap_or_default();
            let declared = requirement.needs.met(&entry.declares);
            let (case, told) = found.witness.unwrap_or_else(|| {
                let nothing = found.examined == 0;
                let told = if nothing { "it was never examined" } else { "" };
                (String::new(), told.to_owned())
            });
            let status = match (declared, told.is_empty()) {
                (true, true) => Status::Passed,
                (true, false) => Status::Failed { case, told },
                (false, true) => Status::Unsupported { seen: None },
                (false, false) => Status::Unsupported {
                    seen: Some(format!("{case}: {told}")),
                },
            };
            Line {
                requirement: *requirement,
                status,
                examined: found.examined,
                broken: found.broken,
            }
        });
        Report {
            runtime: entry.name.to_owned(),
            lines: lines.collect(),
            points: self.points,
        }
    }
}
