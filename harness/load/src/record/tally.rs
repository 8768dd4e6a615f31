//! How often transactions were tried, and how often a conflict ended an attempt.
//!
//! An execution that is repeated tells of the same attempts again, so they are counted by their ids.
//! On a runtime whose repeated executions are not one, each of them stands for itself.

use std::collections::BTreeSet;
use triptych_api::{Seen, Step, What};
use triptych_model::{Name, Transactions};

#[derive(Default)]
pub(super) struct Tally {
    begun: BTreeSet<(Name, Step)>,
    attempts: BTreeSet<Name>,
    conflicts: BTreeSet<Name>,
}

impl Tally {
    pub(super) fn hear(&mut self, seen: &Seen<'_>) {
        let Some(id) = seen.transaction else { return };
        match seen.what {
            What::Begin => {
                self.begun
                    .insert((seen.instance.clone(), seen.step.clone()));
                self.attempts.insert(id.clone());
            }
            What::Aborted { conflict: true } => {
                self.conflicts.insert(id.clone());
            }
            _ => {}
        }
    }

    pub(super) fn transactions(&self) -> Transactions {
        Transactions {
            begun: self.begun.len() as u64,
            attempts: self.attempts.len() as u64,
            conflicts: self.conflicts.len() as u64,
        }
    }
}
