//! What a trim frees: exactly what no stream holds any more.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn freed(rig: &mut Rig, count: u32) -> BTreeSet<u32> {
    let freed = |&position: &u32| match rig.read(at(position)) {
        Some(Ok(_)) => false,
        Some(Err(Missing::Freed)) => true,
        other => panic!("{position}: {other:?}"),
    };
    (0..count).filter(freed).collect()
}

#[test]
fn a_trim_frees_nothing_before_its_release_and_nothing_at_its_bound() {
    for bug in [None, Some(Bug::FreeOnTrim)] {
        let mut rig = Rig::member(Level::Memory, bug);
        rig.replicate(E0, 0..10);
        let streams = [(crate::EVERY, at(4))];
        let trim = entry(1, Step::Trim(trim(&streams)));
        rig.commit(&[cut(0, 0, [0, 0], [10, 0]), trim]);
        rig.pass(100 * MS);
        assert_eq!(freed(&mut rig, 10).is_empty(), bug.is_none(), "{bug:?}");
        rig.commit(&[release(2, &streams, &[])]);
        rig.pass(100 * MS);
        let right = freed(&mut rig, 10) == (0..4).collect();
        assert_eq!(right, bug.is_none(), "{bug:?}");
    }
}

#[test]
fn refused_records_go_and_a_restart_remembers_what_is_gone() {
    let mut rig = Rig::member(Level::Memory, None);
    rig.replicate(E0, 0..10);
    rig.commit(&[cut(0, 0, [0, 0], [10, 0])]);
    rig.commit(&[release(1, &[(1, at(5))], &[at(8), at(99)])]);
    rig.pass(100 * MS);
    // Tag 1 is that of 0, 3, 6 and 9.
    let gone = BTreeSet::from([0, 3, 8]);
    assert_eq!(freed(&mut rig, 10), gone);
    assert_eq!(
        (
            rig.disk.count(b"r"),
            rig.gauge("records"),
            rig.gauge("freed")
        ),
        (7, 7, 3)
    );
    rig.restart();
    rig.views(vec![first_view(2)]);
    assert_eq!((freed(&mut rig, 10), rig.gauge("freed")), (gone, 3));
    assert_eq!(rig.disk.count(b"r"), 7);
}

#[test]
fn what_is_ordered_later_before_a_bound_goes_too() {
    let mut rig = Rig::member(Level::Memory, None);
    rig.replicate(E0, 0..6);
    rig.commit(&[
        cut(0, 0, [0, 0], [2, 0]),
        release(1, &[(1, SeqNum::MAX)], &[]),
    ]);
    rig.pass(100 * MS);
    rig.commit(&[cut(2, 2, [2, 0], [4, 0])]);
    rig.pass(100 * MS);
    assert_eq!(freed(&mut rig, 6), BTreeSet::from([0, 3]));
}

#[test]
fn a_large_trim_is_done_in_steps() {
    let mut rig = Rig::member(Level::Memory, None);
    rig.replicate(E0, 0..50_000);
    rig.commit(&[
        cut(0, 0, [0, 0], [25_000, 0]),
        cut(1, 25_000, [25_000, 0], [25_000, 0]),
    ]);
    rig.commit(&[release(2, &[(crate::EVERY, SeqNum::MAX)], &[])]);
    rig.pass(MS);
    let first = rig.gauge("freed");
    assert!((1..50_000).contains(&first), "{first}");
    rig.pass(100 * MS);
    assert_eq!((rig.gauge("freed"), rig.gauge("bytes")), (50_000, 0));
    assert_eq!((rig.disk.count(b"r"), rig.disk.count(b"f")), (0, 49));
    let before = rig.timers.len();
    rig.pass(100 * MS);
    assert_eq!((rig.timers.len(), rig.gauge("cache_bytes")), (before, 0));
}

#[test]
fn many_trims_cost_few_walks() {
    let mut rig = Rig::member(Level::Memory, None);
    rig.replicate(E0, 0..20_000);
    for n in 0..20 {
        rig.commit(&[cut(n, 1000 * n, [1000 * n, 0], [1000, 0])]);
    }
    for n in 0..100 {
        rig.commit(&[release(20 + n, &[(1, at(100 * n + 100))], &[])]);
        rig.pass(MS);
    }
    rig.pass(200 * MS);
    // Every third has tag 1: of the first ten thousand, those.
    assert_eq!(rig.gauge("freed"), 3334);
    assert_eq!(rig.disk.count(b"r"), 20_000 - 3334);
    let walked = rig.gauge("walked");
    assert!((20_000..120_000).contains(&walked), "{walked}");
}

#[derive(Clone, Debug)]
enum Deed {
    /// Further records with these tags, in one cut.
    Append(Vec<BTreeSet<Tag>>),
    /// Streams are released, with bounds as shares of what there is.
    Release(Vec<(Tag, u8)>),
    /// Time passes, so much of it as to let one step or many be taken.
    Pass(u8),
    Restart,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let tags = proptest::collection::btree_set(1..4u64, 0..3);
    let deed = prop_oneof![
        4 => proptest::collection::vec(tags, 1..8).prop_map(Deed::Append),
        3 => proptest::collection::vec((0..4u64, 0..=120u8), 1..3).prop_map(Deed::Release),
        2 => (0..3u8).prop_map(Deed::Pass),
        1 => Just(Deed::Restart),
    ];
    proptest::collection::vec(deed, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn exactly_what_no_stream_holds_is_freed(deeds in deeds()) {
        let mut rig = Rig::member(Level::Memory, None);
        let (mut records, mut number) = (Vec::<BTreeSet<Tag>>::new(), 0);
        let mut bounds = BTreeMap::<Tag, u32>::new();
        for deed in deeds {
            match deed {
                Deed::Append(new) => {
                    let first = records.len() as u32;
                    records.extend(new);
                    let count = records.len() as u32 - first;
                    let shard = (first..).take(count as usize);
                    let tagged = |n: u32| {
                        let tags: Vec<Tag> = records[n as usize].iter().copied().collect();
                        (n, tagged(E0, n, &tags))
                    };
                    let view = rig.node.membership.current().map(|view| view.id);
                    prop_assert_eq!(view, Some(1));
                    rig.replicate_these(E0, shard.map(tagged).collect());
                    rig.commit(&[cut(number, first, [first, 0], [count, 0])]);
                    number += 1;
                }
                Deed::Release(streams) => {
                    let bound = |share: u8| (records.len() * usize::from(share) / 100) as u32;
                    let streams: Vec<_> =
                        streams.into_iter().map(|(tag, share)| (tag, bound(share))).collect();
                    for &(tag, bound) in &streams {
                        let old = bounds.entry(tag).or_default();
                        *old = bound.max(*old);
                    }
                    let streams: Vec<_> =
                        streams.into_iter().map(|(tag, bound)| (tag, at(bound))).collect();
                    rig.commit(&[release(number, &streams, &[])]);
                    number += 1;
                }
                Deed::Pass(ms) => rig.pass(u64::from(ms) * MS),
                Deed::Restart => {
                    rig.restart();
                    // The same life again, so that what follows is taken: the trim is what counts.
                    let life = rig.node.membership.me().life;
                    rig.views(vec![first_view(life)]);
                }
            }
        }
        rig.pass(100 * MS);
        let bound = |tag| bounds.get(&tag).copied().unwrap_or(0);
        let gone = |(position, tags): (u32, &BTreeSet<Tag>)| {
            let released = !tags.is_empty() && tags.iter().all(|&tag| position < bound(tag));
            (position < bound(crate::EVERY) || released).then_some(position)
        };
        let gone: BTreeSet<u32> = (0..).zip(&records).filter_map(gone).collect();
        let left = records.len() - gone.len();
        prop_assert_eq!(freed(&mut rig, records.len() as u32), gone);
        prop_assert_eq!(rig.disk.count(b"r"), left);
        prop_assert_eq!(rig.gauge("records"), left as u64);
    }
}
