//! The direct serialization graph: who must come before whom, and why.
//!
//! Edges are kept as they were found and indexed by where they begin (compressed rows). Strongly
//! connected components are found in linear time for any set of edge kinds.

/// Why one transaction must come before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EdgeKind {
    /// It wrote the version before the other's.
    Ww,
    /// The other read what it wrote.
    Wr,
    /// The other overwrote what it had read.
    Rw,
    /// The same session did it before.
    Session,
    /// It had ended before the other began.
    RealTime,
}

impl EdgeKind {
    /// The label in pictures.
    pub fn name(self) -> &'static str {
        match self {
            EdgeKind::Ww => "ww",
            EdgeKind::Wr => "wr",
            EdgeKind::Rw => "rw",
            EdgeKind::Session => "session",
            EdgeKind::RealTime => "real time",
        }
    }

    pub(super) fn mask(self) -> u8 {
        1 << self as u8
    }
}

/// Sets of edge kinds.
pub(super) const WW: u8 = 1;
pub(super) const DEPEND: u8 = WW | 2;
pub(super) const DATA: u8 = DEPEND | 4;
pub(super) const SESSION: u8 = 8;
pub(super) const REAL_TIME: u8 = 16;

/// No node, element or key.
pub(super) const NONE: u32 = u32::MAX;

/// An edge on its way into the graph.
#[derive(Clone, Copy)]
pub(super) struct Edge {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) kind: EdgeKind,
    /// The key that it is about; [`NONE`] for orders of time.
    pub(super) key: u32,
}

/// The graph. Nodes below `real` are transactions; the others are moments in time that stand
/// between many that ended and many that began, so that time needs no edge for every pair.
pub(super) struct Graph {
    pub(super) real: u32,
    start: Vec<u32>,
    to: Vec<u32>,
    kind: Vec<EdgeKind>,
    key: Vec<u32>,
}

impl Graph {
    pub(super) fn new(real: u32, nodes: u32, edges: Vec<Edge>) -> Graph {
        let mut start = vec![0u32; nodes as usize + 1];
        for edge in &edges {
            start[edge.from as usize + 1] += 1;
        }
        for node in 0..nodes as usize {
            start[node + 1] += start[node];
        }
        let mut next = start.clone();
        let mut to = vec![0; edges.len()];
        let mut kind = vec![EdgeKind::Ww; edges.len()];
        let mut key = vec![NONE; edges.len()];
        for edge in &edges {
            let slot = next[edge.from as usize] as usize;
            next[edge.from as usize] += 1;
            (to[slot], kind[slot], key[slot]) = (edge.to, edge.kind, edge.key);
        }
        Graph {
            real,
            start,
            to,
            kind,
            key,
        }
    }

    pub(super) fn nodes(&self) -> u32 {
        self.start.len() as u32 - 1
    }

    /// The places of the edges that begin at a node.
    pub(super) fn places(&self, node: u32) -> std::ops::Range<usize> {
        self.start[node as usize] as usize..self.start[node as usize + 1] as usize
    }

    pub(super) fn to(&self, place: usize) -> u32 {
        self.to[place]
    }

    pub(super) fn kind(&self, place: usize) -> EdgeKind {
        self.kind[place]
    }

    pub(super) fn key(&self, place: usize) -> u32 {
        self.key[place]
    }

    pub(super) fn has(&self, place: usize, mask: u8) -> bool {
        self.kind[place].mask() & mask != 0
    }

    /// The strongly connected components of more than one node, over edges of some kinds (Tarjan,
    /// without recursion), in the order of their first node; nodes in order too.
    pub(super) fn components(&self, mask: u8) -> Vec<Vec<u32>> {
        let count = self.nodes() as usize;
        // Of a visited node its number, counted from 1; lowered to that of the oldest it reaches.
        let mut low = vec![0u32; count];
        let mut order = vec![0u32; count];
        let mut closed = vec![false; count];
        let mut stack: Vec<u32> = Vec::new();
        let mut calls: Vec<(u32, usize)> = Vec::new();
        let mut components = Vec::new();
        let mut time = 0;
        for root in 0..self.nodes() {
            if order[root as usize] != 0 {
                continue;
            }
            time += 1;
            (order[root as usize], low[root as usize]) = (time, time);
            stack.push(root);
            calls.push((root, self.places(root).start));
            while let Some((node, place)) = calls.last_mut() {
                let node = *node;
                if *place < self.places(node).end {
                    let here = *place;
                    *place += 1;
                    if !self.has(here, mask) {
                        continue;
                    }
                    let next = self.to[here] as usize;
                    if order[next] == 0 {
                        time += 1;
                        (order[next], low[next]) = (time, time);
                        stack.push(next as u32);
                        calls.push((next as u32, self.places(next as u32).start));
                    } else if !closed[next] {
                        low[node as usize] = low[node as usize].min(order[next]);
                    }
                    continue;
                }
                calls.pop();
                if let Some((parent, _)) = calls.last() {
                    let parent = *parent as usize;
                    low[parent] = low[parent].min(low[node as usize]);
                }
                if low[node as usize] == order[node as usize] {
                    let mut component = Vec::new();
                    while let Some(member) = stack.pop() {
                        closed[member as usize] = true;
                        component.push(member);
                        if member == node {
                            break;
                        }
                    }
                    if component.len() > 1 {
                        component.sort_unstable();
                        components.push(component);
                    }
                }
            }
        }
        components.sort_unstable_by_key(|component| component[0]);
        components
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(nodes: u32, edges: &[(u32, u32, EdgeKind)]) -> Graph {
        let edges = edges.iter().map(|&(from, to, kind)| Edge {
            from,
            to,
            kind,
            key: 0,
        });
        Graph::new(nodes, nodes, edges.collect())
    }

    #[test]
    fn components_depend_on_the_kinds_that_count() {
        use EdgeKind::{Rw, Wr, Ww};
        let graph = graph(
            6,
            &[
                (0, 1, Ww),
                (1, 2, Wr),
                (2, 0, Rw),
                (3, 4, Ww),
                (4, 3, Ww),
                (2, 3, Wr),
            ],
        );
        assert_eq!(graph.components(WW), [[3, 4]]);
        assert_eq!(graph.components(DEPEND), [[3, 4]]);
        assert_eq!(graph.components(DATA), [vec![0, 1, 2], vec![3, 4]]);
    }

    #[test]
    fn a_long_path_needs_no_stack() {
        let edges: Vec<_> = (0..200_000).map(|n| (n, n + 1, EdgeKind::Ww)).collect();
        assert!(graph(200_001, &edges).components(DATA).is_empty());
    }
}
