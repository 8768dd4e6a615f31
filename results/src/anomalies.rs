//! Anomalies per million reads: how often reads broke causal order, and what was lost or kept twice,
//! kind by kind.
//!
//! The kinds are those of the causal checker, whose rules begin with `C-`, and the counts are theirs.
//! All are divided by the same number, the reads of single keys that the checker knew the past of, so
//! that kinds can be compared; how many facts a rule examined itself stands beside its count.

use crate::format::{plain, significant};
use crate::grid::Grid;
use crate::loaded::{Loaded, LoadedRun};
use serde::{Deserialize, Serialize};
use triptych_model::Verdict;

/// The widest line of a table: six runtimes by their names, and what they count.
pub const WIDTH: usize = 110;

/// How the causal checker's rules begin.
const RULES: &str = "C-";

/// What the causal checker counted in a run, or in several.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anomalies {
    /// Reads of single keys of which it is known what they had to show.
    pub reads: u64,
    /// Each kind of which something was examined, in the checker's order.
    pub kinds: Vec<AnomalyKind>,
}

/// One kind of anomaly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnomalyKind {
    /// Its name: that of the rule without `C-`.
    pub kind: String,
    /// Whether the runtime promises that there are none.
    pub promised: bool,
    /// How many facts the rule examined: reads, transactions, or keys at the end.
    pub examined: u64,
    /// In how many of them it was found.
    pub found: u64,
    /// The same for a million reads; nothing if nothing was read.
    pub per_million_reads: Option<f64>,
}

impl Anomalies {
    /// What a verdict says; nothing if causal order was not recorded.
    pub fn of(verdict: &Verdict) -> Option<Anomalies> {
        let promised = |guarantee| verdict.of(guarantee).is_some_and(|entry| entry.promised);
        let mut anomalies = Anomalies {
            reads: verdict.coverage.looks,
            kinds: Vec::new(),
        };
        for rule in &verdict.rules {
            if let Some(kind) = rule.rule.strip_prefix(RULES).filter(|_| rule.examined > 0) {
                anomalies.kinds.push(AnomalyKind {
                    kind: kind.to_owned(),
                    promised: rule.asked && promised(rule.guarantee),
                    examined: rule.examined,
                    found: rule.violations,
                    per_million_reads: None,
                });
            }
        }
        anomalies.divide();
        (!anomalies.kinds.is_empty()).then_some(anomalies)
    }

    /// Adds what was counted elsewhere. What is promised at one place alone counts as not promised.
    pub fn add(&mut self, other: &Anomalies) {
        self.reads += other.reads;
        for kind in &other.kinds {
            match self.kinds.iter_mut().find(|own| own.kind == kind.kind) {
                Some(own) => {
                    own.promised &= kind.promised;
                    own.examined += kind.examined;
                    own.found += kind.found;
                }
                None => self.kinds.push(kind.clone()),
            }
        }
        self.divide();
    }

    /// One kind; nothing if nothing was examined for it.
    pub fn kind(&self, name: &str) -> Option<&AnomalyKind> {
        self.kinds.iter().find(|kind| kind.kind == name)
    }

    fn divide(&mut self) {
        let reads = self.reads;
        for kind in &mut self.kinds {
            let each = kind.found as f64 * 1e6 / reads.max(1) as f64;
            kind.per_million_reads = (reads > 0).then_some(each);
        }
    }
}

/// Columns side by side: one per runtime or app, and a line per kind that any of them has.
pub fn grid(title: String, columns: &[(String, Anomalies)]) -> Grid {
    let mut kinds: Vec<&str> = Vec::new();
    for (_, anomalies) in columns {
        for (at, kind) in anomalies.kinds.iter().enumerate() {
            if !kinds.contains(&&*kind.kind) {
                // Behind the one that it stands behind there.
                let before = at.checked_sub(1).map(|at| &*anomalies.kinds[at].kind);
                let place = kinds.iter().position(|known| Some(*known) == before);
                kinds.insert(place.map_or(0, |place| place + 1), &kind.kind);
            }
        }
    }
    let row = |name: &str, cell: &dyn Fn(&Anomalies) -> String| {
        let cells = columns.iter().map(|(_, anomalies)| cell(anomalies));
        [name.to_owned()].into_iter().chain(cells).collect()
    };
    let mut rows: Vec<Vec<String>> = vec![row("reads examined", &|a| plain(a.reads as f64))];
    rows.extend(kinds.iter().map(|kind| {
        let cell = |anomalies: &Anomalies| match anomalies.kind(kind) {
            None => "–".to_owned(),
            Some(known) => {
                let each = match (known.found, known.per_million_reads) {
                    (0, _) => "0".to_owned(),
                    (_, Some(each)) => significant(each, 3),
                    (_, None) => "?".to_owned(),
                };
                match known.promised {
                    true => each,
                    false => format!("({each})"),
                }
            }
        };
        row(kind, &cell)
    }));
    let names = columns.iter().map(|(name, _)| name.clone());
    Grid {
        title,
        head: ["kind".to_owned()].into_iter().chain(names).collect(),
        rows,
        words: 1,
        numbers_to_the_end: true,
        notes: vec![
            "(n): the runtime does not promise that there are none. –: nothing was examined. `lost`, \
             `twice` and `diverged` are counted in keys and writes at the end of a run."
                .to_owned(),
        ],
    }
}

/// A table per profile of a campaign whose runs recorded causal order: a column per runtime, over all
/// rates and repetitions.
pub fn tables(loaded: &Loaded) -> Vec<Grid> {
    let mut profiles: Vec<(&str, Vec<(String, Anomalies)>)> = Vec::new();
    for LoadedRun {
        manifest, summary, ..
    } in &loaded.runs
    {
        let Some(anomalies) = &summary.anomalies else {
            continue;
        };
        let profile: &str = &manifest.profile;
        if !profiles.iter().any(|(known, _)| *known == profile) {
            profiles.push((profile, Vec::new()));
        }
        let here = profiles.iter_mut().filter(|(known, _)| *known == profile);
        for (_, columns) in here {
            match columns
                .iter_mut()
                .find(|(name, _)| *name == manifest.runtime)
            {
                Some((_, known)) => known.add(anomalies),
                None => columns.push((manifest.runtime.clone(), anomalies.clone())),
            }
        }
    }
    let grid = |(profile, columns): (&str, Vec<(String, Anomalies)>)| {
        grid(format!("Anomalies per million reads: {profile}"), &columns)
    };
    profiles.into_iter().map(grid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use triptych_model::{Guarantee, GuaranteeVerdict, RuleReport, Status};

    fn verdict(reads: u64, rules: &[(&str, Guarantee, u64, u64)]) -> Verdict {
        let mut verdict = Verdict::default();
        verdict.coverage.looks = reads;
        for (rule, guarantee, examined, violations) in rules {
            verdict.rules.push(RuleReport {
                examined: *examined,
                violations: *violations,
                ..RuleReport::new(rule, *guarantee)
            });
        }
        verdict.guarantees.push(GuaranteeVerdict {
            guarantee: Guarantee::Order,
            promised: true,
            status: Status::Valid,
            because: String::new(),
        });
        verdict
    }

    fn order(rule: &str, examined: u64, found: u64) -> (&str, Guarantee, u64, u64) {
        (rule, Guarantee::Order, examined, found)
    }

    #[test]
    fn what_is_counted_is_what_the_rules_say() {
        assert_eq!(Anomalies::of(&verdict(9, &[order("M4", 5, 1)])), None);
        let rules = [
            order("M4", 5, 1),
            order("C-read-your-writes", 30, 3),
            order("C-diverged", 0, 0),
            ("C-lost", Guarantee::Durability, 7, 0),
        ];
        let mut all = Anomalies::of(&verdict(2_000, &rules)).expect("there is something");
        let told = |all: &Anomalies| -> Vec<(String, bool, u64, u64, Option<f64>)> {
            let kinds = all.kinds.iter().cloned();
            kinds
                .map(|k| (k.kind, k.promised, k.examined, k.found, k.per_million_reads))
                .collect()
        };
        assert_eq!(
            told(&all),
            [
                ("read-your-writes".to_owned(), true, 30, 3, Some(1500.0)),
                ("lost".to_owned(), false, 7, 0, Some(0.0)),
            ]
        );
        let other = [
            order("C-read-your-writes", 10, 0),
            order("C-diverged", 4, 1),
        ];
        all.add(&Anomalies::of(&verdict(1_000, &other)).expect("there is something"));
        assert_eq!(all.reads, 3_000);
        assert_eq!(
            told(&all)[0],
            ("read-your-writes".to_owned(), true, 40, 3, Some(1000.0))
        );
        assert_eq!(all.kind("diverged").map(|kind| kind.found), Some(1));
        let none = Anomalies::of(&verdict(0, &rules)).expect("there is something");
        assert_eq!(none.kinds[0].per_million_reads, None);
    }

    #[test]
    fn a_table_tells_none_from_few_and_from_not_examined() {
        let of = |reads, rules: &[_]| Anomalies::of(&verdict(reads, rules)).expect("has rules");
        let columns = [
            (
                "one".to_owned(),
                of(10_000_000, &[order("C-monotonic-reads", 5, 1)]),
            ),
            (
                "two".to_owned(),
                of(
                    1_000,
                    &[
                        order("C-read-your-writes", 9, 0),
                        order("C-monotonic-reads", 9, 0),
                        ("C-twice", Guarantee::Effects, 9, 2),
                    ],
                ),
            ),
        ];
        let grid = grid("t".to_owned(), &columns);
        let rows: Vec<String> = grid.rows.iter().map(|row| row.join(" ")).collect();
        assert_eq!(
            rows,
            [
                "reads examined 10,000,000 1,000",
                "read-your-writes – 0",
                "monotonic-reads 0.100 0",
                "twice – (2,000)",
            ]
        );
    }
}
