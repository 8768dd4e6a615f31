//! What the kit says of a runtime.

use crate::book::Points;
use crate::requirement::Requirement;
use std::collections::BTreeSet;
use std::fmt;
use triptych_world::fault::CrashKind;

/// How a runtime fares with a requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// No violation was found.
    Passed,
    /// A promise is broken.
    Failed {
        /// The seed or the crashes that show it again.
        case: String,
        /// What was expected and what was found.
        told: String,
    },
    /// The runtime does not promise it.
    Unsupported {
        /// What was seen to break it, if anything was.
        seen: Option<String>,
    },
}

/// One requirement's line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The requirement.
    pub requirement: Requirement,
    /// The finding.
    pub status: Status,
    /// How many cases were examined.
    pub examined: u64,
    /// How many of them broke it.
    pub broken: u64,
}

/// See the module documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The runtime.
    pub runtime: String,
    /// A line per requirement.
    pub lines: Vec<Line>,
    /// How often each named crash point was struck, by kind (none: a duplicate).
    pub points: Points,
}

impl Report {
    /// Whether everything that the runtime declares was kept.
    pub fn kept(&self) -> bool {
        self.failed().next().is_none()
    }

    /// The requirements that it failed.
    pub fn failed(&self) -> impl Iterator<Item = &Line> {
        let failed = |line: &&Line| matches!(line.status, Status::Failed { .. });
        self.lines.iter().filter(failed)
    }

    /// The finding on one requirement.
    pub fn status(&self, requirement: &str) -> Option<&Status> {
        let line = self
            .lines
            .iter()
            .find(|line| line.requirement.name == requirement);
        line.map(|line| &line.status)
    }

    /// Distinct crash points that were struck, and strikes, of one kind.
    fn coverage(&self, kind: Option<CrashKind>) -> (usize, u64) {
        let of_kind = self
            .points
            .iter()
            .filter(|((_, struck), _)| *struck == kind);
        of_kind.fold((0, 0), |(points, strikes), (_, times)| {
            (points + 1, strikes + times)
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wide = |line: &Line| line.requirement.name.len();
        let name = self.lines.iter().map(wide).max().unwrap_or_default();
        for line in &self.lines {
            let status = match &line.status {
                Status::Passed => "passed",
                Status::Failed { .. } => "FAILED",
                Status::Unsupported { .. } => "unsupported",
            };
            let Requirement {
                name: title,
                needs,
                about,
                ..
            } = line.requirement;
            writeln!(
                f,
                "{title:<name$}  {status:<11}  {:>6}  {about}",
                line.examined
            )?;
            match &line.status {
                Status::Passed => {}
                Status::Failed { case, told } => {
                    writeln!(
                        f,
                        "    {} of {} broke it: {told}",
                        line.broken, line.examined
                    )?;
                    match case.starts_with("triptych") {
                        true => writeln!(f, "    again: {case}")?,
                        false => {
                            let runtime = &self.runtime;
                            writeln!(
                                f,
                                "    {case}; again: triptych conform --runtime {runtime} --only {title}"
                            )?;
                        }
                    }
                }
                Status::Unsupported { seen } => {
                    write!(f, "    not declared ({}); ", needs.name())?;
                    match seen {
                        None => writeln!(f, "nothing broke it")?,
                        Some(_) => writeln!(f, "broken in {} of {}", line.broken, line.examined)?,
                    }
                }
            }
        }
        let names: BTreeSet<&str> = self.points.keys().map(|(point, _)| *point).collect();
        if names.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n{} named crash points were struck:", names.len())?;
        for kind in CrashKind::ALL.map(Some).into_iter().chain([None]) {
            let told = match kind {
                Some(kind) => crate::case::kind_name(kind),
                None => crate::case::DUPLICATE,
            };
            let (points, strikes) = self.coverage(kind);
            if points == 0 {
                continue;
            }
            writeln!(f, "  {told:<10}  {points:>3} points  {strikes:>6} times")?;
        }
        Ok(())
    }
}
