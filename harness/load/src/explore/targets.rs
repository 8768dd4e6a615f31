//! What a search strikes at, and how the strikes are dealt out to worlds.

use super::requests::Requests;
use super::{Case, Strike};
use crate::run::Census;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use triptych_model::OutcomeClass;
use triptych_world::Struck;
use triptych_world::fault::{Action, CrashKind};

/// How a point is struck: the columns of a coverage table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// A crash of this kind.
    Once(CrashKind),
    /// A duplicate.
    Duplicate,
    /// A crash, and another one at the same effect of the repeated execution.
    Again,
    /// Crashes at two effects.
    Pair,
}

/// One thing to try on one request.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) way: Way,
    /// How requests of this sort end if nothing strikes.
    pub(super) class: OutcomeClass,
    /// All faults; those before the last only lead to it.
    pub(super) strikes: Vec<Strike>,
    /// Where the effect was seen, if not in a run without faults.
    pub(super) seen: Option<Sighting>,
    /// Whether it is tried in just that world, because it missed in others.
    pub(super) there: bool,
}

/// Where an effect was seen: in which request of a world with which faults.
#[derive(Clone, Debug)]
pub(super) struct Sighting {
    pub(super) request: u64,
    pub(super) case: Arc<Case>,
}

impl Target {
    pub(super) fn new(way: Way, class: OutcomeClass, strikes: Vec<Strike>) -> Target {
        Target {
            way,
            class,
            strikes,
            seen: None,
            there: false,
        }
    }

    /// The effect that it is about.
    pub(super) fn last(&self) -> Option<&Strike> {
        self.strikes.last()
    }

    /// Whether a request has the effect that is struck first.
    fn fits(&self, census: &Census) -> bool {
        let first = self.strikes.first();
        first.is_none_or(|strike| {
            let count = census.get(strike.point.as_str());
            count.is_some_and(|count| *count > strike.occurrence)
        })
    }

    /// What became of it.
    pub(super) fn result(&self, struck: &[Struck]) -> Hit {
        let all = self.strikes.iter().all(|strike| {
            let same = |one: &&Struck| {
                one.point == strike.point
                    && one.occurrence == strike.occurrence
                    && one.action == strike.action
            };
            struck.iter().any(|one| same(&one))
        });
        match self.way {
            _ if !all => Hit::Missed,
            Way::Again if !struck.iter().any(|one| one.second) => Hit::NotRepeated,
            _ => Hit::Struck,
        }
    }
}

/// What became of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hit {
    /// Everything struck.
    Struck,
    /// The first crash struck, and no execution had that effect again.
    NotRepeated,
    /// Something did not strike.
    Missed,
}

/// The requests of a search as they are when nothing strikes: how each ends, and its effects.
pub(super) struct Reference {
    pub(super) probes: Vec<(u64, OutcomeClass, Census)>,
}

impl Reference {
    pub(super) fn new(
        requests: &Requests,
        outcomes: &[OutcomeClass],
        effects: &[Census],
    ) -> Reference {
        let probe = |&at: &u64| {
            let outcome = outcomes.get(at as usize)?;
            Some((at, *outcome, effects.get(at as usize)?.clone()))
        };
        Reference {
            probes: requests.probes.iter().filter_map(probe).collect(),
        }
    }

    /// The ways in which its requests end, and how many end so.
    pub(super) fn classes(&self) -> BTreeMap<OutcomeClass, u64> {
        let mut classes = BTreeMap::new();
        for (_, class, _) in &self.probes {
            *classes.entry(*class).or_default() += 1;
        }
        classes
    }

    /// All names of effects.
    pub(super) fn points(&self) -> BTreeSet<&'static str> {
        let all = self.probes.iter().flat_map(|(_, _, census)| census.keys());
        all.copied().collect()
    }

    /// The addresses of effects that requests of a class have.
    pub(super) fn addresses(&self, class: OutcomeClass) -> Vec<(&'static str, u32)> {
        let mut most = Census::new();
        for (_, own, census) in &self.probes {
            if *own != class {
                continue;
            }
            for (point, count) in census {
                let most = most.entry(point).or_default();
                *most = count.max(most).to_owned();
            }
        }
        let each = most.into_iter();
        each.flat_map(|(point, count)| (0..count).map(move |n| (point, n)))
            .collect()
    }

    /// Deals targets out to worlds of at most `most` of them: in each world every request is struck
    /// by at most one. `turn` makes a target that is tried again meet another request.
    pub(super) fn deal(
        &self,
        targets: Vec<Target>,
        turn: usize,
        most: usize,
    ) -> Vec<Vec<(u64, Target)>> {
        let mut load = vec![0_usize; self.probes.len()];
        let mut worlds: Vec<Vec<(u64, Target)>> = Vec::new();
        let count = self.probes.len();
        // Worlds before this one are full.
        let mut open = 0;
        for target in targets {
            let fitting = (0..count).map(|n| (n + turn) % count).filter(|&n| {
                let (request, class, census) = &self.probes[n];
                let seen = target.seen.as_ref().filter(|_| turn != 1);
                let seen = seen.is_none_or(|seen| seen.request == *request);
                *class == target.class && seen && target.fits(census)
            });
            let Some(probe) = fitting.min_by_key(|&n| load[n]) else {
                continue;
            };
            while worlds.get(open).is_some_and(|world| world.len() >= most) {
                open += 1;
            }
            let mut world = load[probe].max(open);
            while worlds.get(world).is_some_and(|world| world.len() >= most) {
                world += 1;
            }
            load[probe] = world + 1;
            if worlds.len() <= world {
                worlds.resize_with(world + 1, Vec::new);
            }
            worlds[world].push((self.probes[probe].0, target));
        }
        worlds
    }
}

/// A crash of each kind at one effect.
pub(super) fn crashes(point: &str, occurrence: u32) -> impl Iterator<Item = (Way, Strike)> {
    let point = point.to_owned();
    CrashKind::ALL.into_iter().map(move |kind| {
        let strike = Strike {
            request: None,
            action: Action::Crash(kind),
            again: false,
            point: point.clone(),
            occurrence,
        };
        (Way::Once(kind), strike)
    })
}

/// A duplicate at one effect.
pub(super) fn duplicate(point: &str, occurrence: u32) -> Strike {
    Strike {
        request: None,
        action: Action::Duplicate,
        again: false,
        point: point.to_owned(),
        occurrence,
    }
}
