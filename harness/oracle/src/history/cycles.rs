//! Finds the shortest cycle of every family in the graph.
//!
//! Components say where cycles are; within one, an edge of the family's own kind is taken and the
//! shortest way back is looked for. The search in one component has a bound: a component of many
//! thousand transactions shows the same contradiction over and over, and one witness is enough.

use super::anomaly::{Family, Scope};
use super::graph::{DATA, DEPEND, EdgeKind, Graph, NONE, REAL_TIME, SESSION, WW};
use super::{Anomaly, Findings, Step, words};
use std::collections::VecDeque;
use triptych_model::history::History;

/// Edges that may be looked at in one component.
const BUDGET: usize = 4_000_000;

pub(super) struct Cycles<'a> {
    history: &'a History,
    graph: &'a Graph,
    /// Of a node: the component at hand, counted from 1.
    inside: Vec<u32>,
    component: u32,
    /// Of a node: the search that reached it, over which edge, and how far it is.
    reached: Vec<u32>,
    came: Vec<(u32, usize)>,
    far: Vec<u32>,
    search: u32,
    budget: usize,
    /// Whether some component was not searched to its end.
    pub(super) cut: bool,
}

impl<'a> Cycles<'a> {
    pub(super) fn new(history: &'a History, graph: &'a Graph) -> Self {
        let nodes = graph.nodes() as usize;
        Cycles {
            history,
            graph,
            inside: vec![0; nodes],
            component: 0,
            reached: vec![0; nodes],
            came: vec![(NONE, 0); nodes],
            far: vec![0; nodes],
            search: 0,
            budget: 0,
            cut: false,
        }
    }

    /// Cycles that the data alone make.
    pub(super) fn plain(&mut self, findings: &mut Findings) {
        let whole = self.graph.components(DATA);
        if whole.is_empty() {
            return;
        }
        for component in self.graph.components(WW) {
            self.search_for(&component, EdgeKind::Ww, &[WW], Scope::Plain, findings);
        }
        for component in self.graph.components(DEPEND) {
            self.search_for(&component, EdgeKind::Wr, &[DEPEND], Scope::Plain, findings);
        }
        for component in whole {
            self.search_for(
                &component,
                EdgeKind::Rw,
                &[DEPEND, DATA],
                Scope::Plain,
                findings,
            );
        }
    }

    /// Cycles that need the order of sessions or of time as well.
    pub(super) fn timed(&mut self, scope: Scope, findings: &mut Findings) {
        let (kind, also) = match scope {
            Scope::Session => (EdgeKind::Session, SESSION),
            _ => (EdgeKind::RealTime, REAL_TIME),
        };
        for component in self.graph.components(DATA | also) {
            let ways = [WW | also, DEPEND | also, DATA | also];
            self.search_for(&component, kind, &ways, scope, findings);
        }
    }

    /// Takes every edge of a kind within a component and looks for the shortest way back, over
    /// kinds of edges in this order. The shortest cycle of each family is reported.
    fn search_for(
        &mut self,
        component: &[u32],
        kind: EdgeKind,
        ways: &[u8],
        scope: Scope,
        findings: &mut Findings,
    ) {
        self.component += 1;
        for node in component {
            self.inside[*node as usize] = self.component;
        }
        self.budget = BUDGET;
        let mut best: [Option<Vec<Step>>; 4] = [const { None }; 4];
        'edges: for &node in component {
            for place in self.graph.places(node) {
                let to = self.graph.to(place);
                let within = self.inside[to as usize] == self.component;
                // Of a moment in time only the way in counts, not the way out.
                if !within || !self.graph.has(place, kind.mask()) || node >= self.graph.real {
                    continue;
                }
                for way in ways {
                    let Some(cycle) = self.way_back(place, node, to, *way) else {
                        continue;
                    };
                    let slot = &mut best[family(&cycle) as usize];
                    if slot.as_ref().is_none_or(|known| cycle.len() < known.len()) {
                        *slot = Some(cycle);
                    }
                    break;
                }
                if self.budget == 0 {
                    self.cut = true;
                    break 'edges;
                }
            }
        }
        for steps in best.into_iter().flatten() {
            let anomaly = Anomaly::cycle(family(&steps), scope);
            findings.add(anomaly, || words::cycle(self.history, anomaly, steps));
        }
    }

    /// The shortest cycle that begins with an edge, in transactions. Moments in time cost nothing.
    fn way_back(&mut self, first: usize, from: u32, to: u32, way: u8) -> Option<Vec<Step>> {
        self.search += 1;
        let mut queue = VecDeque::from([to]);
        self.reached[to as usize] = self.search;
        (self.came[to as usize], self.far[to as usize]) = ((NONE, 0), 0);
        while let Some(node) = queue.pop_front() {
            if node == from {
                return Some(self.steps(first, from));
            }
            for place in self.graph.places(node) {
                // The first search of a component may finish, whatever it takes.
                self.budget = self.budget.saturating_sub(1);
                let next = self.graph.to(place);
                let within = self.inside[next as usize] == self.component;
                if !within || !self.graph.has(place, way) {
                    continue;
                }
                let cost = u32::from(next < self.graph.real);
                let far = self.far[node as usize] + cost;
                let known = self.reached[next as usize] == self.search;
                if known && self.far[next as usize] <= far {
                    continue;
                }
                self.reached[next as usize] = self.search;
                (self.came[next as usize], self.far[next as usize]) = ((node, place), far);
                if cost == 0 {
                    queue.push_front(next);
                } else {
                    queue.push_back(next);
                }
            }
        }
        None
    }

    /// The edges from `from` round to itself, moments in time left out.
    fn steps(&self, first: usize, from: u32) -> Vec<Step> {
        let mut places = Vec::new();
        let mut node = from;
        while self.came[node as usize].0 != NONE {
            let (before, place) = self.came[node as usize];
            places.push(place);
            node = before;
        }
        places.push(first);
        let mut steps: Vec<Step> = Vec::new();
        let mut at = from;
        for place in places.into_iter().rev() {
            let to = self.graph.to(place);
            if to >= self.graph.real {
                continue;
            }
            steps.push(Step {
                from: at,
                to,
                kind: self.graph.kind(place),
                key: self.graph.key(place),
            });
            at = to;
        }
        steps
    }
}

/// Which family a cycle belongs to, by its dependencies on data.
fn family(steps: &[Step]) -> Family {
    let count = |kind| steps.iter().filter(|step| step.kind == kind).count();
    match (count(EdgeKind::Rw), count(EdgeKind::Wr)) {
        (0, 0) => Family::G0,
        (0, _) => Family::G1c,
        (1, _) => Family::GSingle,
        _ => Family::G2Item,
    }
}
