//! Whatever comes in whatever order: what is served is what was ordered.

use super::*;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

#[derive(Clone, Debug)]
enum Event {
    /// Records of an engine, from one on.
    Replicate(bool, u32, u32),
    /// Some of the entries.
    Committed(prop::sample::Index, usize),
    Read(prop::sample::Index),
    Pass(u64),
    Sync,
    Crash,
    /// Something that nobody would say.
    Nonsense(u8, u32, u32),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let index = any::<prop::sample::Index>;
    let event = prop_oneof![
        8 => (any::<bool>(), 0..40u32, 1..9u32).prop_map(|(e, at, n)| Event::Replicate(e, at, n)),
        3 => (index(), 1..4usize).prop_map(|(at, count)| Event::Committed(at, count)),
        3 => index().prop_map(Event::Read),
        2 => (0..8 * MS).prop_map(Event::Pass),
        2 => Just(Event::Sync),
        1 => Just(Event::Crash),
        1 => (any::<u8>(), any::<u32>(), any::<u32>())
            .prop_map(|(kind, a, b)| Event::Nonsense(kind, a, b)),
    ];
    proptest::collection::vec(event, 1..80)
}

/// Cuts over forty records of each engine, by shares.
fn metalog(steps: &[(u32, u32)]) -> Vec<Arc<Entry>> {
    let (mut done, mut first, mut all) = ([0, 0], 0, Vec::new());
    for &(a, b) in steps {
        let deltas = [a.min(40 - done[0]), b.min(40 - done[1])];
        if deltas != [0, 0] {
            all.push(cut(all.len() as u32, first, done, deltas));
            first += deltas[0] + deltas[1];
            done = [done[0] + deltas[0], done[1] + deltas[1]];
        }
    }
    all
}

/// Which record has which place.
fn places(entries: &[Arc<Entry>]) -> Vec<Arc<Record>> {
    let mut all = Vec::new();
    for entry in entries {
        let Step::Cut { starts, deltas, .. } = &entry.step else {
            continue;
        };
        for (engine, (&start, &delta)) in [E0, E1].into_iter().zip(starts.iter().zip(deltas)) {
            all.extend((start..start + delta).map(|local| record(engine, local)));
        }
    }
    all
}

fn nonsense(rig: &mut Rig, kind: u8, a: u32, b: u32) {
    let (term, shard) = match a % 3 {
        0 => (
            TERM,
            Shard {
                term: TERM,
                engine: NodeId(b as u16),
            },
        ),
        _ => {
            let (view, log) = (a as u16, b as u16);
            let term = Term { view, log };
            (term, Shard { term, engine: E0 })
        }
    };
    let (from, to, number) = (a, b, b);
    let message = match kind % 10 {
        0 => Message::Committed {
            term,
            entries: vec![cut(number, a, [b, a], [a, b])],
        },
        1 => Message::FetchRecords { shard, from, to },
        2 => Message::FetchIndex { shard, from, to },
        3 => Message::FetchEntries { term, from },
        4 => Message::Replicate {
            shard,
            records: vec![(a.max(50), record(E0, 1)), (u32::MAX, record(E0, 1))],
            gone: vec![b.max(50), u32::MAX],
        },
        5 => Message::ReadAt {
            op: 9,
            seq: SeqNum(u64::from(a) << 32 | u64::from(b)),
        },
        6 => Message::Stored {
            term,
            below: vec![(E0, a)],
        },
        7 => Message::Views {
            views: vec![first_view(a)],
        },
        8 => Message::Annotate {
            seq: SeqNum(a.into()),
            aux: [0; 9].as_slice().into(),
        },
        _ => {
            return rig.call(|node, now, out| match a % 3 {
                0 => node.on_timer(now, b.into(), out),
                1 => node.on_persisted(now, b.into(), out),
                _ => node.on_read(now, b.into(), None, out),
            });
        }
    };
    rig.tell(Peer::Client(1), message);
}

/// What a read may give while the log is being built: the right record, or none.
fn check(rig: &mut Rig, places: &[Arc<Record>], position: usize) -> Result<(), TestCaseError> {
    match rig.read(at(position as u32)) {
        Some(Ok(found)) => prop_assert_eq!(Some(&found), places.get(position)),
        Some(Err(missing)) => prop_assert_eq!(missing, Missing::NotHere),
        None => {}
    }
    Ok(())
}

/// Plays the engine, another keeper and the primary for whatever is asked.
fn serve(rig: &mut Rig, entries: &[Arc<Entry>], ordered: &BTreeMap<NodeId, u32>) {
    for (peer, message) in rig.sent() {
        match message {
            Message::FetchRecords { shard, from, to } => {
                let end = ordered[&shard.engine].min(to);
                let records = (from..end).map(|n| (n, record(shard.engine, n))).collect();
                let gone = Vec::new();
                let message = Message::Replicate {
                    shard,
                    records,
                    gone,
                };
                rig.tell(peer, message);
            }
            Message::FetchEntries { from, .. } => {
                let from = entries.len().min(from as usize);
                rig.commit(&entries[from..]);
            }
            _ => {}
        }
    }
}

/// Plays events against a storage, ends the view, and checks what has become of it.
fn judge(
    events: Vec<Event>,
    steps: &[(u32, u32)],
    level: Level,
    bug: Option<Bug>,
) -> Result<(), TestCaseError> {
    let entries = metalog(steps);
    let places = places(&entries);
    let mut rig = Rig::member(level, bug);
    let mut life = 1;
    let mut reported = BTreeMap::<NodeId, u32>::new();
    for event in events {
        match event {
            Event::Replicate(second, from, count) => {
                let to = (from + count).min(40);
                rig.replicate(if second { E1 } else { E0 }, from..to);
            }
            Event::Committed(from, count) if !entries.is_empty() => {
                let from = from.index(entries.len());
                rig.commit(&entries[from..entries.len().min(from + count)]);
            }
            Event::Committed(..) => {}
            Event::Read(position) => check(&mut rig, &places, position.index(90))?,
            Event::Pass(span) => rig.pass(span),
            Event::Sync => rig.sync(),
            Event::Crash => {
                rig.crash();
                life = rig.node.membership.me().life;
                // As if it were the member still: so that the rest of the events count as well.
                rig.views(vec![first_view(life)]);
                if level == Level::Synced {
                    for (&engine, &below) in &reported {
                        let shard = Shard { term: TERM, engine };
                        let place = rig.node.places.get(&shard).copied();
                        let have = place.map_or(0, |place| rig.node.shards[place].have);
                        prop_assert!(have >= below, "{engine}: {have} of {below}");
                    }
                }
            }
            Event::Nonsense(kind, a, b) => nonsense(&mut rig, kind, a, b),
        }
        for (engine, below) in rig.reported().into_iter().flatten() {
            let old = reported.entry(engine).or_default();
            *old = below.max(*old);
        }
    }
    // The view ends; what is missing is copied.
    let last = entries.len().saturating_sub(2);
    let count = entries.len() as u32;
    rig.views(vec![next_view(
        &first_view(life),
        life,
        count,
        &entries[last..],
    )]);
    let counts = |engine| {
        let of = places.iter().filter(|of| of.data.starts_with(engine));
        of.count() as u32
    };
    let ordered = BTreeMap::from([(E0, counts(b"n1000/")), (E1, counts(b"n1001/"))]);
    for _ in 0..60 {
        rig.pass(3 * MS);
        rig.sync();
        serve(&mut rig, &entries, &ordered);
    }
    prop_assert_eq!(rig.gauge("complete"), 2, "{:?}", rig.node.gauges());
    for (position, record) in places.iter().enumerate() {
        let found = rig.read(at(position as u32));
        prop_assert_eq!(found, Some(Ok(Arc::clone(record))));
    }
    let beyond = rig.read(at(places.len() as u32));
    prop_assert_eq!(beyond, Some(Err(Missing::NotHere)));
    rig.pass(100 * MS);
    rig.sync();
    prop_assert_eq!(rig.gauge("records"), places.len() as u64);
    prop_assert_eq!(rig.disk.count(b"r"), places.len());
    Ok(())
}

fn steps() -> impl Strategy<Value = Vec<(u32, u32)>> {
    proptest::collection::vec((0..9u32, 0..9u32), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn what_is_served_is_what_was_ordered_and_what_was_reported_at_synced_survives(
        events in events(), steps in steps(), synced in any::<bool>(),
    ) {
        let level = if synced { Level::Synced } else { Level::Memory };
        judge(events, &steps, level, None)?;
    }
}

#[test]
fn a_storage_that_does_it_wrong_is_found_out() {
    for bug in [
        Bug::ReportGaps,
        Bug::ReportBeforeSync,
        Bug::DropOnFinal,
        Bug::KeepUnordered,
        Bug::RenumberWrong,
        Bug::SkipRepair,
    ] {
        let config = ProptestConfig {
            cases: 150,
            max_shrink_iters: 0,
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        let seed = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let mut runner = TestRunner::new_with_rng(config, seed);
        let found = runner.run(&(events(), steps()), |(events, steps)| {
            judge(events, &steps, Level::Synced, Some(bug))
        });
        assert!(found.is_err(), "nobody notices {bug:?}");
    }
}
