//! Appends: what an engine makes of cuts that come late, twice, or not at all, and of the end of a
//! view.

#[allow(dead_code, unreachable_pub)]
mod engine_desk;

use engine_desk::{
    BACKUP, CLIENT, Desk, ME, MS, OTHER, PRIMARY, STORAGES, cut, item, progress, record, seq,
    shard, term,
};
use std::sync::Arc;
use triptych_log::engine::Bug;
use triptych_log::{Condition, Entry, Failure, Final, Message, Reply, Request, SeqNum, Step, Trim};
use triptych_nodes::{Node, NodeId, Peer};

fn appended(position: u32, entries: u32) -> Reply {
    let (seq, progress) = (seq(1, position), progress(1, entries));
    Reply::Appended { seq, progress }
}

#[test]
fn records_of_a_turn_go_to_all_holders_in_one_message_each() {
    let mut desk = Desk::new(None);
    desk.begin(&[ME, OTHER]);
    for op in 100..103 {
        let request = Request::Append(record(&[1], None));
        let request = Message::Request { op, request };
        desk.engine
            .on_message(desk.now, CLIENT, request, &mut desk.out);
    }
    desk.engine.on_turn_end(desk.now, &mut desk.out);
    let all = vec![0, 1, 2];
    let sent = STORAGES.map(|node| (Peer::Node(node), all.clone()));
    assert_eq!(desk.replicated(), sent);
    desk.append(&[1]);
    let sent = STORAGES.map(|node| (Peer::Node(node), vec![3]));
    assert_eq!(desk.replicated(), sent, "only what is new");
}

#[test]
fn cuts_are_applied_in_the_order_of_the_shard_whatever_their_numbers() {
    let mut desk = Desk::new(None);
    desk.begin(&[OTHER, ME]);
    let ops: Vec<u64> = (0..5).map(|_| desk.append(&[])).collect();
    desk.sent();
    // Entries 1 and 2 have nothing of this engine and never come.
    desk.committed(1, &[cut(3, 12, &[7, 2], &[1, 2])]);
    assert_eq!(desk.replies(), [], "two records before are not ordered yet");
    desk.committed(1, &[cut(0, 4, &[3, 0], &[1, 2])]);
    let places = [5, 6, 13, 14].into_iter().zip([1, 1, 4, 4]);
    let expected: Vec<_> = ops
        .iter()
        .copied()
        .zip(places.map(|(position, entries)| appended(position, entries)))
        .collect();
    assert_eq!(desk.replies(), expected);
    // Again, and things that cannot be.
    desk.committed(
        1,
        &[cut(0, 4, &[3, 0], &[1, 2]), cut(3, 12, &[7, 2], &[1, 2])],
    );
    desk.committed(1, &[cut(4, 15, &[8, 4], &[0, 9]), cut(5, 15, &[8], &[1])]);
    desk.committed(1, &[cut(6, u32::MAX, &[8, 4], &[9, 1])]);
    assert_eq!(desk.replies(), []);
    desk.committed(1, &[cut(7, 15, &[8, 4], &[0, 1])]);
    assert_eq!(desk.replies(), [(ops[4], appended(15, 8))]);
}

#[test]
fn what_is_not_ordered_is_sent_again_and_entries_are_asked_for() {
    let mut desk = Desk::new(None);
    desk.begin(&[OTHER, ME]);
    desk.append(&[]);
    desk.sent();
    desk.wait(4 * MS);
    assert_eq!(desk.replicated(), []);
    desk.wait(2 * MS);
    let sent = desk.sent();
    let fetch = Message::FetchEntries {
        term: term(1),
        from: 0,
    };
    assert!(sent.contains(&(PRIMARY.into(), fetch.clone())));
    let again = |(_, message): &&(Peer, Message)| matches!(message, Message::Replicate { .. });
    assert_eq!(sent.iter().filter(again).count(), 2);
    desk.wait(20 * MS);
    assert!(desk.sent().contains(&(BACKUP.into(), fetch)), "another one");
    // A holder that misses it gets it.
    let fetch = Message::FetchRecords {
        shard: shard(1, ME),
        from: 0,
        to: 9,
    };
    desk.hear(STORAGES[1], fetch);
    assert_eq!(desk.replicated(), [(STORAGES[1].into(), vec![0])]);
}

#[test]
fn a_view_ends_with_what_its_last_entries_order() {
    let mut desk = Desk::new(None);
    desk.begin(&[OTHER, ME]);
    let ops: Vec<u64> = (0..3).map(|_| desk.append(&[])).collect();
    desk.sent();
    let end = Final {
        entries: 9,
        tail: vec![cut(8, 20, &[5, 0], &[1, 2])],
    };
    let view = desk.view(2, &[ME, OTHER], Some(end));
    desk.views(vec![view]);
    let sent = desk.sent();
    let replies: Vec<_> = sent
        .iter()
        .filter_map(|(_, message)| match message {
            Message::Reply { op, reply } => Some((*op, reply.clone())),
            _ => None,
        })
        .collect();
    let expected = [(ops[0], appended(21, 9)), (ops[1], appended(22, 9))];
    assert_eq!(replies, expected);
    let again = Message::Replicate {
        shard: shard(2, ME),
        records: vec![(0, record(&[], None))],
        gone: Vec::new(),
    };
    assert!(
        sent.contains(&(STORAGES[0].into(), again)),
        "the third is appended again, under a local id of the new view"
    );
    desk.committed(2, &[cut(0, 0, &[0, 0], &[1, 0])]);
    let (seq, progress) = (seq(2, 0), progress(2, 1));
    assert_eq!(
        desk.replies(),
        [(ops[2], Reply::Appended { seq, progress })]
    );
}

#[test]
fn what_lies_before_the_tail_of_a_view_is_fetched_from_one_after_the_other() {
    let mut desk = Desk::new(None);
    desk.begin(&[OTHER, ME]);
    let ops: Vec<u64> = (0..2).map(|_| desk.append(&[])).collect();
    desk.sent();
    let end = Final {
        entries: 4,
        tail: vec![cut(3, 9, &[2, 1], &[0, 1])],
    };
    let view = desk.view(2, &[OTHER], Some(end));
    desk.views(vec![view]);
    let fetch = |from| Message::FetchEntries {
        term: term(1),
        from,
    };
    let asked = |desk: &mut Desk| {
        let sent = desk.sent().into_iter();
        let asked = sent.filter(|(_, message)| matches!(message, Message::FetchEntries { .. }));
        asked.collect::<Vec<_>>()
    };
    assert_eq!(asked(&mut desk), [(PRIMARY.into(), fetch(0))]);
    desk.wait(16 * MS);
    let others = [BACKUP, STORAGES[0], STORAGES[1]].map(|node| (Peer::Node(node), fetch(0)));
    assert_eq!(asked(&mut desk), others);
    desk.committed(1, &[cut(0, 0, &[0, 0], &[2, 0])]);
    assert_eq!(asked(&mut desk).last().map(|ask| &ask.1), Some(&fetch(1)));
    desk.committed(
        1,
        &[cut(1, 2, &[2, 0], &[0, 1]), cut(2, 3, &[2, 1], &[0, 0])],
    );
    let expected = [(ops[0], appended(2, 2)), (ops[1], appended(9, 4))];
    assert_eq!(desk.replies(), expected);
}

#[test]
fn an_engine_that_is_not_in_the_next_view_says_that_the_rest_is_discarded() {
    let mut desk = Desk::new(None);
    desk.begin(&[OTHER, ME]);
    let op = desk.append(&[]);
    desk.sent();
    let (entries, tail) = (0, Vec::new());
    let view = desk.view(2, &[OTHER], Some(Final { entries, tail }));
    desk.views(vec![view]);
    let discarded = Reply::Failed(Failure::Discarded);
    assert_eq!(desk.replies(), [(op, discarded)]);
    // Later ones wait a while for a view with this engine.
    let op = desk.append(&[]);
    desk.wait(90 * MS);
    assert_eq!(desk.replies(), []);
    desk.wait(20 * MS);
    assert_eq!(desk.replies(), [(op, Reply::Failed(Failure::Unavailable))]);
    let op = desk.append(&[]);
    let end = Final {
        entries: 0,
        tail: Vec::new(),
    };
    let view = desk.view(3, &[OTHER, ME], Some(end));
    desk.views(vec![view]);
    desk.committed(3, &[cut(0, 0, &[0, 0], &[0, 1])]);
    let (seq, progress) = (seq(3, 0), progress(3, 1));
    assert_eq!(desk.replies(), [(op, Reply::Appended { seq, progress })]);
}

#[test]
fn a_request_that_comes_twice_is_done_once() {
    let mut desk = Desk::new(None);
    desk.begin(&[OTHER, ME]);
    for _ in 0..2 {
        let (op, request) = (5, Request::Append(record(&[], None)));
        desk.hear(CLIENT, Message::Request { op, request });
    }
    desk.committed(1, &[cut(0, 0, &[0, 0], &[0, 1])]);
    assert_eq!(desk.replies(), [(5, appended(0, 1))]);
    desk.wait(50 * MS);
    assert_eq!(desk.replicated(), []);
}

#[test]
fn bad_records_and_too_many_are_refused_at_once() {
    let mut desk = Desk::with(None, |config| {
        config.limits.record_bytes = 40;
        config.limits.pending_bytes = 60;
    });
    desk.begin(&[OTHER, ME]);
    for tags in [&[0][..], &[2, 1], &[1, 1], &[u64::MAX], &[1, 2, 3, 4]] {
        desk.append(tags);
        let replies = desk.replies();
        let bad = matches!(&replies[..], [(_, Reply::Failed(Failure::Bad(_)))]);
        assert!(bad, "{tags:?}: {replies:?}");
    }
    // Each takes 12 + 9 + 4 bytes.
    desk.append(&[1]);
    desk.append(&[1]);
    let op = desk.append(&[1]);
    let unavailable = Reply::Failed(Failure::Unavailable);
    assert_eq!(desk.replies(), [(op, unavailable)]);
    desk.committed(1, &[cut(0, 0, &[0, 0], &[0, 2])]);
    assert_eq!(desk.replies().len(), 2);
    desk.append(&[1]);
    assert_eq!(desk.replies(), [], "there is room again");
}

#[test]
fn what_takes_too_long_is_unknown() {
    let mut desk = Desk::new(None);
    desk.begin(&[OTHER, ME]);
    let append = desk.append(&[]);
    let (book, streams) = (1, vec![(1, seq(1, 0))]);
    let trim = desk.ask(Request::Trim { book, streams });
    desk.wait(11_000 * MS);
    let unknown = || Reply::Failed(Failure::Unknown);
    assert_eq!(desk.replies(), [(append, unknown()), (trim, unknown())]);
}

#[test]
fn nobody_is_told_of_what_a_client_wanted_that_is_gone() {
    let mut desk = Desk::new(None);
    desk.begin(&[OTHER, ME]);
    desk.append(&[]);
    desk.engine.on_gone(7);
    desk.committed(1, &[cut(0, 0, &[0, 0], &[0, 1])]);
    assert_eq!(desk.replies(), []);
}

#[test]
fn a_conditional_append_is_answered_by_the_index_of_this_engine_or_of_another() {
    let on = Some(Condition {
        tag: 1,
        tail: SeqNum::ZERO,
    });
    let mut desk = Desk::new(None);
    desk.begin(&[ME, OTHER]);
    let ops = [(); 2].map(|()| desk.ask(Request::Append(record(&[1], on))));
    desk.committed(1, &[cut(0, 0, &[0, 0], &[2, 0])]);
    assert_eq!(desk.replies(), [], "the index does not know the records");
    desk.indexed(1, ME, 0, vec![item(&[1], on), item(&[1], on)]);
    let (tail, progress) = (seq(1, 0), progress(1, 1));
    let refused = Reply::Refused { tail, progress };
    assert_eq!(
        desk.replies(),
        [(ops[0], appended(0, 1)), (ops[1], refused.clone())]
    );

    let mut desk = Desk::new(None);
    desk.begin(&[OTHER, ME]);
    let op = desk.ask(Request::Append(record(&[1], on)));
    desk.sent();
    desk.committed(1, &[cut(0, 0, &[0, 0], &[0, 1])]);
    let sent = desk.sent();
    let Some((to, Message::Ask { op: ask, seq, .. })) = sent.first() else {
        panic!("{sent:?}");
    };
    assert_eq!((*to, *seq), (OTHER.into(), engine_desk::seq(1, 0)));
    let (ask, taken) = (*ask, Err(tail));
    desk.hear(
        OTHER,
        Message::Verdict {
            op: 99,
            taken: Ok(()),
        },
    );
    desk.hear(OTHER, Message::Verdict { op: ask, taken });
    desk.hear(OTHER, Message::Verdict { op: ask, taken });
    assert_eq!(desk.replies(), [(op, refused)]);
}

#[test]
fn a_trim_is_asked_for_until_it_is_seen_and_then_its_release() {
    let mut desk = Desk::new(None);
    desk.begin(&[ME, OTHER]);
    let (book, streams) = (1, vec![(1, seq(1, 1))]);
    let op = desk.ask(Request::Trim { book, streams });
    let steps = |desk: &mut Desk| {
        let sent = desk.sent().into_iter();
        let steps = sent.filter_map(|(to, message)| match message {
            Message::Trim { step, .. } => Some((to, step)),
            _ => None,
        });
        steps.collect::<Vec<_>>()
    };
    let asked = steps(&mut desk);
    let [(to, step)] = &asked[..] else {
        panic!("{asked:?}");
    };
    assert_eq!(*to, PRIMARY.into());
    desk.wait(6 * MS);
    assert_eq!(steps(&mut desk), asked, "under the same number");
    let on = Some(Condition {
        tag: 1,
        tail: SeqNum::ZERO,
    });
    let Step::Trim(trim) = step else {
        panic!("{step:?}");
    };
    let entry = |number, step| Arc::new(Entry { number, step });
    desk.committed(1, &[cut(0, 0, &[0, 0], &[0, 2]), entry(1, step.clone())]);
    let trimmed = Reply::Trimmed {
        progress: progress(1, 2),
    };
    assert_eq!(desk.replies(), [(op, trimmed)]);
    desk.wait(6 * MS);
    assert_eq!(steps(&mut desk), [], "the index has not applied it");
    desk.indexed(1, OTHER, 0, vec![item(&[1], None), item(&[1, 2], on)]);
    desk.wait(6 * MS);
    let refused = vec![seq(1, 1)];
    let release = Step::Release {
        trim: trim.clone(),
        refused,
    };
    assert_eq!(steps(&mut desk), [(PRIMARY.into(), release.clone())]);
    desk.wait(6 * MS);
    assert_eq!(steps(&mut desk).len(), 1, "again");
    desk.committed(1, &[entry(2, release)]);
    desk.wait(20 * MS);
    assert_eq!(steps(&mut desk), []);
}

#[test]
fn a_trim_at_the_end_of_a_view_is_seen_there() {
    let mut desk = Desk::new(None);
    desk.begin(&[OTHER, ME]);
    let (book, streams) = (1, vec![(1, seq(1, 1))]);
    let op = desk.ask(Request::Trim { book, streams });
    let sent = desk.sent();
    let Some((_, Message::Trim { step, .. })) = sent.first() else {
        panic!("{sent:?}");
    };
    let tail = vec![Arc::new(Entry {
        number: 4,
        step: step.clone(),
    })];
    let view = desk.view(2, &[OTHER, ME], Some(Final { entries: 5, tail }));
    desk.views(vec![view]);
    let trimmed = Reply::Trimmed {
        progress: progress(1, 5),
    };
    assert_eq!(desk.replies(), [(op, trimmed)]);
}

#[test]
fn seeded_defects_of_appends_are_seen() {
    let end = |desk: &mut Desk| {
        let tail = vec![cut(0, 0, &[0, 0], &[0, 1])];
        let view = desk.view(2, &[OTHER, ME], Some(Final { entries: 1, tail }));
        desk.views(vec![view]);
    };
    let mut desk = Desk::new(Some(Bug::DiscardOrdered));
    desk.begin(&[OTHER, ME]);
    desk.append(&[]);
    desk.sent();
    end(&mut desk);
    assert_eq!(desk.replicated().len(), 2, "it is appended again");

    let mut desk = Desk::new(Some(Bug::ProgressTooLow));
    desk.begin(&[OTHER, ME]);
    let op = desk.append(&[]);
    desk.committed(1, &[cut(0, 0, &[0, 0], &[0, 1])]);
    assert_eq!(desk.replies(), [(op, appended(0, 0))]);

    let mut desk = Desk::new(Some(Bug::LocalIdReuse));
    desk.begin(&[OTHER, ME]);
    for _ in 0..4 {
        desk.append(&[]);
    }
    desk.committed(1, &[cut(0, 0, &[0, 0], &[0, 3])]);
    let replies = desk.replies();
    assert_eq!(replies.last(), Some(&(4, appended(2, 1))), "{replies:?}");

    let mut desk = Desk::new(Some(Bug::ConditionDecidedEarly));
    desk.begin(&[ME, OTHER]);
    let on = Some(Condition {
        tag: 1,
        tail: SeqNum::ZERO,
    });
    desk.ask(Request::Append(record(&[1], on)));
    desk.ask(Request::Append(record(&[1], on)));
    desk.committed(1, &[cut(0, 0, &[0, 0], &[2, 0])]);
    let taken = |(_, reply): &(u64, Reply)| matches!(reply, Reply::Appended { .. });
    assert!(desk.replies().iter().all(taken), "both are taken");
}

#[test]
fn nothing_that_a_peer_says_makes_it_fail() {
    let mut desk = Desk::new(None);
    let nonsense = |desk: &mut Desk| {
        for view in [0, 1, 2, u16::MAX] {
            desk.committed(
                view,
                &[cut(u32::MAX, u32::MAX, &[u32::MAX; 2], &[u32::MAX; 2])],
            );
            desk.committed(view, &[cut(0, 0, &[], &[]), cut(0, 9, &[1, 1], &[1, 1])]);
            for engine in [ME, OTHER, NodeId(3)] {
                desk.indexed(view, engine, u32::MAX - 1, vec![item(&[1], None)]);
                let shard = shard(view, engine);
                let (from, to, items) = (5, 2, vec![(9, item(&[], None))]);
                let indexed = Message::Indexed {
                    shard,
                    from,
                    to,
                    items,
                };
                desk.hear(PRIMARY, indexed);
                let (from, to) = (0, u32::MAX);
                desk.hear(PRIMARY, Message::FetchRecords { shard, from, to });
            }
            let by = (ME, u64::MAX);
            let trim = Trim {
                book: 3,
                streams: vec![(u64::MAX, SeqNum::MAX)],
                by,
            };
            let refused = vec![SeqNum::MAX, SeqNum::ZERO];
            let step = Step::Release { trim, refused };
            desk.committed(view, &[Arc::new(Entry { number: 0, step })]);
            let (seq, progress) = (seq(view, 7), progress(view, 9));
            desk.hear(
                OTHER,
                Message::Ask {
                    op: 1,
                    seq,
                    progress,
                },
            );
            let found = Err(triptych_log::Missing::Freed);
            desk.hear(OTHER, Message::ReadDone { op: 1, seq, found });
            let found = Ok(vec![(seq, ME, None)]);
            let answer = Message::Answer {
                op: 1,
                found,
                progress,
            };
            desk.hear(OTHER, answer);
        }
        desk.wait(50 * MS);
    };
    nonsense(&mut desk);
    desk.begin(&[ME, OTHER]);
    nonsense(&mut desk);
    let view = desk.view(2, &[ME, OTHER], None);
    let op = desk.append(&[]);
    desk.sent();
    desk.views(vec![view]);
    assert_eq!(desk.replies(), [(op, Reply::Failed(Failure::Unknown))]);
    nonsense(&mut desk);
}
