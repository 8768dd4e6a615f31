//! What an exhaustive search of crash points counts and does: effects have addresses.
//!
//! The n-th effect of a request is another one as soon as anything before it changes. The n-th
//! effect *of a name* is a better address: a search can read it in a run without faults
//! ([`crate::RequestState::points`]) and aim at it in another ([`Aim`]).

use crate::Scope;
use crate::fault::{Action, Aim, Injection};
use std::collections::BTreeMap;

/// An aimed fault that struck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Struck {
    /// The crash point's name.
    pub point: &'static str,
    /// Which effect of that name it was.
    pub occurrence: u32,
    /// What happened there.
    pub action: Action,
    /// Whether this was the second strike of an [`Aim`] that strikes again.
    pub second: bool,
}

/// One effect of one instance, whichever execution of it.
#[derive(Clone, PartialEq, Eq)]
struct Place {
    label: String,
    point: &'static str,
    /// Which effect of that name of the execution.
    ordinal: u32,
}

/// See the module documentation.
#[derive(Default)]
pub(crate) struct Search {
    aims: Vec<Aim>,
    again: Vec<(Place, Aim)>,
    points: BTreeMap<&'static str, u32>,
    struck: Vec<Struck>,
}

impl Search {
    pub(crate) fn new(aims: Vec<Aim>) -> Self {
        Search {
            aims,
            ..Search::default()
        }
    }

    pub(crate) fn points(&self) -> &BTreeMap<&'static str, u32> {
        &self.points
    }

    pub(crate) fn struck(&self) -> &[Struck] {
        &self.struck
    }

    /// Whether it needs to know which instance an execution belongs to.
    pub(crate) fn wants_labels(&self) -> bool {
        !self.again.is_empty() || self.aims.iter().any(|aim| aim.again)
    }

    /// Counts an effect, and takes what is aimed at it.
    pub(crate) fn next(&mut self, scope: &Scope, point: &'static str) -> Vec<Injection> {
        let count = self.points.entry(point).or_default();
        let occurrence = *count;
        *count += 1;
        let place = Place {
            label: scope.label(),
            point,
            ordinal: scope.next_at(point),
        };
        let repeated = self.again.extract_if(.., |(at, _)| *at == place);
        let mut hits: Vec<(Aim, bool)> = repeated.map(|(_, aim)| (aim, true)).collect();
        let here = |aim: &mut Aim| aim.point == point && aim.occurrence == occurrence;
        for aim in self.aims.extract_if(.., here) {
            if aim.again {
                self.again.push((place.clone(), aim.clone()));
            }
            hits.push((aim, false));
        }
        let injection = |(aim, second): (Aim, bool)| {
            self.struck.push(Struck {
                point,
                occurrence,
                action: aim.action,
                second,
            });
            Injection {
                nth: occurrence,
                action: aim.action,
                late: aim.late,
            }
        };
        hits.into_iter().map(injection).collect()
    }
}
