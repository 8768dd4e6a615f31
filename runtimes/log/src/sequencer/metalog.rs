//! A metalog as one sequencer keeps it: plain data and rules, without timing or messages, so that a
//! model checker can hold it.
//!
//! The primary of a term is the only one that makes entries ([`crate::sequencer::lead`] decides what
//! they say); so any two metalogs of a term agree on the entries that both have, and a metalog is
//! told by its length. A backup takes entries only in order. An entry is committed when a majority of
//! all sequencers of the term, the primary among them, keep it. Whoever has sealed its metalog takes
//! and commits nothing any more; so a majority of sealed metalogs shows every committed entry.

use super::lead::{Asked, Lead};
use crate::{Entry, Final, SealedLog, Step, Term, View};
use std::ops::Range;
use std::sync::Arc;
use triptych_nodes::NodeId;

/// How many of its last entries a sealed metalog shows in any case, also if they are known to be
/// committed: who lags a little when a view ends then need not fetch anything.
pub const TAIL: u32 = 16;

/// Neither local ids, nor positions, nor entry numbers reach this: before they would, the metalog is
/// full, and a new view begins them again at 0.
pub const FULL: u32 = 1 << 31;

/// A seeded defect, to show that the checkers see it. No node has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bug {
    /// What the primary has is committed.
    CommitWithoutQuorum,
    /// A quorum of the primary's *backups* must keep an entry (specification §13, pitfall 5).
    PrimaryDoesNotCount,
    /// Half of the sequencers commit an entry. Together with the same defect at the seal
    /// ([`crate::controller::ending::Bug::HalfIsEnough`]) two halves need not share a member
    /// (pitfall 6); one of the two alone does no harm.
    HalfIsEnough,
    /// A backup takes entries although it lacks some before them.
    AcceptWithGap,
    /// Entries are taken, and committed, after the seal.
    ForgetSeal,
    /// A cut takes what one holder has, though others lack it.
    CutBeyondMinimum,
    /// A cut begins where the one before began.
    CutTwice,
    /// A cut gives the positions of the one before once more.
    ReuseNumbers,
}

/// How far a metalog has come in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    /// It grows.
    Open,
    /// It was promised that it grows no more, except by what turns out to be final.
    Sealed,
    /// It has so many entries in all, for ever, and all are committed.
    Ended(u32),
}

/// A metalog of one term, as one sequencer keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Metalog {
    term: Term,
    /// Without gaps from number 0.
    entries: Vec<Arc<Entry>>,
    /// How many entries this sequencer keeps as durably as the cluster's level asks for.
    durable: u32,
    /// How many entries are known to be committed; at most all that are here.
    committed: u32,
    state: State,
    /// Entries that were here are damaged: nobody may conclude anything from what is left.
    damaged: bool,
    /// What only the primary has.
    lead: Option<Lead>,
    bug: Option<Bug>,
}

/// What of a metalog changed when its term ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Numbers of entries that are new.
    pub new: Range<u32>,
    /// Numbers of entries that were here and are no part of the log: nobody has seen them committed.
    pub discarded: Range<u32>,
}

impl Metalog {
    /// An empty one, as the primary of its term keeps it; none if the view has no such log.
    pub fn primary(view: &View, term: Term, bug: Option<Bug>) -> Option<Self> {
        let lead = Lead::new(view, term, bug)?;
        Some(Metalog {
            lead: Some(lead),
            bug,
            ..Metalog::backup(term, bug)
        })
    }

    /// An empty one, as a backup keeps it.
    pub fn backup(term: Term, bug: Option<Bug>) -> Self {
        Metalog {
            term,
            entries: Vec::new(),
            durable: 0,
            committed: 0,
            state: State::Open,
            damaged: false,
            lead: None,
            bug,
        }
    }

    /// What was found after a restart: entries from number 0 on, as many of them as were known to be
    /// committed, and whether there should have been more. It is sealed, because whoever has restarted
    /// is not the member any more that the term's view names.
    pub fn recovered(term: Term, entries: Vec<Arc<Entry>>, committed: u32, damaged: bool) -> Self {
        let len = entries.len() as u32;
        Metalog {
            entries,
            durable: len,
            committed: committed.min(len),
            state: State::Sealed,
            damaged,
            ..Metalog::backup(term, None)
        }
    }

    /// The term.
    pub fn term(&self) -> Term {
        self.term
    }

    /// How many entries there are.
    pub fn len(&self) -> u32 {
        self.entries.len() as u32
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many entries are known to be committed.
    pub fn committed(&self) -> u32 {
        self.committed
    }

    /// How many entries are as durable here as was asked for: what a backup acknowledges.
    pub fn durable(&self) -> u32 {
        self.durable
    }

    /// Entries by their numbers, as far as there are any.
    pub fn entries(&self, range: Range<u32>) -> &[Arc<Entry>] {
        let end = range.end.min(self.len()) as usize;
        let start = (range.start as usize).min(end);
        &self.entries[start..end]
    }

    /// Whether it takes and commits nothing any more.
    pub fn is_sealed(&self) -> bool {
        self.state != State::Open
    }

    /// Whether the term has ended and entries are missing here.
    pub fn is_missing(&self) -> bool {
        matches!(self.state, State::Ended(entries) if self.len() < entries)
    }

    /// Whether the sequencer is the term's primary.
    pub fn is_primary(&self) -> bool {
        self.lead.is_some()
    }

    fn is_closed(&self) -> bool {
        self.is_sealed() && self.bug != Some(Bug::ForgetSeal)
    }

    // The primary.

    /// A storage says up to where it has the records of engines. Whether that is news.
    pub fn report(&mut self, storage: NodeId, below: &[(NodeId, u32)]) -> bool {
        let lead = self.lead.as_mut();
        lead.is_some_and(|lead| lead.report(storage, below))
    }

    /// Whether a committed cut has ordered all of this already: then a storage that still says it has
    /// missed the cut.
    pub fn is_ordered(&self, below: &[(NodeId, u32)]) -> bool {
        let lead = self.lead.as_ref();
        lead.is_some_and(|lead| !lead.is_cutting(self.committed) && lead.is_ordered(below))
    }

    /// Whether a cut would order anything, and may be made now: at most one is not committed.
    pub fn can_cut(&self) -> bool {
        let lead = self.lead.as_ref();
        !self.is_closed()
            && lead.is_some_and(|lead| !lead.is_cutting(self.committed) && lead.can_cut(self.len()))
    }

    /// Whether numbers are about to run out, so that the view must end.
    pub fn is_full(&self) -> bool {
        let lead = self.lead.as_ref();
        lead.is_some_and(|lead| lead.is_full(self.len()))
    }

    /// Orders everything that all of its holders have, by a new entry.
    pub fn cut(&mut self) -> Option<Arc<Entry>> {
        if !self.can_cut() {
            return None;
        }
        let number = self.len();
        let step = self.lead.as_mut()?.cut(number)?;
        Some(self.append(step))
    }

    /// Appends a trim or a release, unless it is there already.
    pub fn ask(&mut self, step: Step) -> Asked {
        let number = self.len();
        let closed = self.is_closed() || number >= FULL;
        let Some(lead) = &mut self.lead else {
            return Asked::Refused;
        };
        let asked = lead.ask(&step, number, closed);
        if asked == Asked::New {
            self.append(step);
        }
        asked
    }

    fn append(&mut self, step: Step) -> Arc<Entry> {
        let number = self.len();
        let entry = Arc::new(Entry { number, step });
        self.entries.push(Arc::clone(&entry));
        entry
    }

    /// How many entries a backup keeps, as far as the primary knows.
    pub fn position(&self, backup: NodeId) -> u32 {
        self.lead.as_ref().map_or(0, |lead| lead.position(backup))
    }

    /// A backup says how many entries it keeps. The numbers of entries that are committed by this.
    pub fn accepted(&mut self, backup: NodeId, entries: u32) -> Range<u32> {
        let len = self.len();
        if let Some(lead) = &mut self.lead {
            lead.accepted(backup, entries, len);
        }
        self.commit()
    }

    fn commit(&mut self) -> Range<u32> {
        let before = self.committed;
        if !self.is_closed()
            && let Some(lead) = &self.lead
        {
            let kept = lead.committed(self.durable, self.entries.len() as u32);
            self.committed = before.max(kept.min(self.entries.len() as u32));
        }
        before..self.committed
    }

    // Everybody.

    /// The first `entries` entries are as durable here as was asked for. The numbers of entries that
    /// are committed by this.
    pub fn persisted(&mut self, entries: u32) -> Range<u32> {
        self.durable = self.durable.max(entries.min(self.len()));
        self.commit()
    }

    /// Takes entries from the primary, those that follow what is here, and hears how many are
    /// committed. Whether any is new.
    pub fn accept(&mut self, entries: &[Arc<Entry>], committed: u32) -> bool {
        if self.is_closed() || self.is_primary() {
            return false;
        }
        let before = self.len();
        for entry in entries {
            let gap = self.bug == Some(Bug::AcceptWithGap) && entry.number > self.len();
            if entry.number == self.len() || gap {
                self.entries.push(Arc::clone(entry));
            }
        }
        self.committed = self.committed.max(committed.min(self.len()));
        self.len() > before
    }

    /// Promises to take and commit nothing any more.
    pub fn seal(&mut self) {
        if self.state == State::Open {
            self.state = State::Sealed;
        }
    }

    /// What the sequencer tells of it after the seal; nothing if some of it was lost.
    pub fn sealed(&self) -> Option<SealedLog> {
        let start = self.committed.min(self.len().saturating_sub(TAIL));
        (!self.damaged).then(|| SealedLog {
            term: self.term,
            entries: self.len(),
            committed: self.committed,
            tail: self.entries(start..self.len()).to_vec(),
        })
    }

    /// The term has ended so. What is here beyond that was never committed, and goes; what is missing
    /// and not in the final's tail can be had from others ([`Metalog::learn`]).
    pub fn end(&mut self, end: &Final) -> Ended {
        if let State::Ended(_) = self.state {
            let len = self.len();
            return Ended {
                new: len..len,
                discarded: len..len,
            };
        }
        self.lead = None;
        self.state = State::Ended(end.entries);
        let len = self.len();
        self.entries.truncate(end.entries as usize);
        let kept = self.len();
        self.committed = kept;
        self.durable = self.durable.min(kept);
        let new = self.learn(&end.tail);
        Ended {
            new,
            discarded: kept..len,
        }
    }

    /// Takes entries of the ended term over that are missing. The numbers of those that are new.
    pub fn learn(&mut self, entries: &[Arc<Entry>]) -> Range<u32> {
        let before = self.len();
        for entry in entries {
            if self.is_missing() && entry.number == self.len() {
                self.entries.push(Arc::clone(entry));
            }
        }
        if let State::Ended(entries) = self.state {
            self.committed = self.len();
            self.damaged &= self.len() < entries;
        }
        before..self.len()
    }

    /// Committed entries from a number on, at most so many.
    pub fn fetch(&self, from: u32, limit: u32) -> &[Arc<Entry>] {
        self.entries(from..self.committed.min(from.saturating_add(limit)))
    }
}
