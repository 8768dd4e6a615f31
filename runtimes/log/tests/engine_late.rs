//! What comes late, or does not come: answers to questions of before, and entries that were lost.

#[allow(dead_code, unreachable_pub)]
mod engine_desk;

use engine_desk::{
    Desk, ME, MS, OTHER, PRIMARY, STORAGES, cut, item, next, progress, record, seq, shard, term,
};
use std::sync::Arc;
use triptych_log::{
    Condition, Entry, Final, Message, Missing, Read, Reply, Request, SeqNum, Step, Trim,
};
use triptych_nodes::{NodeId, Peer};

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

/// The one question to an index among what was sent.
fn query(desk: &mut Desk) -> Option<(u64, Read)> {
    let queries = desk
        .sent()
        .into_iter()
        .filter_map(|(_, message)| match message {
            Message::Query { op, read } => Some((op, read)),
            _ => None,
        });
    let queries: Vec<_> = queries.collect();
    assert!(queries.len() < 2, "{queries:?}");
    queries.first().copied()
}

fn answer(op: u64, positions: &[u32]) -> Message {
    let spots = positions.iter().map(|&at| (seq(1, at), OTHER, None));
    Message::Answer {
        op,
        found: Ok(spots.collect()),
        progress: progress(1, 1),
    }
}

fn records_asked(desk: &mut Desk) -> Vec<(u64, SeqNum)> {
    let sent = desk.sent().into_iter();
    let asked = sent.filter_map(|(_, message)| match message {
        Message::ReadAt { op, seq } => Some((op, seq)),
        _ => None,
    });
    asked.collect()
}

#[test]
fn an_answer_to_an_earlier_question_of_a_read_is_none_to_its_next() {
    let mut desk = Desk::new(None);
    desk.begin(&[OTHER, ME]);
    desk.ask(next(1, SeqNum::ZERO, 2, 0, progress(1, 1)));
    let (op, _) = query(&mut desk).unwrap();
    desk.hear(OTHER, answer(op, &[0, 1]));
    let asked = records_asked(&mut desk);
    assert_eq!(asked.len(), 2);
    for (op, seq) in asked {
        let found = Err(Missing::Freed);
        desk.hear(STORAGES[0], Message::ReadDone { op, seq, found });
    }
    // Both were freed: it goes on behind them.
    let (again, read) = query(&mut desk).unwrap();
    assert_eq!(read.bound, seq(1, 2));
    // The network brings the first answer once more.
    desk.hear(OTHER, answer(op, &[0, 1]));
    assert_eq!(records_asked(&mut desk), [], "that is no answer to this");
    // Nor are places before the bound, or more than were asked for.
    for wrong in [&[1, 3][..], &[2, 3, 4], &[4, 3], &[3, 3]] {
        desk.hear(OTHER, answer(again, wrong));
        assert_eq!(records_asked(&mut desk), [], "{wrong:?}");
    }
    desk.hear(OTHER, answer(again, &[2, 5]));
    let asked: Vec<_> = records_asked(&mut desk)
        .into_iter()
        .map(|one| one.1)
        .collect();
    assert_eq!(asked, [seq(1, 2), seq(1, 5)]);
}

#[test]
fn an_answer_to_an_earlier_life_is_none_to_this_one() {
    let mut before = Desk::in_life(1, None, |_| {});
    let mut desk = Desk::in_life(2, None, |_| {});
    let on = Some(Condition {
        tag: 1,
        tail: SeqNum::ZERO,
    });
    let mut reads = Vec::new();
    let mut asks = Vec::new();
    for desk in [&mut before, &mut desk] {
        desk.begin(&[OTHER, ME]);
        desk.ask(next(1, SeqNum::ZERO, 2, 0, progress(1, 1)));
        reads.push(query(desk).unwrap().0);
        desk.ask(Request::Append(record(&[1], on)));
        desk.sent();
        desk.committed(1, &[cut(0, 0, &[0, 0], &[0, 1])]);
        asks.extend(
            desk.sent()
                .into_iter()
                .filter_map(|(_, message)| match message {
                    Message::Ask { op, .. } => Some(op),
                    _ => None,
                }),
        );
    }
    desk.hear(OTHER, answer(reads[0], &[]));
    let (op, taken) = (asks[0], Err(seq(1, 7)));
    desk.hear(OTHER, Message::Verdict { op, taken });
    assert_eq!(desk.replies(), []);
    desk.hear(OTHER, answer(reads[1], &[]));
    let (op, taken) = (asks[1], Ok(()));
    desk.hear(OTHER, Message::Verdict { op, taken });
    let replies = desk.replies();
    assert!(
        matches!(
            &replies[..],
            [(1, Reply::Records { .. }), (2, Reply::Appended { .. })]
        ),
        "{replies:?}"
    );
}

#[test]
fn an_entry_that_was_lost_is_found_however_many_others_stand_before_it() {
    const BEFORE: u32 = 1_000;
    let mut desk = Desk::new(None);
    desk.begin(&[OTHER, ME]);
    let op = desk.append(&[]);
    let mut entries: Vec<_> = (0..BEFORE)
        .map(|number| cut(number, number, &[number, 0], &[1, 0]))
        .collect();
    entries.push(cut(BEFORE, BEFORE, &[BEFORE, 0], &[0, 1]));
    desk.sent();
    // The answers to what it asks for come at once; nothing else comes.
    let mut replies = Vec::new();
    for _ in 0..20 {
        desk.wait(MS);
        loop {
            let sent = desk.sent();
            let mut fetches = Vec::new();
            for (to, message) in sent {
                match (to, message) {
                    (Peer::Node(to), Message::FetchEntries { from, .. }) => {
                        fetches.push((to, from as usize));
                    }
                    (_, Message::Reply { op, reply }) => replies.push((op, reply)),
                    _ => {}
                }
            }
            if fetches.is_empty() {
                break;
            }
            for (to, from) in fetches {
                answer_entries(&mut desk, to, &entries[from.min(entries.len())..]);
            }
        }
    }
    let (seq, progress) = (seq(1, BEFORE), progress(1, BEFORE + 1));
    assert_eq!(replies, [(op, Reply::Appended { seq, progress })]);
}

/// As many entries as a sequencer tells at once.
fn answer_entries(desk: &mut Desk, from: NodeId, rest: &[Arc<Entry>]) {
    let entries = rest.iter().take(256).cloned().collect();
    let term = term(1);
    desk.hear(from, Message::Committed { term, entries });
}
