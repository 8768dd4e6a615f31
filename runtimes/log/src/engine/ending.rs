//! One shard in a view that is over, until it is known what of it was ordered.

use super::Bug;
use super::sending::{Ordered, Sending};
use super::turn::{Turn, nth};
use crate::{Entry, Message, Step, Term};
use std::collections::BTreeMap;
use std::sync::Arc;
use triptych_nodes::Nanos;

/// A shard in a view that is over.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) sending: Sending,
    /// How many entries the metalog has.
    pub(super) end: u32,
    /// Entries below this are taken into account.
    pub(super) cursor: u32,
    pub(super) known: BTreeMap<u32, Arc<Entry>>,
    /// When entries were asked for last, and how often.
    pub(super) asked: (Option<Nanos>, usize),
}

impl Ending {
    pub(super) fn of(mut sending: Sending, end: u32) -> Self {
        let cuts = std::mem::take(&mut sending.cuts).into_values();
        let known = cuts.map(|entry| (entry.number, entry)).collect();
        Ending {
            cursor: sending.heard,
            sending,
            end,
            known,
            asked: (None, 0),
        }
    }

    pub(super) fn learn(&mut self, entries: &[Arc<Entry>]) {
        for entry in entries {
            if (self.cursor..self.end).contains(&entry.number) {
                self.known.insert(entry.number, Arc::clone(entry));
            }
        }
    }

    /// If the tail's first cut begins where this shard is, nothing that matters lies before it.
    pub(super) fn skip(&mut self, tail: &[Arc<Entry>]) {
        let begins = tail.iter().find_map(|entry| match &entry.step {
            Step::Cut { starts, .. } => Some((entry.number, *starts.get(self.sending.place)?)),
            _ => None,
        });
        if let Some((number, start)) = begins
            && start <= self.sending.applied
        {
            self.cursor = self.cursor.max(number);
        }
    }

    /// Takes into account what is known. Says whether nothing is missing.
    pub(super) fn settle(&mut self, bug: Option<Bug>, ordered: &mut Vec<Ordered>) -> bool {
        if bug == Some(Bug::DiscardOrdered) {
            return true;
        }
        while let Some(entry) = self.known.remove(&self.cursor) {
            self.sending.order(bug, &entry, ordered);
            self.cursor += 1;
        }
        self.cursor >= self.end || self.sending.pending.is_empty()
    }

    pub(super) fn ask(&mut self, turn: &mut Turn<'_>) {
        let (at, attempt) = self.asked;
        if at.is_some_and(|at| !turn.is_over(at, turn.again_after())) {
            return;
        }
        let Term { view, log } = self.sending.shard.term;
        if let Some(teller) = nth(&turn.tellers(view, log), attempt) {
            let (term, from) = (self.sending.shard.term, self.cursor);
            turn.send(teller, Message::FetchEntries { term, from });
        }
        self.asked = (Some(turn.now), attempt + 1);
    }
}
