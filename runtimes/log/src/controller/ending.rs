//! How a view ends: what its sequencers say when they have sealed it, and what follows from that.
//!
//! Every committed entry is kept by a majority of a log's sequencers. A majority of them that have
//! sealed the metalog shares a member with that one, so the longest of their metalogs has every
//! committed entry; and it has nothing that is not the primary's. What it has beyond what was
//! committed becomes final too: that is harmless, because whatever a cut orders is kept by all of its
//! holders.

use crate::{Entry, Final, Level, LogId, Member, SealedLog, View, quorum};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use triptych_nodes::NodeId;

/// A seeded defect, to show that the checkers see it. No controller has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bug {
    /// The first answer decides, though a quorum is needed and the most counts.
    FinalFromFirst,
    /// Of a quorum's answers the shortest metalog is taken.
    FinalFromShortest,
    /// Half of the sequencers end a log.
    HalfIsEnough,
    /// A sequencer counts though it has restarted and lost what it knew.
    CountAnyLife,
}

/// What is known of the end of a view.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ending {
    view: Arc<View>,
    level: Level,
    answers: BTreeMap<LogId, BTreeMap<NodeId, SealedLog>>,
    bug: Option<Bug>,
}

impl Ending {
    /// Nothing is known yet.
    pub fn new(view: Arc<View>, level: Level, bug: Option<Bug>) -> Self {
        Ending {
            view,
            level,
            answers: BTreeMap::new(),
            bug,
        }
    }

    /// The view that ends.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// A sequencer says what it keeps. What does not count, or makes no sense, is ignored: another
    /// life's answer unless memory survives restarts, logs that it does not keep in the view, and
    /// tails that do not reach from what is committed to the end.
    pub fn answer(&mut self, from: Member, logs: Vec<SealedLog>) {
        for sealed in logs {
            let log = sealed.term.log;
            if sealed.term.view != self.view.id || log >= self.view.shape.logs {
                continue;
            }
            let metas = self.view.metas(log);
            let named = metas.iter().find(|member| member.node == from.node);
            let counts = named.is_some_and(|named| {
                named.life == from.life
                    || (self.level == Level::Synced && named.life < from.life)
                    || self.bug == Some(Bug::CountAnyLife)
            });
            if counts && is_sound(&sealed) {
                let of = self.answers.entry(log).or_default();
                of.entry(from.node).or_insert(sealed);
            }
        }
    }

    /// Sequencers whose answer for some log is still wanted, because that log has no quorum yet.
    pub fn missing(&self) -> BTreeSet<NodeId> {
        let mut missing = BTreeSet::new();
        for log in (0..self.view.shape.logs).filter(|&log| !self.is_complete(log)) {
            let heard = self.answers.get(&log);
            let metas = self.view.metas(log).into_iter();
            let silent = metas.filter(|meta| heard.is_none_or(|of| !of.contains_key(&meta.node)));
            missing.extend(silent.map(|meta| meta.node));
        }
        missing
    }

    fn is_complete(&self, log: LogId) -> bool {
        let heard = self.answers.get(&log).map_or(0, BTreeMap::len);
        let metas = self.view.metas(log).len();
        match self.bug {
            Some(Bug::FinalFromFirst) => heard > 0,
            Some(Bug::HalfIsEnough) => heard >= metas.div_ceil(2),
            _ => heard >= quorum(metas),
        }
    }

    /// How each log has ended, if a quorum of the sequencers of every one has answered.
    pub fn finals(&self) -> Option<Vec<Final>> {
        let logs = 0..self.view.shape.logs;
        logs.map(|log| self.ended(log)).collect()
    }

    fn ended(&self, log: LogId) -> Option<Final> {
        if !self.is_complete(log) {
            return None;
        }
        let answers = self.answers.get(&log)?.values();
        let longest = match self.bug {
            Some(Bug::FinalFromFirst) => answers.clone().next(),
            Some(Bug::FinalFromShortest) => answers.clone().min_by_key(|sealed| sealed.entries),
            _ => answers.clone().max_by_key(|sealed| sealed.entries),
        }?;
        // All metalogs of a term agree where they overlap; so together the tails reach back as far as
        // the one that reaches furthest without a gap.
        let mut entries: BTreeMap<u32, &Arc<Entry>> = BTreeMap::new();
        for sealed in answers {
            let within = sealed.tail.iter();
            let within = within.filter(|entry| entry.number < longest.entries);
            entries.extend(within.map(|entry| (entry.number, entry)));
        }
        let mut tail: Vec<Arc<Entry>> = Vec::new();
        for (number, entry) in entries.into_iter().rev() {
            if number + 1 + tail.len() as u32 != longest.entries {
                break;
            }
            tail.push(Arc::clone(entry));
        }
        tail.reverse();
        Some(Final {
            entries: longest.entries,
            tail,
        })
    }
}

/// Whether a tail is what it says: the last entries, from at or before what is committed on.
fn is_sound(sealed: &SealedLog) -> bool {
    let first = u64::from(sealed.entries).checked_sub(sealed.tail.len() as u64);
    let numbers = sealed.tail.iter().map(|entry| u64::from(entry.number));
    first.is_some_and(|first| {
        first <= u64::from(sealed.committed)
            && sealed.committed <= sealed.entries
            && numbers.eq(first..u64::from(sealed.entries))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::testing::{cut, members, view};
    use crate::{Shape, Term};

    const SHAPE: Shape = Shape {
        logs: 2,
        metas: 3,
        copies: 1,
        indexes: 1,
    };

    fn sealed(log: LogId, committed: u32, from: u32, entries: u32) -> SealedLog {
        SealedLog {
            term: Term { view: 1, log },
            entries,
            committed,
            tail: (from..entries).map(cut).collect(),
        }
    }

    fn ending(level: Level, bug: Option<Bug>) -> Ending {
        Ending::new(Arc::new(view(SHAPE, 4, 1, 1)), level, bug)
    }

    #[test]
    fn every_log_needs_a_quorum_and_the_most_counts() {
        // Log 0 is kept by 100, 101, 102; log 1 by 101, 102, 103.
        let mut ending = ending(Level::Memory, None);
        let all = members(100..104);
        ending.answer(all[1], vec![sealed(0, 3, 2, 5), sealed(1, 0, 0, 1)]);
        assert_eq!(ending.finals(), None);
        ending.answer(all[0], vec![sealed(0, 4, 4, 7)]);
        assert_eq!(ending.finals(), None);
        let waits: Vec<u16> = ending.missing().into_iter().map(|node| node.0).collect();
        assert_eq!(waits, [102, 103]);
        ending.answer(all[3], vec![sealed(1, 0, 0, 0)]);
        let finals = ending.finals().expect("both logs have a quorum");
        let of = |end: &Final| {
            let numbers: Vec<u32> = end.tail.iter().map(|entry| entry.number).collect();
            (end.entries, numbers)
        };
        assert_eq!(of(&finals[0]), (7, vec![2, 3, 4, 5, 6]));
        assert_eq!(of(&finals[1]), (1, vec![0]));
        assert!(ending.missing().is_empty());
    }

    #[test]
    fn a_gap_between_tails_is_left_to_be_fetched() {
        let mut ending = ending(Level::Memory, None);
        let all = members(100..104);
        ending.answer(all[0], vec![sealed(0, 9, 9, 9), sealed(1, 0, 0, 0)]);
        ending.answer(all[1], vec![sealed(0, 2, 1, 3), sealed(1, 0, 0, 0)]);
        ending.answer(all[2], vec![sealed(1, 0, 0, 0)]);
        let finals = ending.finals().expect("a quorum has answered");
        assert_eq!((finals[0].entries, finals[0].tail.len()), (9, 0));
    }

    #[test]
    fn who_lost_its_memory_does_not_count() {
        let again = |node| Member {
            node: NodeId(node),
            life: 2,
        };
        let both = || vec![sealed(0, 0, 0, 0), sealed(1, 0, 0, 0)];
        for (level, bug, counts) in [
            (Level::Memory, None, false),
            (Level::Synced, None, true),
            (Level::Memory, Some(Bug::CountAnyLife), true),
        ] {
            let mut ending = ending(level, bug);
            ending.answer(again(101), both());
            ending.answer(again(102), both());
            assert_eq!(ending.finals().is_some(), counts, "{level:?} {bug:?}");
        }
    }

    #[test]
    fn answers_that_make_no_sense_are_ignored() {
        let mut ending = ending(Level::Memory, None);
        let all = members(100..104);
        let foreign = SealedLog {
            term: Term { view: 2, log: 0 },
            ..sealed(0, 0, 0, 0)
        };
        let beyond = SealedLog {
            term: Term { view: 1, log: 9 },
            ..sealed(0, 0, 0, 0)
        };
        // A tail that begins after what is committed, one that is too short, one of a log that the
        // sequencer does not keep.
        let late = sealed(0, 3, 4, 6);
        let short = SealedLog {
            entries: 9,
            ..sealed(0, 3, 3, 6)
        };
        for node in [all[0], all[1], all[2]] {
            let logs = [&foreign, &beyond, &late, &short].map(SealedLog::clone);
            ending.answer(node, logs.to_vec());
        }
        ending.answer(all[3], vec![sealed(0, 0, 0, 0)]);
        assert!(ending.answers.is_empty(), "{ending:?}");
    }
}
