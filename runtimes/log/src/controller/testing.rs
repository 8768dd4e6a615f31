//! What unit tests of the controller's parts share.

use crate::{Entry, Member, Shape, Step, View};
use std::collections::BTreeMap;
use std::sync::Arc;
use triptych_nodes::NodeId;

/// Nodes in their first lives.
pub(crate) fn members(nodes: impl IntoIterator<Item = u16>) -> Vec<Member> {
    let member = |node| Member {
        node: NodeId(node),
        life: 1,
    };
    nodes.into_iter().map(member).collect()
}

/// A first view of sequencers from 100, storages from 200 and engines from 1000.
pub(crate) fn view(shape: Shape, sequencers: u16, storages: u16, engines: u16) -> View {
    let storages = members(200..200 + storages);
    let engines = members(1000..1000 + engines);
    let holders = engines.iter().enumerate();
    let holders = holders
        .map(|(place, engine)| (engine.node, View::assign(&storages, place, shape.copies)))
        .collect();
    View {
        id: 1,
        shape,
        sequencers: members(100..100 + sequencers),
        storages,
        engines,
        finals: Vec::new(),
        holders: BTreeMap::from([(1, holders)]),
    }
}

/// A cut of one record by one engine.
pub(crate) fn cut(number: u32) -> Arc<Entry> {
    Arc::new(Entry {
        number,
        step: Step::Cut {
            first: number,
            starts: vec![number],
            deltas: vec![1],
        },
    })
}
