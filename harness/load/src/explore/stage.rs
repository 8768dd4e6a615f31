//! One stage of a search: a kind of request, its worlds, and what they showed so far.

use super::report::{ClassLine, Finding, Row, StageReport, Tally};
use super::requests::Requests;
use super::targets::{Hit, Reference, Sighting, Target, Way};
use super::{Case, Explorer, Strike};
use crate::pool::{self, Cancel};
use crate::run::{Census, RunError, RunOutput, Script};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use triptych_model::{Guarantee, OutcomeClass};
use triptych_world::{Struck, Trace};

/// What is kept of a world.
pub(super) struct Looked {
    pub(super) outcomes: Vec<OutcomeClass>,
    pub(super) effects: Vec<Census>,
    pub(super) struck: Vec<Vec<Struck>>,
    pub(super) background: [Census; 2],
    pub(super) background_struck: Vec<Struck>,
    pub(super) violated: Vec<Violated>,
}

/// A violated rule and what shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violated {
    /// The rule.
    pub rule: String,
    /// What it speaks of.
    pub guarantee: Guarantee,
    /// Whether what it takes for granted is promised: else it decides nothing.
    pub asked: bool,
    /// The witness.
    pub told: String,
}

/// The rules that a run violates.
pub fn violated(output: &RunOutput) -> Vec<Violated> {
    let rules = output.verdict.rules.iter();
    let mut violated: Vec<Violated> = rules
        .filter(|rule| rule.violations > 0)
        .map(|rule| Violated {
            rule: rule.rule.clone(),
            guarantee: rule.guarantee,
            asked: rule.asked,
            told: rule
                .witness
                .as_ref()
                .map_or_else(String::new, |witness| witness.told.clone()),
        })
        .collect();
    violated.extend(output.verdict.stuck.iter().map(|stuck| Violated {
        rule: "quiet".to_owned(),
        guarantee: Guarantee::Effects,
        asked: true,
        told: stuck.clone(),
    }));
    violated
}

/// A target that struck, the request that it struck, and all that this one did.
pub(super) struct Did {
    pub(super) target: Target,
    pub(super) effects: Census,
    pub(super) seen: Sighting,
}

/// Targets that struck, and targets that missed.
type Tried = (Vec<Did>, Vec<Target>);

/// At most so many violating worlds are taken apart.
const TAKEN_APART: usize = 4;

pub(super) struct Stage<'a> {
    pub(super) explorer: &'a Explorer,
    pub(super) kind: String,
    pub(super) reference: Reference,
    /// The background's effects in the world without faults.
    pub(super) background: [Census; 2],
    requests: Requests,
    /// Faults of every world.
    pub(super) always: Vec<Strike>,
    threads: usize,
    cancel: &'a Arc<Cancel>,
    told: &'a mut dyn FnMut(u64),
    worlds: u64,
    taken_apart: usize,
    /// Rules that are violated already without faults: nothing can be said of faults by them.
    anyway: BTreeSet<String>,
    rows: BTreeMap<(OutcomeClass, String), Row>,
    pairs: Tally,
    not_repeated: u64,
    findings: Vec<Finding>,
    notes: Vec<String>,
}

impl<'a> Stage<'a> {
    pub(super) fn new(
        explorer: &'a Explorer,
        kind: &str,
        threads: usize,
        cancel: &'a Arc<Cancel>,
        told: &'a mut dyn FnMut(u64),
    ) -> Result<Self, RunError> {
        let mut stage = Stage {
            explorer,
            kind: kind.to_owned(),
            reference: Reference { probes: Vec::new() },
            background: Default::default(),
            requests: explorer.requests(kind)?,
            always: Vec::new(),
            threads,
            cancel,
            told,
            worlds: 0,
            taken_apart: 0,
            anyway: BTreeSet::new(),
            rows: BTreeMap::new(),
            pairs: Tally::default(),
            not_repeated: 0,
            findings: Vec::new(),
            notes: Vec::new(),
        };
        stage.look()?;
        Ok(stage)
    }

    /// Runs the world that has no faults but those of every world, and learns its effects.
    pub(super) fn look(&mut self) -> Result<(), RunError> {
        let case = Case(self.always.clone());
        let looked = self.worlds(std::slice::from_ref(&case))?.remove(0);
        self.reference = Reference::new(&self.requests, &looked.outcomes, &looked.effects);
        self.background = looked.background;
        if !looked.violated.is_empty() {
            let rules = looked.violated.iter().map(|one| one.rule.clone());
            self.anyway.extend(rules);
            self.find(case, looked.violated);
        }
        Ok(())
    }

    /// Runs worlds with these faults, on all threads.
    fn worlds(&mut self, cases: &[Case]) -> Result<Vec<Looked>, RunError> {
        let (explorer, kind, requests) = (self.explorer, self.kind.as_str(), &self.requests);
        let (cancel, anyway) = (self.cancel, &self.anyway);
        let done = self.worlds;
        let told = &mut self.told;
        let mut ended = 0;
        let results = pool::each(
            self.threads,
            cases,
            cancel,
            |_, case: &Case| {
                let script = Script {
                    aimed: case.0.iter().map(|strike| strike.aim(0)).collect(),
                    ..explorer.script(kind, requests)
                };
                let output = explorer.run(&script, cancel)?;
                let mut violated = violated(&output);
                violated.retain(|one| !anyway.contains(&one.rule));
                let seen = output.seen;
                Ok(Looked {
                    outcomes: output.ops.iter().map(|op| op.outcome.class()).collect(),
                    effects: seen.effects,
                    struck: seen.struck,
                    background: seen.background,
                    background_struck: seen.background_struck,
                    violated,
                })
            },
            |_, _| {
                ended += 1;
                told(done + ended);
            },
        );
        self.worlds += cases.len() as u64;
        let results = results.into_iter().map(|result| match result {
            None => Err(RunError::Cancelled),
            Some(Ok(looked)) => looked,
            Some(Err(panic)) => Err(RunError::Panic(panic)),
        });
        results.collect()
    }

    /// Tries targets of the background, several in each of some worlds.
    pub(super) fn strike_together(
        &mut self,
        targets: Vec<Target>,
        worlds: usize,
    ) -> Result<(), RunError> {
        let mut dealt: Vec<Vec<(u64, Target)>> = vec![Vec::new(); worlds];
        for (n, target) in targets.into_iter().enumerate() {
            dealt[n % worlds].push((Trace::BACKGROUND, target));
        }
        let (_, missed) = self.strike_worlds(dealt)?;
        // Other faults shift what comes after them; alone, each finds what was seen without any.
        let alone = missed
            .into_iter()
            .map(|target| vec![(Trace::BACKGROUND, target)]);
        let (_, missed) = self.strike_worlds(alone.collect())?;
        for target in missed {
            self.tally(&target, Hit::Missed);
        }
        Ok(())
    }

    /// Tries targets, each in a world together with others, those that missed again on other
    /// requests. Answers what each world's struck requests did.
    pub(super) fn strike(&mut self, targets: Vec<Target>) -> Result<Vec<Did>, RunError> {
        // What misses may have been kept from its way by other faults: then with few, then in just the
        // world in which it was seen.
        const MOST: [usize; ATTEMPTS] = [usize::MAX, 8, 1];
        const ATTEMPTS: usize = 3;
        let mut did = Vec::new();
        let mut left = targets;
        for (turn, most) in MOST.into_iter().enumerate() {
            let again = std::mem::take(&mut left);
            let worlds = self.reference.deal(again, turn, most);
            let (done, missed) = self.strike_worlds(worlds)?;
            did.extend(done);
            let last = |target: &Target| turn + 1 == ATTEMPTS || target.way == Way::Pair;
            for mut target in missed {
                match last(&target) {
                    true => self.tally(&target, Hit::Missed),
                    false => {
                        target.there = turn + 2 == ATTEMPTS;
                        left.push(target);
                    }
                }
            }
            if left.is_empty() {
                break;
            }
        }
        Ok(did)
    }

    /// Runs worlds with their targets. Answers those that struck, with what their requests did, and
    /// those that missed.
    fn strike_worlds(&mut self, worlds: Vec<Vec<(u64, Target)>>) -> Result<Tried, RunError> {
        let cases: Vec<Case> = worlds.iter().map(|world| self.case(world)).collect();
        let looked = self.worlds(&cases)?;
        let (mut did, mut missed, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
        for ((world, looked), case) in worlds.into_iter().zip(looked).zip(cases) {
            let case = Arc::new(case);
            for (request, target) in world {
                let at = request as usize;
                let struck = match request {
                    Trace::BACKGROUND => Some(&looked.background_struck),
                    _ => looked.struck.get(at),
                };
                let hit = target.result(struck.map_or(&[], Vec::as_slice));
                if hit == Hit::Missed {
                    missed.push(target);
                    continue;
                }
                self.tally(&target, hit);
                let effects = looked.effects.get(at).cloned().unwrap_or_default();
                let case = Arc::clone(&case);
                did.push(Did {
                    target,
                    effects,
                    seen: Sighting { request, case },
                });
            }
            if !looked.violated.is_empty() {
                wrong.push((Case::clone(&case), looked.violated));
            }
        }
        self.take_apart(wrong)?;
        Ok((did, missed))
    }

    /// All faults of a world: those of every world, and each target's on its request.
    fn case(&self, world: &[(u64, Target)]) -> Case {
        if let [(_, target)] = world
            && let (true, Some(seen)) = (target.there, &target.seen)
        {
            let last = target.last().map(|last| Strike {
                request: last.request.or(Some(seen.request)),
                ..last.clone()
            });
            return Case(seen.case.0.iter().cloned().chain(last).collect());
        }
        let own = world.iter().flat_map(|(request, target)| {
            target.strikes.iter().map(|strike| Strike {
                request: strike.request.or(Some(*request)),
                ..strike.clone()
            })
        });
        Case(self.always.iter().cloned().chain(own).collect())
    }

    fn tally(&mut self, target: &Target, hit: Hit) {
        if target.way == Way::Pair {
            self.pairs.count(hit == Hit::Struck);
            return;
        }
        let Some(last) = target.last() else { return };
        if hit == Hit::NotRepeated {
            self.not_repeated += 1;
            return;
        }
        let key = (target.class, last.point.clone());
        let row = self.rows.entry(key).or_insert_with(|| Row {
            class: target.class,
            point: last.point.clone(),
            later: target.strikes.len() > 1,
            tallies: Default::default(),
        });
        row.tallies[Row::column(target.way)].count(hit == Hit::Struck);
    }

    /// Finds which single faults are to blame for what worlds violate.
    fn take_apart(&mut self, wrong: Vec<(Case, Vec<Violated>)>) -> Result<(), RunError> {
        for (case, violated) in wrong {
            if self.taken_apart >= TAKEN_APART {
                self.notes.push(format!(
                    "one more world violates {}; not taken apart",
                    violated[0].rule
                ));
                continue;
            }
            self.taken_apart += 1;
            let own = &case.0[self.always.len()..];
            let singles: Vec<Case> = groups(own)
                .into_iter()
                .map(|group| Case(self.always.iter().cloned().chain(group).collect()))
                .collect();
            let looked = self.worlds(&singles)?;
            let mut found = false;
            for (single, looked) in singles.into_iter().zip(looked) {
                if !looked.violated.is_empty() {
                    found = true;
                    self.find(single, looked.violated);
                }
            }
            if !found {
                let (case, violated) = self.halve(case, violated)?;
                self.find(case, violated);
            }
        }
        Ok(())
    }

    /// Leaves half of the faults away as long as what remains still violates something.
    fn halve(
        &mut self,
        mut case: Case,
        mut violated: Vec<Violated>,
    ) -> Result<(Case, Vec<Violated>), RunError> {
        loop {
            let own = groups(&case.0[self.always.len()..]);
            if own.len() < 3 {
                return Ok((case, violated));
            }
            let (first, second) = own.split_at(own.len() / 2);
            let half = |half: &[Vec<Strike>]| {
                Case(self.always.iter().cloned().chain(half.concat()).collect())
            };
            let halves = [half(first), half(second)];
            let looked = self.worlds(&halves)?;
            let smaller = halves.into_iter().zip(looked);
            let Some((half, looked)) = smaller.into_iter().find(|(_, it)| !it.violated.is_empty())
            else {
                return Ok((case, violated));
            };
            (case, violated) = (half, looked.violated);
        }
    }

    fn find(&mut self, case: Case, violated: Vec<Violated>) {
        self.findings.push(Finding {
            kind: self.kind.clone(),
            command: self.explorer.command(&self.kind, &case),
            case,
            violated,
        });
    }

    pub(super) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    pub(super) fn done(self) -> StageReport {
        let mut notes = self.notes;
        if !self.anyway.is_empty() {
            let rules: Vec<&str> = self.anyway.iter().map(String::as_str).collect();
            notes.push(format!(
                "{} violated without any fault, so that faults are not blamed for it",
                rules.join(", ")
            ));
        }
        if self.not_repeated > 0 {
            notes.push(format!(
                "{} crashed effects were not met again by the repeated execution: it was over, or \
                 took another way",
                self.not_repeated
            ));
        }
        notes.dedup();
        // The background's requests are there for it, and not what is struck.
        let shown = self.kind != super::BACKGROUND;
        let classes = self.reference.classes().into_iter().filter(|_| shown);
        StageReport {
            classes: classes
                .map(|(class, requests)| ClassLine {
                    class,
                    requests,
                    effects: self.reference.addresses(class).len() as u64,
                })
                .collect(),
            kind: self.kind,
            rows: self.rows.into_values().collect(),
            pairs: self.pairs,
            worlds: self.worlds,
            findings: self.findings,
            notes,
        }
    }
}

/// The faults of each request together; those of the background one by one.
fn groups(strikes: &[Strike]) -> Vec<Vec<Strike>> {
    let mut groups: Vec<Vec<Strike>> = Vec::new();
    for strike in strikes {
        let last = groups.last_mut().filter(|last| {
            strike.request != Some(Trace::BACKGROUND) && last[0].request == strike.request
        });
        match last {
            Some(last) => last.push(strike.clone()),
            None => groups.push(vec![strike.clone()]),
        }
    }
    groups
}
