//! Freeing what a trim has made unreadable.
//!
//! A release only raises bounds. What they free is found by going through the records of the log, a
//! bounded number in each step, however many releases there were: so many trims cost one walk.

use super::Storage;
use super::shard::{Slot, Tags};
use crate::{BookId, EVERY, LogId, SeqNum, Tag, Term, Trim, ViewId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use triptych_nodes::{Key, Nanos};
use triptych_world::MS;

/// The time between two steps.
const PAUSE: Nanos = MS;
/// The time between the end of a walk and the next one: so walks cost little however many releases
/// there are.
const REST: Nanos = 50 * MS;
/// Records that one step looks at, and deletions that it makes beside them, about.
const STEP: usize = 8192;

/// What is released, and how far it is freed.
#[derive(Debug, Default)]
pub(super) struct Releases {
    books: BTreeMap<BookId, Bounds>,
    /// Refused records that were released, and were not here then.
    refused: BTreeSet<SeqNum>,
    /// The highest bound in each log.
    reach: BTreeMap<LogId, SeqNum>,
    /// Logs to go through, with where we are.
    sweeps: BTreeMap<LogId, Sweep>,
    /// Whether a walk is under way, and when the last one ended.
    walking: bool,
    through: Option<Nanos>,
    /// What was never ordered, to be deleted.
    drops: VecDeque<Key>,
}

/// Before which places streams of a logbook are released.
#[derive(Debug, Default)]
struct Bounds {
    every: SeqNum,
    tags: BTreeMap<Tag, SeqNum>,
}

impl Bounds {
    fn free(&self, seq: SeqNum, tags: &Tags) -> bool {
        let tags = tags.as_slice();
        let released = |tag| self.tags.get(tag).is_some_and(|&bound| seq < bound);
        seq < self.every || (!tags.is_empty() && tags.iter().all(released))
    }
}

#[derive(Debug, Default)]
struct Sweep {
    view: ViewId,
    cut: usize,
    /// Whether to begin anew at the end.
    again: bool,
}

impl Releases {
    /// Whether there is something to do.
    pub(super) fn busy(&self) -> bool {
        !self.sweeps.is_empty() || !self.drops.is_empty()
    }

    /// How long to wait for the next step.
    pub(super) fn pause(&self, now: Nanos) -> Nanos {
        match self.through {
            Some(at) if !self.walking && self.drops.is_empty() => {
                (at + REST).saturating_sub(now).max(PAUSE)
            }
            _ => PAUSE,
        }
    }

    /// Before this place there may be something that is released.
    pub(super) fn reach(&self, log: LogId) -> SeqNum {
        self.reach.get(&log).copied().unwrap_or_default()
    }

    /// Has a key deleted in one of the next steps.
    pub(super) fn drop_later(&mut self, key: Key) {
        self.drops.push_back(key);
    }

    fn raise(&mut self, log: LogId, trim: &Trim) {
        let book = self.books.entry(trim.book).or_default();
        let reach = self.reach.entry(log).or_default();
        for &(tag, bound) in &trim.streams {
            *reach = bound.max(*reach);
            let old = match tag {
                EVERY => &mut book.every,
                _ => book.tags.entry(tag).or_default(),
            };
            *old = bound.max(*old);
        }
        let every = book.every;
        book.tags.retain(|_, bound| *bound > every);
    }

    /// A refused record is released that is not here (yet).
    fn refuse(&mut self, seq: SeqNum) {
        self.refused.insert(seq);
        let reach = self.reach.entry(seq.term().log).or_default();
        *reach = seq.next().max(*reach);
    }

    /// Has a log gone through from a view on.
    pub(super) fn look_from(&mut self, log: LogId, view: ViewId) {
        let sweep = self.sweeps.entry(log);
        sweep
            .and_modify(|sweep| sweep.again = true)
            .or_insert(Sweep {
                view,
                ..Sweep::default()
            });
    }

    fn frees(&self, seq: SeqNum, book: BookId, tags: &Tags) -> bool {
        let bounds = self.books.get(&book);
        bounds.is_some_and(|bounds| bounds.free(seq, tags)) || self.refused.contains(&seq)
    }
}

impl Storage {
    /// A release is ordered.
    pub(super) fn release(&mut self, term: Term, trim: &Trim, refused: &[SeqNum]) {
        self.releases.raise(term.log, trim);
        for &seq in refused.iter().filter(|seq| seq.term().log == term.log) {
            let log = self.terms.get(&seq.term());
            let found = log.and_then(|log| {
                let (engine, local) = log.locate(seq.position(), false)?;
                Some((log.shards[engine]?, local))
            });
            match found.map(|(place, local)| (place, local, self.shards[place].slot(local))) {
                Some((_, _, Slot::Freed)) => {}
                Some((place, local, Slot::Kept(_))) => self.free(place, local, Some(seq)),
                _ => self.releases.refuse(seq),
            }
        }
        self.releases.look_from(term.log, 0);
    }

    /// Records of a term have come that were not here when it was gone through.
    pub(super) fn look_again(&mut self, term: Term) {
        if self.releases.books.is_empty() {
            return;
        }
        if let Some(log) = self.terms.get_mut(&term) {
            log.swept = 0;
        }
        self.releases.look_from(term.log, term.view);
    }

    /// Goes on freeing and deleting, for one step.
    pub(super) fn sweep(&mut self, now: Nanos) {
        let drops = self.releases.drops.len().min(STEP);
        for key in self.releases.drops.drain(..drops) {
            self.disk.delete(key);
        }
        let (mut budget, mut again) = (STEP, BTreeMap::new());
        while budget > 0
            && let Some((log, mut sweep)) = self.releases.sweeps.pop_first()
        {
            if !self.sweep_log(log, &mut sweep, &mut budget) {
                self.releases.sweeps.insert(log, sweep);
            } else if sweep.again {
                again.insert(log, Sweep::default());
            }
        }
        self.counts.walked += (STEP - budget) as u64;
        self.releases.walking = !self.releases.sweeps.is_empty();
        if !self.releases.walking {
            self.releases.through = Some(now);
        }
        self.releases.sweeps.append(&mut again);
    }

    /// Goes on in a log, and says whether it is through.
    fn sweep_log(&mut self, log: LogId, sweep: &mut Sweep, budget: &mut usize) -> bool {
        let last = self.releases.reach(log).term().view;
        let last = last.min(self.membership.newest());
        while sweep.view <= last {
            let term = Term {
                view: sweep.view,
                log,
            };
            let (cuts, swept) = self
                .terms
                .get(&term)
                .map_or((0, 0), |log| (log.cuts(), log.swept));
            sweep.cut = sweep.cut.max(swept);
            while sweep.cut < cuts {
                if *budget == 0 {
                    return false;
                }
                let live = self.sweep_cut(term, sweep.cut, budget);
                if let Some(log) = self.terms.get_mut(&term)
                    && !live
                    && log.swept == sweep.cut
                {
                    log.swept += 1;
                }
                sweep.cut += 1;
            }
            let Some(next) = sweep.view.checked_add(1) else {
                break;
            };
            (sweep.view, sweep.cut) = (next, 0);
        }
        true
    }

    /// Frees what a cut orders and is released, and says whether something is left of it.
    fn sweep_cut(&mut self, term: Term, cut: usize, budget: &mut usize) -> bool {
        let Some(log) = self.terms.get(&term) else {
            return false;
        };
        let (mut free, mut live) = (Vec::new(), false);
        for (engine, start, end, first) in log.ordered_by(cut) {
            let Some(place) = log.shards[engine] else {
                continue;
            };
            let end = end.min(self.shards[place].seen);
            *budget = budget.saturating_sub(end.saturating_sub(start) as usize);
            for local in start..end {
                let seq = SeqNum(first.0 + u64::from(local - start));
                match self.shards[place].kept(local) {
                    Some(kept) if self.releases.frees(seq, kept.book, &kept.tags) => {
                        free.push((place, local, seq));
                    }
                    Some(_) => live = true,
                    None => {}
                }
            }
        }
        *budget = budget.saturating_sub(1);
        for (place, local, seq) in free {
            self.releases.refused.remove(&seq);
            self.free(place, local, Some(seq));
        }
        live
    }
}
