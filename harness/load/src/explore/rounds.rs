//! What a search tries, in which order.

use super::Strike;
use super::stage::{Did, Stage};
use super::targets::{Target, Way, crashes, duplicate};
use crate::run::{Census, RunError};
use std::collections::BTreeMap;
use triptych_model::OutcomeClass;
use triptych_world::Trace;
use triptych_world::fault::{Action, CrashKind};

/// Requests with more effects are too many pairs.
const FEW: usize = 30;
/// How many effects of a name that only repeated executions have are struck.
const LATER: u32 = 4;
/// How many effects of one name of the background are struck, and how many faults one world has.
const SAMPLED: u32 = 16;
const AT_ONCE: usize = 8;

/// Every effect of a kind of request.
pub(super) fn requests(stage: &mut Stage<'_>) -> Result<(), RunError> {
    let classes: Vec<OutcomeClass> = stage.reference.classes().into_keys().collect();
    let mut targets = Vec::new();
    for &class in &classes {
        for (point, occurrence) in stage.reference.addresses(class) {
            targets.extend(at(stage, class, &[], point, occurrence));
        }
    }
    let mut did = stage.strike(targets)?;
    // Points that only repeated executions have, until there are no new ones.
    let mut known: Vec<&'static str> = stage.reference.points().into_iter().collect();
    loop {
        // What a repeated execution does depends on where the first one stopped: each name that leads
        // to a point leads to other effects of it.
        let mut later: BTreeMap<(&'static str, String), (Did, u32)> = BTreeMap::new();
        for did in did {
            let Some(last) = did.target.last().filter(|last| !last.again) else {
                continue;
            };
            let new = did
                .effects
                .iter()
                .filter(|(point, _)| !known.contains(point));
            let new: Vec<(&'static str, u32)> =
                new.map(|(point, count)| (*point, *count)).collect();
            for (point, count) in new {
                let way = (point, last.point.clone());
                let leads = || Did {
                    target: did.target.clone(),
                    seen: did.seen.clone(),
                    effects: Census::new(),
                };
                later.entry(way).or_insert_with(|| (leads(), count));
            }
        }
        if later.is_empty() {
            break;
        }
        let mut targets = Vec::new();
        for ((point, _), (leads, count)) in later {
            known.push(point);
            for occurrence in 0..count.min(LATER) {
                let Target { class, strikes, .. } = &leads.target;
                let mut these = at(stage, *class, strikes, point, occurrence);
                these
                    .iter_mut()
                    .for_each(|one| one.seen = Some(leads.seen.clone()));
                targets.extend(these);
            }
        }
        did = stage.strike(targets)?;
    }
    if stage.explorer.options.pairs {
        for class in classes {
            pairs(stage, class)?;
        }
    }
    Ok(())
}

/// Everything that is tried at one effect, after what leads to it.
fn at(
    stage: &Stage<'_>,
    class: OutcomeClass,
    leads: &[Strike],
    point: &str,
    occurrence: u32,
) -> Vec<Target> {
    let options = &stage.explorer.options;
    let after = |strike: Strike| leads.iter().cloned().chain([strike]).collect();
    let mut targets = Vec::new();
    for (way, strike) in crashes(point, occurrence) {
        if options.twice && leads.is_empty() {
            let again = Strike {
                again: true,
                ..strike.clone()
            };
            targets.push(Target::new(Way::Again, class, vec![again]));
        }
        targets.push(Target::new(way, class, after(strike)));
    }
    if options.duplicate {
        let strike = duplicate(point, occurrence);
        targets.push(Target::new(Way::Duplicate, class, after(strike)));
    }
    targets
}

/// Crashes at two effects, the second one perhaps of a repeated execution.
fn pairs(stage: &mut Stage<'_>, class: OutcomeClass) -> Result<(), RunError> {
    let own = stage.reference.addresses(class);
    if own.len() > FEW {
        stage.note(format!(
            "{class}: {} effects are too many to crash at every pair of them",
            own.len()
        ));
        return Ok(());
    }
    let mut counts = Census::new();
    own.iter()
        .for_each(|(point, _)| *counts.entry(point).or_default() += 1);
    let again = own.iter().map(|(point, n)| (*point, n + counts[point]));
    let all: Vec<(&'static str, u32)> = own.iter().copied().chain(again).collect();
    let mut targets = Vec::new();
    for (n, &(first, occurrence)) in own.iter().enumerate() {
        for &(second, later) in &all[n + 1..] {
            for (_, one) in crashes(first, occurrence) {
                for (_, two) in crashes(second, later) {
                    targets.push(Target::new(Way::Pair, class, vec![one.clone(), two]));
                }
            }
        }
    }
    stage.strike(targets).map(drop)
}

/// Effects of collectors and the like, in worlds where every third request crashes so that there is
/// something to collect.
pub(super) fn background(stage: &mut Stage<'_>) -> Result<(), RunError> {
    let mut always = Vec::new();
    for (n, (request, _, census)) in stage.reference.probes.iter().enumerate() {
        // Some crash at their first effect, some in the middle, some near their end.
        let names = census.len();
        let Some(point) = census
            .keys()
            .nth(n / 3 % names.max(1))
            .filter(|_| n % 3 == 0)
        else {
            continue;
        };
        always.push(Strike {
            request: Some(*request),
            action: Action::Crash(CrashKind::After),
            again: false,
            point: (*point).to_owned(),
            occurrence: 0,
        });
    }
    stage.always = always;
    stage.look()?;
    let [before, after] = stage.background.clone();
    let mut targets = Vec::new();
    for (point, end) in after {
        let begin = before.get(point).copied().unwrap_or_default();
        let count = end - begin;
        if count > SAMPLED {
            stage.note(format!("{point}: {SAMPLED} of {count} effects are struck"));
        }
        for n in 0..count.min(SAMPLED) {
            // Spread over all of them.
            let n = u64::from(n) * u64::from(count) / u64::from(count.min(SAMPLED));
            let strikes = crashes(point, begin + n as u32);
            targets.extend(strikes.map(|(way, strike)| {
                let strike = Strike {
                    request: Some(Trace::BACKGROUND),
                    ..strike
                };
                Target::new(way, OutcomeClass::Ok, vec![strike])
            }));
        }
    }
    if targets.is_empty() {
        stage.note("nothing runs in the background".to_owned());
    }
    // Neighbours in the list are effects of one name; a world should have different ones.
    let worlds = targets.len().div_ceil(AT_ONCE).max(1);
    stage.strike_together(targets, worlds)
}
