//! The index against a plain list of records: whatever comes in whatever order and however often, at
//! every progress it says what the list says; and so does one that is built anew from a log of which
//! much was freed.

#[allow(dead_code, unreachable_pub)]
mod index_world;

use index_world::{BOOKS, Draft, Op, TAGS, World, read, seen};
use proptest::prelude::*;
use proptest::sample::subsequence;
use std::collections::BTreeSet;
use triptych_log::engine::Bug;
use triptych_log::engine::index::Index;
use triptych_log::{Direction, Progress, SeqNum, Shard};

fn draft() -> impl Strategy<Value = (usize, Draft)> {
    let tags = subsequence(vec![1, 2, 3], 0..=3);
    let condition = prop::option::weighted(0.3, (0..TAGS.len(), 0..4_usize));
    (0..3_usize, 0..BOOKS.len(), tags, condition).prop_map(|(engine, book, tags, condition)| {
        let tags = tags.into_iter().collect();
        (
            engine,
            Draft {
                book,
                tags,
                condition,
            },
        )
    })
}

fn op() -> impl Strategy<Value = Op> {
    let trim = (0..BOOKS.len(), 0..TAGS.len(), 0..6_usize);
    prop_oneof![
        6 => prop::collection::vec(draft(), 1..5).prop_map(Op::Cut),
        3 => trim.prop_map(|(book, tag, back)| Op::Trim { book, tag, back }),
        1 => Just(Op::Again),
        1 => Just(Op::Release),
        1 => Just(Op::View),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 1..24)
}

/// One input of an index.
#[derive(Clone, Debug)]
enum Input {
    View(usize),
    Entries(usize, usize, usize),
    Items(Shard, u32, u32),
}

/// Before which place holders say that the releases stand: all that they may have applied.
fn releases(world: &World) -> Progress {
    world.progress()
}

fn give(index: &mut Index, world: &World, input: &Input, freed: u16) {
    match *input {
        Input::View(at) => index.learn(&world.views[at]),
        Input::Entries(view, from, to) => {
            let entries = &world.entries[view];
            let to = to.min(entries.len());
            index.entries(view as u16 + 1, &entries[from.min(to)..to]);
        }
        Input::Items(shard, from, to) => {
            let items = world.range(shard, from, to, freed);
            index.items(shard, from, to, items, releases(world));
        }
    }
}

/// Every input by itself, twice, and some that overlap.
fn inputs(world: &World) -> Vec<Input> {
    let views = (0..world.views.len()).map(Input::View);
    let mut all: Vec<Input> = views.collect();
    for (view, entries) in world.entries.iter().enumerate() {
        all.extend((0..entries.len()).map(|at| Input::Entries(view, at, at + 1)));
        all.push(Input::Entries(view, 1, 4));
    }
    for (&shard, items) in &world.items {
        let ids = items.len() as u32;
        all.extend((0..ids).map(|id| Input::Items(shard, id, id + 1)));
        all.extend((0..ids).map(|id| Input::Items(shard, id, ids.min(id + 3))));
    }
    all.extend(all.clone());
    all
}

/// Asks for what the index says that it misses until it has everything. Says how often.
fn catch_up(
    index: &mut Index,
    world: &World,
    freed: u16,
    mut check: impl FnMut(&Index) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    for _ in 0..10_000 {
        index.advance(|_, _| {});
        check(index)?;
        if index.progress() == world.progress() {
            return Ok(());
        }
        if usize::from(index.newest()) < world.views.len() {
            index.learn(&world.views[usize::from(index.newest())]);
        } else if let Some((view, from)) = index.missing_entry() {
            let (view, from) = (usize::from(view) - 1, from as usize);
            give(index, world, &Input::Entries(view, from, from + 2), freed);
        } else if let (view, from) = index.next_entry()
            && (from as usize) < world.entries[usize::from(view) - 1].len()
        {
            let (view, from) = (usize::from(view) - 1, from as usize);
            give(index, world, &Input::Entries(view, from, from + 2), freed);
        } else {
            let missing = index.missing_items(8);
            prop_assert!(!missing.is_empty(), "it is stuck at {:?}", index.progress());
            for (shard, from, to) in missing {
                give(index, world, &Input::Items(shard, from, to), freed);
            }
        }
    }
    prop_assert!(false, "it never catches up");
    Ok(())
}

fn agrees(index: &Index, world: &World) -> Result<(), TestCaseError> {
    if index.progress().view > 0 {
        prop_assert_eq!(&seen(index), &world.after[&index.progress()]);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 192,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_order_of_inputs_gives_the_same_prefixes(
        ops in ops(),
        order in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let world = World::of(&ops);
        let mut inputs = inputs(&world);
        // A fixed shuffle by the seed; views are tried again and again, so that they come in time.
        inputs.sort_by_cached_key(|input| triptych_world::mix_str(seed, &format!("{input:?}")));
        let upto = order.index(inputs.len() + 1);
        let mut index = Index::new(0, None);
        index.learn(&world.views[0]);
        for input in &inputs[..upto] {
            give(&mut index, &world, input, 0);
            index.advance(|_, _| {});
            agrees(&index, &world)?;
        }
        catch_up(&mut index, &world, 0, |index| agrees(index, &world))?;
        // The same in order: equal in all that it holds, not only in what it says.
        let mut plain = Index::new(0, None);
        for (at, view) in world.views.iter().enumerate() {
            plain.learn(view);
            give(&mut plain, &world, &Input::Entries(at, 0, usize::MAX), 0);
            for (&shard, items) in &world.items {
                give(&mut plain, &world, &Input::Items(shard, 0, items.len() as u32), 0);
            }
            plain.advance(|_, _| {});
        }
        prop_assert_eq!(plain.progress(), index.progress());
        for (seq, taken) in world.conditional() {
            prop_assert_eq!(plain.verdict(seq), index.verdict(seq));
            if let Some(verdict) = index.verdict(seq) {
                prop_assert_eq!(verdict.is_ok(), taken);
            }
        }
        let releases = |index: &Index| index.unreleased().collect::<Vec<_>>();
        prop_assert_eq!(releases(&plain), releases(&index));
        prop_assert_eq!(plain.len(), index.len());
    }

    #[test]
    fn an_index_built_anew_equals_the_live_one(ops in ops(), freed in 0..8_u16) {
        let world = World::of(&ops);
        let mut index = Index::new(0, None);
        catch_up(&mut index, &world, freed, |_| Ok(()))?;
        agrees(&index, &world)?;
        for (seq, taken) in world.conditional() {
            if let Some(verdict) = index.verdict(seq) {
                prop_assert_eq!(verdict.is_ok(), taken, "{}", seq);
            }
        }
    }

    #[test]
    fn bounds_and_limits_cut_the_list(
        ops in ops(),
        book in 0..BOOKS.len(),
        tag in 0..TAGS.len(),
        from in 0..12_u64,
        limit in 1..4_u16,
    ) {
        let world = World::of(&ops);
        let mut index = Index::new(0, None);
        catch_up(&mut index, &world, 0, |_| Ok(()))?;
        let (book, tag) = (BOOKS[book], TAGS[tag]);
        let all = &world.after[&world.progress()][&(book, tag)];
        let bound = SeqNum(1 << 48 | from);
        let seqs = |direction, limit| {
            let hits = index.find(&read(book, tag, bound, direction, limit));
            hits.into_iter().map(|(seq, _)| seq).collect::<Vec<_>>()
        };
        let next = all.iter().filter(|&&seq| seq >= bound).take(usize::from(limit));
        prop_assert_eq!(seqs(Direction::Next, limit), next.copied().collect::<Vec<_>>());
        let previous = all.iter().rfind(|&&seq| seq <= bound);
        prop_assert_eq!(seqs(Direction::Previous, 1), previous.copied().into_iter().collect::<Vec<_>>());
    }
}

/// Many logs in which every rule matters.
fn some_worlds() -> Vec<World> {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut world = || World::of(&ops().new_tree(&mut runner).unwrap().current());
    (0..300).map(|_| world()).collect()
}

#[test]
fn a_trim_that_is_repeated_after_its_release_changes_nothing() {
    // Once a release listed what was refused between the two: an index that had applied the first
    // took it, because the next trim's release did not list it.
    let draft = |book, condition| Draft {
        book,
        tags: BTreeSet::new(),
        condition,
    };
    let whole = Op::Trim {
        book: 1,
        tag: 0,
        back: 0,
    };
    let world = World::of(&[
        Op::Cut(vec![(0, draft(0, None))]),
        whole.clone(),
        Op::Release,
        Op::Cut(vec![(0, draft(1, Some((0, 1))))]),
        Op::Again,
        Op::Release,
        whole,
        Op::Release,
    ]);
    let [(seq, false)] = world.conditional().collect::<Vec<_>>()[..] else {
        panic!("it is refused");
    };
    for at_once in [false, true] {
        let mut index = Index::new(0, None);
        index.learn(&world.views[0]);
        if at_once {
            give(&mut index, &world, &Input::Entries(0, 0, usize::MAX), 0);
        }
        catch_up(&mut index, &world, 0, |index| agrees(index, &world)).unwrap();
        assert_eq!(index.verdict(seq), Some(Err(SeqNum(1 << 48))));
    }
}

#[test]
fn seeded_defects_of_the_index_are_seen() {
    let bugs = [
        Bug::SkipView,
        Bug::TrimInclusive,
        Bug::IgnoreTrim,
        Bug::ConditionIgnored,
        Bug::RefusedVisible,
        Bug::ApplyWithoutItems,
    ];
    let worlds = some_worlds();
    for bug in bugs {
        let wrong = worlds.iter().filter(|world| {
            let mut index = Index::new(0, Some(bug));
            let seen = catch_up(&mut index, world, 0, |index| agrees(index, world));
            seen.is_err()
        });
        assert!(wrong.count() > 0, "{bug:?}");
    }
}

#[test]
fn releases_matter_to_an_index_that_is_built_anew() {
    // Without looking ahead, conditions would be decided by what is left of the streams: the test
    // above would be worth nothing if that happened to be right.
    let mut differ = 0;
    for (at, world) in some_worlds().into_iter().enumerate() {
        let freed = at as u16 % 8;
        let mut index = Index::new(0, None);
        for (at, view) in world.views.iter().enumerate() {
            index.learn(view);
            for number in 0..world.entries[at].len() {
                let entry = Input::Entries(at, number, number + 1);
                give(&mut index, &world, &entry, freed);
                for (&shard, items) in &world.items {
                    let to = items.len() as u32;
                    let items = world.range(shard, 0, to, freed);
                    // The holder does not say because of what something is gone.
                    index.items(shard, 0, to, items, Progress::default());
                }
                index.advance(|_, _| {});
            }
        }
        index.advance(|_, _| {});
        assert_eq!(index.progress(), world.progress());
        differ += usize::from(agrees(&index, &world).is_err());
    }
    assert!(differ > 0);
}

#[test]
fn a_trim_that_was_asked_for_twice_counts_from_its_first_place() {
    let record = |condition| {
        let (book, tags) = (0, [1].into());
        let draft = Draft {
            book,
            tags,
            condition,
        };
        Op::Cut(vec![(0, draft)])
    };
    let trim = Op::Trim {
        book: 0,
        tag: 1,
        back: 0,
    };
    // The last append is refused because of the one before it, and the release does not list it: it
    // was ordered after the trim.
    let ops = [
        record(None),
        trim,
        record(None),
        record(Some((1, 1))),
        Op::Again,
        Op::Release,
        Op::View,
        record(None),
    ];
    let world = World::of(&ops);
    assert_eq!(
        world.conditional().map(|one| one.1).collect::<Vec<_>>(),
        [false]
    );
    for freed in 0..8 {
        let mut index = Index::new(0, None);
        catch_up(&mut index, &world, freed, |_| Ok(())).unwrap();
        agrees(&index, &world).unwrap();
    }
}

#[test]
fn nonsense_is_ignored() {
    let world = World::of(&[]);
    let mut index = Index::new(0, None);
    index.learn(&world.views[0]);
    let term = triptych_log::Term { view: 1, log: 0 };
    let cut = |number, first, starts: Vec<u32>, deltas: Vec<u32>| {
        let step = triptych_log::Step::Cut {
            first,
            starts,
            deltas,
        };
        std::sync::Arc::new(triptych_log::Entry { number, step })
    };
    let wrong = [
        cut(0, 0, vec![0], vec![1]),
        cut(0, u32::MAX, vec![0; 3], vec![1; 3]),
        cut(0, 0, vec![u32::MAX; 3], vec![1; 3]),
    ];
    index.entries(1, &wrong);
    index.entries(9, &wrong);
    index.entries(0, &wrong);
    assert!(!index.advance(|_, _| {}));
    assert_eq!(index.missing_entry(), None);
    // One that does not follow is asked for again.
    index.entries(1, &[cut(0, 7, vec![0; 3], vec![0, 1, 0])]);
    assert!(!index.advance(|_, _| {}));
    assert_eq!(index.next_entry(), (1, 0));
    let item = world.items.values().flatten().next().cloned();
    assert_eq!(item, None);
    let shard = |engine| Shard {
        term,
        engine: triptych_nodes::NodeId(engine),
    };
    let at = index.progress();
    index.items(shard(1), 0, 5, Vec::new(), at);
    index.items(shard(1000), 5, 0, Vec::new(), at);
    assert_eq!(index.missing_entry(), None);
    let (view, entries) = (1, 4);
    let ahead = Progress { view, entries };
    index.items(shard(1000), 0, u32::MAX, Vec::new(), ahead);
    assert_eq!(index.missing_entry(), Some((1, 0)));
    assert!(!index.has_passed(SeqNum::MAX) && !index.has_passed(SeqNum::ZERO));
    assert_eq!(index.verdict(SeqNum::ZERO), None);
}
