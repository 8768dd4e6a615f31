//! What a search covered and what it found.

use super::Case;
use super::stage::Violated;
use super::targets::Way;
use std::collections::BTreeMap;
use triptych_model::OutcomeClass;
use triptych_world::fault::CrashKind;

/// How many of some targets were struck.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Those that were.
    pub hit: u64,
    /// All.
    pub total: u64,
}

impl Tally {
    pub(super) fn count(&mut self, hit: bool) {
        self.hit += u64::from(hit);
        self.total += 1;
    }

    fn add(&mut self, other: Tally) {
        self.hit += other.hit;
        self.total += other.total;
    }

    /// As tables show it.
    fn told(self) -> String {
        match self.total {
            0 => "-".to_owned(),
            total => format!("{}/{total}", self.hit),
        }
    }
}

/// The ways to strike that have a column.
const COLUMNS: [Way; 6] = [
    Way::Once(CrashKind::Before),
    Way::Once(CrashKind::InFlight),
    Way::Once(CrashKind::ReplyLost),
    Way::Once(CrashKind::After),
    Way::Duplicate,
    Way::Again,
];

/// What was struck of one crash point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// How the requests end if nothing strikes.
    pub class: OutcomeClass,
    /// The point.
    pub point: String,
    /// Whether it was found on the way: only repeated executions have it, or only some states of the
    /// app.
    pub later: bool,
    /// Each way to strike.
    pub tallies: [Tally; COLUMNS.len()],
}

impl Row {
    pub(super) fn column(way: Way) -> usize {
        COLUMNS
            .iter()
            .position(|column| *column == way)
            .unwrap_or(0)
    }
}

/// One sort of requests of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassLine {
    /// How they end.
    pub class: OutcomeClass,
    /// How many there are in one world.
    pub requests: u64,
    /// How many effects one has, at most.
    pub effects: u64,
}

/// Faults that make a world violate something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The kind of request.
    pub kind: String,
    /// The faults.
    pub case: Case,
    /// What is violated.
    pub violated: Vec<Violated>,
    /// The command that runs it again.
    pub command: String,
}

/// What the search of one kind of request came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageReport {
    /// The kind.
    pub kind: String,
    /// The sorts of requests.
    pub classes: Vec<ClassLine>,
    /// What was struck, by sort and point.
    pub rows: Vec<Row>,
    /// Pairs of effects.
    pub pairs: Tally,
    /// Worlds that ran.
    pub worlds: u64,
    /// What was violated.
    pub findings: Vec<Finding>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

impl StageReport {
    /// All strikes together.
    pub fn tally(&self) -> Tally {
        let mut sum = self.pairs;
        let all = self.rows.iter().flat_map(|row| row.tallies);
        all.for_each(|tally| sum.add(tally));
        sum
    }

    /// What was struck, and what was found, in words and a table.
    pub fn told(&self) -> String {
        let classes = self.classes.iter().map(|line| {
            let ClassLine {
                class,
                requests,
                effects,
            } = line;
            format!("{class} ({requests} requests of up to {effects} effects)")
        });
        let classes: Vec<String> = classes.collect();
        let classes = match classes.is_empty() {
            true => "collectors and the like".to_owned(),
            false => classes.join(", "),
        };
        let mut text = format!("{}: {classes}\n", self.kind);
        text.push_str(&table(&self.rows));
        if self.pairs.total > 0 {
            let Tally { hit, total } = self.pairs;
            text.push_str(&format!(
                "pairs: of {total} both points were struck in {hit}; in the others the second never came\n"
            ));
        }
        for note in &self.notes {
            text.push_str(&format!("note: {note}\n"));
        }
        text
    }
}

/// Rows of several stages as one table, a point a line.
pub fn table<'a>(rows: impl IntoIterator<Item = &'a Row>) -> String {
    let mut points: BTreeMap<(bool, &str), [Tally; COLUMNS.len()]> = BTreeMap::new();
    for row in rows {
        let sums = points.entry((row.later, &row.point)).or_default();
        for (sum, tally) in sums.iter_mut().zip(row.tallies) {
            sum.add(tally);
        }
    }
    let mut all = [Tally::default(); COLUMNS.len()];
    for sums in points.values() {
        all.iter_mut()
            .zip(sums)
            .for_each(|(all, sum)| all.add(*sum));
    }
    let head = [
        "point",
        "before",
        "in-flight",
        "reply-lost",
        "after",
        "duplicate",
        "again",
    ];
    let line = |name: String, tallies: &[Tally; COLUMNS.len()]| -> [String; 7] {
        std::array::from_fn(|at| match at {
            0 => name.clone(),
            at => tallies[at - 1].told(),
        })
    };
    let lines = points.iter().map(|((later, point), tallies)| {
        let mark = if *later { " (now and then)" } else { "" };
        line(format!("{point}{mark}"), tallies)
    });
    let sum = line("all".to_owned(), &all);
    let rows = std::iter::once(head.map(str::to_owned)).chain(lines);
    crate::table::plain(rows.chain([sum]))
}

/// The stages as one table, a kind a line.
pub fn summary(stages: &[StageReport]) -> String {
    let head = ["kind", "sort", "effects", "struck", "worlds", "findings"];
    let rows = stages.iter().map(|stage| {
        let sorts = stage.classes.iter().map(|line| line.class.name());
        let effects = stage.classes.iter().map(|line| line.effects.to_string());
        [
            stage.kind.clone(),
            sorts.collect::<Vec<_>>().join("+"),
            effects.collect::<Vec<_>>().join("+"),
            stage.tally().told(),
            stage.worlds.to_string(),
            stage.findings.len().to_string(),
        ]
    });
    crate::table::plain(std::iter::once(head.map(str::to_owned)).chain(rows))
}
