//! Seeded defects of engines and storages, which a cluster under faults must show.
//!
//! Four are too narrow to be met by chance, and are left to tests that aim at them beside the code:
//! `ConditionDecidedEarly`, `ReportBeforeSync`, `KeepUnordered`, `ServeDamaged`.

use triptych_cluster::trial::{Trial, batch};
use triptych_log::{Bugs, engine, storage};

/// At most so many seeds are tried for each.
const SEEDS: u64 = 80;

/// Which rule shows it first, if any does.
fn killed_by(bugs: Bugs) -> Option<&'static str> {
    let trial = |seed| Trial {
        bugs,
        ..Trial::new(seed)
    };
    let batch = batch::run(0..SEEDS, 2, trial, |batch| batch.violations.is_empty());
    let first = batch.violations.into_values().next();
    first.and_then(|violations| violations.first().map(|violation| violation.rule))
}

#[test]
fn defects_of_engines_are_seen() {
    use engine::Bug;
    for bug in [
        Bug::ReadAhead,
        Bug::ApplyWithoutItems,
        Bug::SkipView,
        Bug::TrimInclusive,
        Bug::IgnoreTrim,
        Bug::ConditionIgnored,
        Bug::DiscardOrdered,
        Bug::LocalIdReuse,
        Bug::ProgressTooLow,
        Bug::RefusedVisible,
    ] {
        let bugs = Bugs {
            engine: Some(bug),
            ..Bugs::default()
        };
        let rule = killed_by(bugs);
        assert!(rule.is_some(), "{bug:?}");
    }
}

#[test]
fn defects_of_storages_are_seen() {
    use storage::Bug;
    for bug in [
        Bug::ReportGaps,
        Bug::DropOnFinal,
        Bug::FreeOnTrim,
        Bug::RenumberWrong,
        Bug::SkipRepair,
    ] {
        let bugs = Bugs {
            storage: Some(bug),
            ..Bugs::default()
        };
        let rule = killed_by(bugs);
        assert!(rule.is_some(), "{bug:?}");
    }
}
