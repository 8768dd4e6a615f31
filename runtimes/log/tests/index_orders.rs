//! The index rule, in all orders: two shards, one index that is told of entries and records in any
//! order, twice, and in ranges that overlap, over two views with a trim between; and a reader that
//! has seen some of it. Whatever the index says is exactly the prefix that it says it has, and the
//! reader is never answered with less than it has seen.

#[allow(dead_code, unreachable_pub)]
mod index_world;

use index_world::{Draft, Op, World, seen};
use stateright::{Checker, Model, Property};
use std::sync::Arc;
use triptych_log::engine::Bug;
use triptych_log::engine::index::Index;
use triptych_log::{Progress, Shard};

/// The log, and what may be delivered.
struct Orders {
    world: Arc<Parts>,
    bug: Option<Bug>,
}

/// What a holder tells: of which shard, from, to before, and the records.
type Range = (Shard, u32, u32, Vec<(u32, triptych_log::Item)>);

/// What of a [`World`] threads may share.
struct Parts {
    views: Vec<Arc<triptych_log::View>>,
    entries: Vec<Vec<Arc<triptych_log::Entry>>>,
    ranges: Vec<Range>,
    after: std::collections::BTreeMap<Progress, index_world::Snapshot>,
    /// What the reader may have seen.
    readers: Vec<Progress>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    index: Index,
    /// What a reader has seen, and once it is answered, how far the index was.
    read: Option<(Progress, Option<Progress>)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Action {
    View(usize),
    Entry(usize, usize),
    Items(usize),
    Read(usize),
}

impl Model for Orders {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut index = Index::new(0, self.bug);
        index.learn(&self.world.views[0]);
        vec![State { index, read: None }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let world = &self.world;
        actions.extend((0..world.views.len()).map(Action::View));
        for (view, entries) in world.entries.iter().enumerate() {
            actions.extend((0..entries.len()).map(|at| Action::Entry(view, at)));
        }
        actions.extend((0..world.ranges.len()).map(Action::Items));
        if state.read.is_none() {
            actions.extend((0..world.readers.len()).map(Action::Read));
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        let world = &self.world;
        match action {
            Action::View(at) => state.index.learn(&world.views[at]),
            Action::Entry(view, at) => {
                let entry = Arc::clone(&world.entries[view][at]);
                state.index.entries(view as u16 + 1, &[entry]);
            }
            Action::Items(at) => {
                let (shard, from, to, items) = world.ranges[at].clone();
                state.index.items(shard, from, to, items);
            }
            Action::Read(at) => state.read = Some((world.readers[at], None)),
        }
        state.index.advance(|_, _| {});
        // What the engine does: a read waits for the index, and is answered at once then.
        let progress = state.index.progress();
        if let Some((wanted, None)) = state.read
            && (progress >= wanted || self.bug == Some(Bug::ReadAhead))
        {
            state.read = Some((wanted, Some(progress)));
        }
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let whole = |model: &Orders, state: &State| {
            let last = model.world.after.keys().next_back();
            Some(&state.index.progress()) == last
        };
        vec![
            Property::<Self>::always("what it says is a prefix", |model, state| {
                let says = seen(&state.index);
                Some(&says) == model.world.after.get(&state.index.progress())
            }),
            Property::<Self>::always("a reader gets all that it has seen", |_, state| {
                let answered = |(wanted, got): (Progress, Option<Progress>)| {
                    got.is_none_or(|got| got >= wanted)
                };
                state.read.is_none_or(answered)
            }),
            Property::<Self>::sometimes("it comes to the end", whole),
            Property::<Self>::sometimes("a reader is answered", |_, state| {
                matches!(state.read, Some((_, Some(_))))
            }),
        ]
    }
}

fn orders(bug: Option<Bug>) -> Orders {
    let record = |engine, tags: &[u64], condition| {
        let (book, tags) = (0, tags.iter().copied().collect());
        (
            engine,
            Draft {
                book,
                tags,
                condition,
            },
        )
    };
    let trim = Op::Trim {
        book: 0,
        tag: 1,
        back: 2,
    };
    let world = World::of(&[
        Op::Cut(vec![record(0, &[1], None), record(1, &[1, 2], None)]),
        // Taken, and then refused, because the first one is there.
        Op::Cut(vec![
            record(0, &[1], Some((1, 0))),
            record(0, &[2], Some((1, 0))),
        ]),
        trim,
        Op::View,
        Op::Cut(vec![record(1, &[1], None), record(0, &[], None)]),
    ]);
    let mut ranges = Vec::new();
    for (&shard, items) in &world.items {
        let ids = items.len() as u32;
        for (from, to) in (0..ids).map(|id| (id, id + 1)).chain([(0, 2)]) {
            let to = to.min(ids);
            let range = (shard, from, to, world.range(shard, from, to, 0));
            if !ranges.contains(&range) {
                ranges.push(range);
            }
        }
    }
    let readers = world.after.keys().skip(1).step_by(2).copied().collect();
    let World {
        views,
        entries,
        after,
        ..
    } = world;
    Orders {
        world: Arc::new(Parts {
            views,
            entries,
            ranges,
            after,
            readers,
        }),
        bug,
    }
}

#[test]
fn the_index_keeps_its_rule_in_all_orders() {
    let checker = orders(None).checker().spawn_bfs().join();
    println!("unique states: {}", checker.unique_state_count());
    checker.assert_properties();
    assert!(checker.unique_state_count() > 1_000);
}

#[test]
fn seeded_defects_break_the_rule() {
    let prefix = "what it says is a prefix";
    let seen = "a reader gets all that it has seen";
    let bugs = [
        (Bug::ApplyWithoutItems, prefix),
        (Bug::SkipView, prefix),
        (Bug::IgnoreTrim, prefix),
        (Bug::TrimInclusive, prefix),
        (Bug::ConditionIgnored, prefix),
        (Bug::RefusedVisible, prefix),
        (Bug::ReadAhead, seen),
    ];
    for (bug, property) in bugs {
        let checker = orders(Some(bug)).checker().spawn_bfs().join();
        assert!(checker.discovery(property).is_some(), "{bug:?}");
    }
}
