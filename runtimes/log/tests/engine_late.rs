//! What comes late, or does not come: answers to questions of before, and entries that were lost.

#[allow(dead_code, unreachable_pub)]
mod engine_desk;

use engine_desk::{
    Desk, ME, MS, OTHER, PRIMARY, STORAGES, cut, item, next, progress, seq, shard, term,
};
use std::sync::Arc;
use triptych_log::{Condition, Entry, Final, Message, SeqNum, Step, Trim};

fn entry(number: u32, step: Step) -> Arc<Entry> {
    Arc::new(Entry { number, step })
}

fn gauge(desk: &Desk, name: &str) -> u64 {
    let gauges = triptych_nodes::Node::gauges(&desk.engine);
    gauges.iter().find(|gauge| gauge.0 == name).unwrap().1
}

#[test]
fn an_index_goes_over_freed_records_only_when_it_knows_their_release() {
    let mut desk = Desk::new(None);
    let trim = Trim {
        book: 1,
        streams: vec![(1, seq(1, 1))],
        by: (OTHER, 1),
    };
    let refused = vec![seq(1, 1)];
    let release = Step::Release {
        trim: trim.clone(),
        refused,
    };
    let first = desk.view(1, &[OTHER, ME], None);
    let (entries, tail) = (2, vec![entry(1, Step::Trim(trim))]);
    let second = desk.view(2, &[ME, OTHER], Some(Final { entries, tail }));
    desk.views(vec![first, second]);
    desk.committed(1, &[cut(0, 0, &[0, 0], &[3, 0])]);
    desk.sent();
    // The first record is freed, and the second was refused because of it; a third follows.
    let on = Some(Condition {
        tag: 1,
        tail: SeqNum::ZERO,
    });
    let told = Message::Indexed {
        shard: shard(1, OTHER),
        from: 0,
        to: 3,
        items: vec![(1, item(&[1, 2], on)), (2, item(&[2], None))],
        releases: progress(2, 1),
    };
    desk.hear(STORAGES[0], told);
    // What the holder said long ago, when there was nothing in this view, comes only now.
    let (term, entries) = (term(2), Vec::new());
    let old = Message::Committed { term, entries };
    for _ in 0..3 {
        desk.hear(STORAGES[0], old.clone());
        desk.wait(6 * MS);
    }
    assert_eq!(gauge(&desk, "indexes_ready"), 0, "it knows no release");
    let from = 0;
    let fetch = Message::FetchEntries { term, from };
    assert!(desk.sent().contains(&(PRIMARY.into(), fetch)));
    desk.committed(2, &[entry(0, release)]);
    assert_eq!(gauge(&desk, "indexes_ready"), 1);
    desk.ask(next(2, SeqNum::ZERO, 9, 0, progress(2, 1)));
    let sent = desk.sent().into_iter();
    let read: Vec<SeqNum> = sent
        .filter_map(|(_, message)| match message {
            Message::ReadAt { seq, .. } => Some(seq),
            _ => None,
        })
        .collect();
    assert_eq!(read, [seq(1, 2)], "the second was refused");
}
