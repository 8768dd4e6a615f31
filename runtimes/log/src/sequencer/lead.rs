//! What the primary of a term knows besides its entries: what storages have said, what is cut, and
//! what backups keep.

use super::metalog::{Bug, FULL};
use crate::{Step, Term, View, quorum};
use std::collections::BTreeMap;
use triptych_nodes::NodeId;

/// What became of a trim or a release that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It is a new entry.
    New,
    /// It is the entry of this number already.
    Again(u32),
    /// It is no thing to ask for, or not now, or not of this sequencer.
    Refused,
}

/// A shard, as its log's primary sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Reported {
    engine: NodeId,
    /// Each holder, and below which local id it has everything.
    below: Vec<(NodeId, u32)>,
    /// Below which local id everything is in a cut.
    ordered: u32,
}

impl Reported {
    /// Below which local id every holder has everything.
    fn complete(&self, bug: Option<Bug>) -> u32 {
        let below = self.below.iter().map(|&(_, below)| below);
        let all = match bug {
            Some(Bug::CutBeyondMinimum) => below.max(),
            _ => below.min(),
        };
        all.unwrap_or(0)
    }
}

/// What only a primary has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lead {
    /// How many sequencers keep the metalog, this one among them.
    metas: usize,
    /// How many entries each backup keeps.
    positions: BTreeMap<NodeId, u32>,
    /// In the order of the view's engines.
    shards: Vec<Reported>,
    /// The position of the next record.
    next: u32,
    /// The number of the last cut.
    cut: Option<u32>,
    /// Trims and releases by who asked: the entry that each became.
    asked: BTreeMap<(bool, NodeId, u64), u32>,
    bug: Option<Bug>,
}

impl Lead {
    /// Of a new term; none if the view has no such log.
    pub(super) fn new(view: &View, term: Term, bug: Option<Bug>) -> Option<Self> {
        let metas = view.metas(term.log);
        if term.view != view.id || term.log >= view.shape.logs || metas.is_empty() {
            return None;
        }
        let shards = view.engines.iter().map(|engine| {
            let holders = view.holders(view.id, engine.node);
            Reported {
                engine: engine.node,
                below: holders.iter().map(|&holder| (holder, 0)).collect(),
                ordered: 0,
            }
        });
        Some(Lead {
            metas: metas.len(),
            positions: metas[1..].iter().map(|backup| (backup.node, 0)).collect(),
            shards: shards.collect(),
            next: 0,
            cut: None,
            asked: BTreeMap::new(),
            bug,
        })
    }

    pub(super) fn report(&mut self, storage: NodeId, below: &[(NodeId, u32)]) -> bool {
        let mut news = false;
        for &(engine, below) in below {
            let shard = self.shards.iter_mut().find(|shard| shard.engine == engine);
            let holder = shard.and_then(|shard| {
                let mut holders = shard.below.iter_mut();
                holders.find(|(holder, _)| *holder == storage)
            });
            if let Some((_, known)) = holder.filter(|(_, known)| *known < below) {
                *known = below;
                news = true;
            }
        }
        news
    }

    pub(super) fn is_ordered(&self, below: &[(NodeId, u32)]) -> bool {
        below.iter().all(|&(engine, below)| {
            let shard = self.shards.iter().find(|shard| shard.engine == engine);
            shard.is_none_or(|shard| below <= shard.ordered)
        })
    }

    /// Whether there is a cut that is not committed.
    pub(super) fn is_cutting(&self, committed: u32) -> bool {
        self.cut.is_some_and(|number| number >= committed)
    }

    fn deltas(&self) -> impl Iterator<Item = u32> + '_ {
        let shards = self.shards.iter();
        shards.map(|shard| shard.complete(self.bug).saturating_sub(shard.ordered))
    }

    /// Whether a cut is due that would take numbers beyond what they may be.
    pub(super) fn is_full(&self, entries: u32) -> bool {
        let ordered: u64 = self.deltas().map(u64::from).sum();
        let beyond = |shard: &Reported| shard.complete(self.bug) >= FULL;
        entries >= FULL
            || u64::from(self.next) + ordered >= u64::from(FULL)
            || self.shards.iter().any(beyond)
    }

    pub(super) fn can_cut(&self, entries: u32) -> bool {
        self.deltas().any(|delta| delta > 0) && !self.is_full(entries)
    }

    pub(super) fn cut(&mut self, number: u32) -> Option<Step> {
        if !self.can_cut(number) {
            return None;
        }
        let first = self.next;
        let starts = self.shards.iter().map(|shard| shard.ordered).collect();
        let deltas: Vec<u32> = self.deltas().collect();
        for (shard, &delta) in self.shards.iter_mut().zip(&deltas) {
            if self.bug != Some(Bug::CutTwice) {
                shard.ordered += delta;
            }
        }
        if self.bug != Some(Bug::ReuseNumbers) {
            self.next += deltas.iter().sum::<u32>();
        }
        self.cut = Some(number);
        Some(Step::Cut {
            first,
            starts,
            deltas,
        })
    }

    pub(super) fn ask(&mut self, step: &Step, number: u32, closed: bool) -> Asked {
        let (release, by) = match step {
            Step::Cut { .. } => return Asked::Refused,
            Step::Trim(trim) => (false, trim.by),
            Step::Release { trim, .. } => (true, trim.by),
        };
        let key = (release, by.0, by.1);
        match self.asked.get(&key) {
            Some(&before) => Asked::Again(before),
            None if closed => Asked::Refused,
            None => {
                self.asked.insert(key, number);
                Asked::New
            }
        }
    }

    pub(super) fn position(&self, backup: NodeId) -> u32 {
        self.positions.get(&backup).copied().unwrap_or(0)
    }

    /// A backup cannot keep more entries than were made: who says so is not believed.
    pub(super) fn accepted(&mut self, backup: NodeId, entries: u32, made: u32) {
        if let Some(position) = self.positions.get_mut(&backup)
            && entries <= made
        {
            *position = entries.max(*position);
        }
    }

    /// How many entries a quorum keeps, if the primary itself keeps `own` of all that it made.
    pub(super) fn committed(&self, own: u32, made: u32) -> u32 {
        if self.bug == Some(Bug::CommitWithoutQuorum) {
            return made;
        }
        let mut all: Vec<u32> = self.positions.values().copied().collect();
        if self.bug != Some(Bug::PrimaryDoesNotCount) {
            all.push(own);
        }
        all.sort_unstable_by(|a, b| b.cmp(a));
        let quorum = match self.bug {
            Some(Bug::HalfIsEnough) => self.metas.div_ceil(2),
            _ => quorum(self.metas),
        };
        all.get(quorum - 1).copied().unwrap_or(0)
    }
}
