//! Views: who does what, until something changes.
//!
//! A view is immutable. The controller decides the next one when a node fails, restarts without its
//! memory, or joins; deciding it first ends the one before ([`Final`]). Everything that nodes must
//! agree on about placement is computed from it, by the same functions everywhere.

use crate::{BookId, Entry, LogId, SeqNum, Shard, Term, ViewId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use triptych_nodes::NodeId;

/// A node in a view, in one of its lives. A node that has lost what it knew begins a new life, with
/// a higher number, and is not the member that it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// Which of its lives.
    pub life: u32,
}

/// How many of everything. The number of physical logs never changes in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// Physical logs.
    pub logs: u16,
    /// Sequencers that keep each metalog, the primary among them (`n_meta`).
    pub metas: u16,
    /// Storages that keep each record (`n_data`).
    pub copies: u16,
    /// Engines that index each physical log (`n_index`).
    pub indexes: u16,
}

/// More than half of so many: what commits an entry, what seals a view, what decides a register. Any
/// two of them share a member.
pub fn quorum(of: usize) -> usize {
    of / 2 + 1
}

/// How a physical log ended in a view.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Final {
    /// Entries of its metalog, in all. Every one that anybody saw committed is among them.
    pub entries: u32,
    /// The last of them, at least all that were not surely committed. What comes before is kept by a
    /// majority of the view's sequencers for this log and by its storages.
    pub tail: Vec<Arc<Entry>>,
}

/// Who keeps the records of each engine in each view.
pub type Holders = BTreeMap<ViewId, BTreeMap<NodeId, Vec<NodeId>>>;

/// Makes who keeps what in one view into who keeps what in the next, by what that one says.
pub fn overlay(holders: &mut Holders, next: &View) {
    for (&view, changed) in &next.holders {
        let of = holders.entry(view).or_default();
        for (&engine, nodes) in changed {
            of.insert(engine, nodes.clone());
        }
        of.retain(|_, nodes| !nodes.is_empty());
        if of.is_empty() {
            holders.remove(&view);
        }
    }
}

/// A configuration of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct View {
    /// Its number.
    pub id: ViewId,
    /// How many of everything.
    pub shape: Shape,
    /// Sequencers, at least as many as keep each metalog.
    pub sequencers: Vec<Member>,
    /// Storages, at least as many as keep each record.
    pub storages: Vec<Member>,
    /// Engines. Their order is the order of shards in a cut.
    pub engines: Vec<Member>,
    /// How each physical log ended in the view before this one; empty in the first view.
    pub finals: Vec<Final>,
    /// Who keeps the records of each engine, in this view and in views before it. In this view those
    /// are the ones who must have a record before it is ordered; in earlier ones, those who have it
    /// or are about to copy it from the others. Those who had it first stand first.
    ///
    /// A view as it is chosen and told says of earlier views only what has changed (nobody: there is
    /// nothing to keep), so that it does not grow with their number. Whoever follows the views has all
    /// of it in the newest ([`overlay`]).
    pub holders: Holders,
}

impl View {
    /// The physical log of a logbook: the same in every view.
    pub fn log_of(shape: Shape, book: BookId) -> LogId {
        (triptych_world::mix(0x6c6f_6762_6f6f_6b73, book) % u64::from(shape.logs)) as LogId
    }

    /// Whether it can be a view of a cluster of this shape: there is somebody for every role.
    pub fn can_be(&self, shape: Shape) -> bool {
        let roles = [&self.sequencers, &self.storages, &self.engines];
        self.shape == shape && shape.logs > 0 && roles.into_iter().all(|role| !role.is_empty())
    }

    /// The term of a physical log in this view.
    pub fn term(&self, log: LogId) -> Term {
        Term { view: self.id, log }
    }

    /// The terms of all physical logs in this view.
    pub fn terms(&self) -> impl Iterator<Item = Term> + use<> {
        let view = self.id;
        (0..self.shape.logs).map(move |log| Term { view, log })
    }

    /// The sequencers that keep the metalog of a physical log, the primary first.
    pub fn metas(&self, log: LogId) -> Vec<Member> {
        some(&self.sequencers, usize::from(log), self.shape.metas)
    }

    /// The primary sequencer of a physical log.
    pub fn primary(&self, log: LogId) -> NodeId {
        self.sequencers[usize::from(log) % self.sequencers.len()].node
    }

    /// The engines that index a physical log, all views of it.
    pub fn indexes(&self, log: LogId) -> Vec<Member> {
        let first = usize::from(log) * usize::from(self.shape.indexes);
        some(&self.engines, first, self.shape.indexes)
    }

    /// Who keeps the records of an engine: see [`View::holders`]. Empty if it was not in that view.
    pub fn holders(&self, view: ViewId, engine: NodeId) -> &[NodeId] {
        let of = self.holders.get(&view).and_then(|of| of.get(&engine));
        of.map_or(&[], Vec::as_slice)
    }

    /// Who keeps the records of a shard.
    pub fn keepers(&self, shard: Shard) -> &[NodeId] {
        self.holders(shard.term.view, shard.engine)
    }

    /// The place of an engine in this view's cuts.
    pub fn engine(&self, node: NodeId) -> Option<usize> {
        self.engines.iter().position(|member| member.node == node)
    }

    /// Where new records of the engine at a place of the list are kept: storages in turn, so that
    /// every storage gets its share.
    pub fn assign(storages: &[Member], engine: usize, copies: u16) -> Vec<NodeId> {
        let some = some(storages, engine * usize::from(copies), copies);
        some.into_iter().map(|member| member.node).collect()
    }
}

fn some(of: &[Member], first: usize, count: u16) -> Vec<Member> {
    let count = usize::from(count).min(of.len());
    (0..count).map(|k| of[(first + k) % of.len()]).collect()
}

/// Which local ids a cut gives which positions, by engine: engine, first local id, how many, the
/// place of the first.
pub fn assigned<'a>(
    engines: &'a [Member],
    term: Term,
    first: u32,
    starts: &'a [u32],
    deltas: &'a [u32],
) -> impl Iterator<Item = (Shard, u32, u32, SeqNum)> + 'a {
    let mut position = first;
    let all = engines.iter().zip(starts.iter().zip(deltas));
    all.map(move |(member, (&start, &delta))| {
        let (engine, at) = (member.node, SeqNum::new(term, position));
        position += delta;
        (Shard { term, engine }, start, delta, at)
    })
    .filter(|&(_, _, delta, _)| delta > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(nodes: impl IntoIterator<Item = u16>) -> Vec<Member> {
        let member = |node| Member {
            node: NodeId(node),
            life: 1,
        };
        nodes.into_iter().map(member).collect()
    }

    #[test]
    fn any_two_quorums_share_a_member() {
        for of in 1..=7 {
            assert!(quorum(of) <= of && 2 * quorum(of) > of, "{of}");
        }
    }

    #[test]
    fn a_cut_numbers_the_shards_in_the_order_of_the_engines() {
        // The worked example of the specification, §4.5.
        let engines = members([3, 5, 9]);
        let term = Term { view: 0, log: 1 };
        let places: Vec<_> = assigned(&engines, term, 100, &[40, 12, 0], &[2, 0, 3])
            .map(|(shard, start, count, at)| (shard.engine.0, start, count, at.position()))
            .collect();
        assert_eq!(places, [(3, 40, 2, 100), (9, 0, 3, 102)]);
    }

    #[test]
    fn every_storage_gets_its_share() {
        let storages = members(0..4);
        let mut load = BTreeMap::new();
        for engine in 0..8 {
            let kept = View::assign(&storages, engine, 3);
            assert_eq!(kept.len(), 3);
            kept.into_iter()
                .for_each(|node| *load.entry(node).or_insert(0) += 1);
        }
        assert!(load.values().all(|&n| n == 6), "{load:?}");
    }
}
