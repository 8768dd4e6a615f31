//! Reads: whom an engine asks, how long it waits, and what it makes of the answers.

#[allow(dead_code, unreachable_pub)]
mod engine_desk;

use engine_desk::{
    Desk, ME, MS, OTHER, PRIMARY, STORAGES, cut, item, next, progress, record, seq, shard, term,
};
use std::sync::Arc;
use triptych_log::engine::Bug;
use triptych_log::{
    Direction, EVERY, Entry, Failure, Final, Found, Message, Missing, NotHere, Progress, Read,
    Reply, Request, SeqNum, Step,
};
use triptych_nodes::{Node, NodeId, Peer};

/// An engine with an index of so many records of the other engine, in stream 1.
fn indexed(bug: Option<Bug>, records: u32) -> Desk {
    let mut desk = Desk::new(bug);
    desk.begin(&[ME, OTHER]);
    desk.committed(1, &[cut(0, 0, &[0, 0], &[0, records])]);
    let items = (0..records).map(|_| item(&[1], None)).collect();
    desk.indexed(1, OTHER, 0, items);
    desk.sent();
    desk
}

fn found(view: u16, position: u32, aux: Option<&[u8]>) -> Found {
    Found {
        seq: seq(view, position),
        record: record(&[1], None),
        aux: aux.map(Arc::from),
    }
}

fn seqs(reply: &Reply) -> (Vec<SeqNum>, Progress) {
    match reply {
        Reply::Records { records, progress } => {
            (records.iter().map(|found| found.seq).collect(), *progress)
        }
        other => panic!("{other:?}"),
    }
}

/// The one reply, as the places of its records and the progress.
fn read(desk: &mut Desk) -> Option<(Vec<SeqNum>, Progress)> {
    let replies = desk.replies();
    assert!(replies.len() < 2, "{replies:?}");
    replies.first().map(|(_, reply)| seqs(reply))
}

/// Who is asked for records.
fn asked(desk: &mut Desk) -> Vec<(Peer, u64, SeqNum)> {
    let sent = desk.sent().into_iter();
    let asked = sent.filter_map(|(to, message)| match message {
        Message::ReadAt { op, seq } => Some((to, op, seq)),
        _ => None,
    });
    asked.collect()
}

fn done(desk: &mut Desk, from: NodeId, op: u64, found: Result<Found, Missing>, seq: SeqNum) {
    desk.hear(from, Message::ReadDone { op, seq, found });
}

#[test]
fn a_read_waits_for_what_the_reader_has_seen() {
    for bug in [None, Some(Bug::ReadAhead)] {
        let mut desk = indexed(bug, 1);
        desk.ask(next(2, SeqNum::ZERO, 1, 0, progress(1, 2)));
        if bug.is_some() {
            assert_eq!(read(&mut desk), Some((vec![], progress(1, 1))));
            continue;
        }
        assert_eq!(read(&mut desk), None);
        desk.committed(1, &[cut(1, 1, &[0, 1], &[0, 1])]);
        assert_eq!(read(&mut desk), None, "nothing is known of the record");
        desk.indexed(1, OTHER, 1, vec![item(&[2], None)]);
        let (to, op, at) = asked(&mut desk)[0];
        assert_eq!(at, seq(1, 1));
        assert!(to == STORAGES[0].into() || to == STORAGES[1].into());
        done(&mut desk, STORAGES[0], op, Ok(found(1, 1, None)), at);
        assert_eq!(read(&mut desk), Some((vec![at], progress(1, 2))));
        // From now on it is cached.
        desk.ask(next(2, SeqNum::ZERO, 1, 0, progress(1, 2)));
        assert_eq!(read(&mut desk), Some((vec![at], progress(1, 2))));
    }
}

#[test]
fn what_never_comes_is_asked_for_and_given_up_in_the_end() {
    let mut desk = indexed(None, 1);
    let op = desk.ask(next(1, SeqNum::ZERO, 1, 0, progress(1, 2)));
    desk.wait(20 * MS);
    let fetch = Message::FetchEntries {
        term: term(1),
        from: 1,
    };
    assert!(desk.sent().contains(&(PRIMARY.into(), fetch)));
    desk.wait(10_000 * MS);
    assert_eq!(desk.replies(), [(op, Reply::Failed(Failure::Unknown))]);
    desk.ask(next(1, SeqNum::ZERO, 1, 0, progress(9, 0)));
    let alive = |(_, message): &(Peer, Message)| matches!(message, Message::Alive { .. });
    assert!(desk.sent().iter().any(alive), "somebody knows newer views");
}

#[test]
fn a_blocking_read_ends_with_a_record_or_with_its_time() {
    let mut desk = indexed(None, 0);
    desk.ask(next(1, SeqNum::ZERO, 1, 30 * MS, progress(1, 0)));
    desk.ask(next(2, SeqNum::ZERO, 1, 30 * MS, progress(1, 0)));
    desk.wait(10 * MS);
    assert_eq!(desk.replies(), []);
    // Over a change of the view.
    let end = Final {
        entries: 1,
        tail: Vec::new(),
    };
    let view = desk.view(2, &[ME, OTHER], Some(end));
    desk.views(vec![view]);
    desk.committed(2, &[cut(0, 0, &[0, 0], &[0, 1])]);
    desk.indexed(2, OTHER, 0, vec![item(&[1], None)]);
    let (_, op, at) = asked(&mut desk)[0];
    done(&mut desk, STORAGES[0], op, Ok(found(2, 0, None)), at);
    assert_eq!(read(&mut desk), Some((vec![at], progress(2, 1))));
    desk.wait(19 * MS);
    assert_eq!(desk.replies(), []);
    desk.wait(MS);
    assert_eq!(read(&mut desk), Some((vec![], progress(2, 1))));
    desk.wait(50 * MS);
    assert_eq!(desk.replies(), []);
}

#[test]
fn a_record_is_asked_of_one_holder_after_the_other() {
    let mut desk = indexed(None, 1);
    desk.ask(next(1, SeqNum::ZERO, 1, 0, progress(1, 1)));
    let (first, op, at) = asked(&mut desk)[0];
    desk.wait(16 * MS);
    let (second, _, _) = asked(&mut desk)[0];
    assert_ne!(first, second, "the first does not answer");
    let Peer::Node(second) = second else {
        panic!("{second}");
    };
    done(&mut desk, second, op, Err(Missing::NotHere), at);
    let (third, ..) = asked(&mut desk)[0];
    assert_eq!(third, first);
    // Both do not have it, again and again.
    for _ in 0..20 {
        for node in STORAGES {
            done(&mut desk, node, op, Err(Missing::Damaged), at);
        }
        desk.wait(15 * MS);
    }
    let lost = Reply::Failed(Failure::Lost(at));
    assert_eq!(desk.replies(), [(1, lost)]);
}

#[test]
fn a_record_that_was_freed_meanwhile_is_left_out() {
    let mut desk = indexed(None, 4);
    desk.ask(next(1, SeqNum::ZERO, 2, 0, progress(1, 1)));
    let sent = asked(&mut desk);
    let op = sent[0].1;
    assert_eq!(sent.len(), 2);
    done(&mut desk, STORAGES[0], op, Err(Missing::Freed), seq(1, 0));
    done(&mut desk, STORAGES[0], op, Ok(found(1, 1, None)), seq(1, 1));
    let sent = asked(&mut desk);
    assert_eq!(sent.len(), 1, "one more is wanted");
    assert_eq!(sent[0].2, seq(1, 2));
    done(&mut desk, STORAGES[1], op, Ok(found(1, 2, None)), seq(1, 2));
    let expected = (vec![seq(1, 1), seq(1, 2)], progress(1, 1));
    assert_eq!(read(&mut desk), Some(expected));

    let previous = |bound| {
        Request::Read(Read {
            book: 1,
            tag: EVERY,
            bound,
            direction: Direction::Previous,
            limit: 1,
            wait: 0,
            progress: progress(1, 1),
        })
    };
    desk.ask(previous(seq(1, 0)));
    let (_, op, at) = asked(&mut desk)[0];
    done(&mut desk, STORAGES[0], op, Err(Missing::Freed), at);
    assert_eq!(read(&mut desk), Some((vec![], progress(1, 1))));
}

#[test]
fn an_engine_without_an_index_asks_those_that_have_one() {
    let mut desk = Desk::with(None, |config| {
        config.engines.push(NodeId(1002));
        config.shape.indexes = 2;
    });
    desk.begin(&[OTHER, NodeId(1002), ME]);
    desk.ask(next(1, SeqNum::ZERO, 2, 0, progress(1, 3)));
    let query = |desk: &mut Desk| {
        let mut sent = desk.sent().into_iter();
        sent.find_map(|(to, message)| match (to, message) {
            (Peer::Node(to), Message::Query { op, read }) => Some((to, op, read)),
            _ => None,
        })
    };
    let (first, op, asked_for) = query(&mut desk).unwrap();
    assert_eq!(asked_for.progress, progress(1, 3));
    let not_here = Message::Answer {
        op,
        found: Err(NotHere),
        progress: progress(0, 0),
    };
    desk.hear(first, not_here.clone());
    let (second, ..) = query(&mut desk).unwrap();
    assert_ne!(first, second);
    desk.hear(second, not_here);
    assert_eq!(query(&mut desk), None, "none is ready");
    desk.wait(6 * MS);
    let (third, ..) = query(&mut desk).unwrap();
    desk.wait(16 * MS);
    let (fourth, ..) = query(&mut desk).unwrap();
    assert_ne!(third, fourth, "it does not answer");
    let answer = |entries| Message::Answer {
        op,
        found: Ok(vec![
            (seq(1, 4), OTHER, Some(found(1, 4, Some(b"memo")))),
            (seq(1, 6), ME, None),
        ]),
        progress: progress(1, entries),
    };
    desk.hear(fourth, answer(2));
    assert_eq!(asked(&mut desk), [], "that index is behind the reader");
    desk.hear(fourth, answer(3));
    let (_, op, at) = asked(&mut desk)[0];
    done(&mut desk, STORAGES[0], op, Ok(found(1, 6, None)), at);
    let expected = (vec![seq(1, 4), seq(1, 6)], progress(1, 3));
    assert_eq!(read(&mut desk), Some(expected));
    desk.hear(fourth, answer(3));
    assert_eq!(desk.sent(), []);
}

#[test]
fn an_index_answers_other_engines_with_what_it_has_cached() {
    let mut desk = indexed(None, 2);
    desk.ask(next(1, seq(1, 1), 1, 0, progress(1, 1)));
    let (_, op, at) = asked(&mut desk)[0];
    done(&mut desk, STORAGES[0], op, Ok(found(1, 1, None)), at);
    desk.sent();
    let Request::Read(read) = next(1, SeqNum::ZERO, 9, 0, progress(1, 1)) else {
        panic!();
    };
    desk.hear(OTHER, Message::Query { op: 70, read });
    let answer = Message::Answer {
        op: 70,
        found: Ok(vec![
            (seq(1, 0), OTHER, None),
            (seq(1, 1), OTHER, Some(found(1, 1, None))),
        ]),
        progress: progress(1, 1),
    };
    assert_eq!(desk.sent(), [(OTHER.into(), answer)]);
    // In a view in which it is no index, it says so.
    let end = Final {
        entries: 1,
        tail: Vec::new(),
    };
    let view = desk.view(2, &[OTHER, ME], Some(end));
    desk.views(vec![view]);
    desk.sent();
    desk.hear(OTHER, Message::Query { op: 71, read });
    let answer = Message::Answer {
        op: 71,
        found: Err(NotHere),
        progress: Progress::default(),
    };
    assert_eq!(desk.sent(), [(OTHER.into(), answer)]);
}

#[test]
fn an_index_that_is_new_fetches_everything_and_is_not_asked_before() {
    let mut desk = Desk::with(None, |config| config.shape.indexes = 2);
    let first = desk.view(1, &[OTHER, ME], None);
    let trim = triptych_log::Trim {
        book: 1,
        streams: vec![(1, seq(1, 1))],
        by: (OTHER, 1),
    };
    let entry = |number, step| Arc::new(Entry { number, step });
    let release = Step::Release {
        trim: trim.clone(),
        refused: Vec::new(),
    };
    let (entries, tail) = (2, vec![entry(1, Step::Trim(trim))]);
    let second = desk.view(2, &[ME, OTHER], Some(Final { entries, tail }));
    desk.views(vec![first, second]);
    let fetch = |view, from| {
        let term = term(view);
        Message::FetchEntries { term, from }
    };
    assert!(desk.sent().contains(&(PRIMARY.into(), fetch(1, 0))));
    let Request::Read(wanted) = next(1, SeqNum::ZERO, 9, 0, progress(1, 0)) else {
        panic!();
    };
    desk.hear(
        OTHER,
        Message::Query {
            op: 1,
            read: wanted,
        },
    );
    let not_here = Message::Answer {
        op: 1,
        found: Err(NotHere),
        progress: Progress::default(),
    };
    assert_eq!(desk.sent(), [(OTHER.into(), not_here)]);
    desk.ask(next(1, SeqNum::ZERO, 9, 0, progress(1, 1)));
    let query = |(to, message): &(Peer, Message)| {
        *to == OTHER.into() && matches!(message, Message::Query { .. })
    };
    assert!(desk.sent().iter().any(query), "others are asked meanwhile");
    desk.committed(1, &[cut(0, 0, &[0, 0], &[2, 0])]);
    let (shard, from, to) = (shard(1, OTHER), 0, 2);
    let index = Message::FetchIndex { shard, from, to };
    assert_eq!(desk.sent(), [(STORAGES[0].into(), index)]);
    // The first was freed: it must know the release before it goes on.
    let items = vec![(1, item(&[1], None))];
    let told = Message::Indexed {
        shard,
        from,
        to,
        items,
    };
    desk.hear(STORAGES[0], told);
    assert!(desk.sent().contains(&(STORAGES[0].into(), fetch(2, 0))));
    let gauge = |desk: &Desk, name| {
        let gauges = desk.engine.gauges();
        gauges.iter().find(|gauge| gauge.0 == name).unwrap().1
    };
    assert_eq!(gauge(&desk, "indexes_ready"), 0);
    let committed = Message::Committed {
        term: term(2),
        entries: vec![entry(0, release)],
    };
    desk.hear(STORAGES[0], committed);
    assert_eq!(gauge(&desk, "indexes_ready"), 1);
    // Now the read that waits for the other engine is answered here.
    desk.wait(5 * MS);
    let (_, op, at) = asked(&mut desk)[0];
    done(&mut desk, STORAGES[0], op, Ok(found(1, 1, None)), at);
    assert_eq!(read(&mut desk), Some((vec![seq(1, 1)], progress(2, 1))));
}

#[test]
fn a_memo_is_kept_here_and_at_the_holders_and_found_though_the_record_was_cached_before() {
    let mut desk = indexed(None, 1);
    let reading = || next(1, SeqNum::ZERO, 1, 0, progress(1, 1));
    let memo = |reply: &Reply| match reply {
        Reply::Records { records, .. } => records[0].aux.as_deref().map(<[u8]>::to_vec),
        other => panic!("{other:?}"),
    };
    desk.ask(reading());
    let (_, op, at) = asked(&mut desk)[0];
    done(&mut desk, STORAGES[0], op, Ok(found(1, 0, None)), at);
    desk.wait(200 * MS);
    desk.sent();
    // Another engine has left one with the holders meanwhile.
    desk.ask(reading());
    let sent = desk.sent();
    let Some((Peer::Node(holder), Message::ReadAt { op: 0, .. })) = sent.first() else {
        panic!("{sent:?}");
    };
    assert!(sent.iter().any(|(_, message)| matches!(
        message, Message::Reply { reply, .. } if memo(reply).is_none()
    )));
    done(&mut desk, *holder, 0, Ok(found(1, 0, Some(b"theirs"))), at);
    desk.ask(reading());
    assert_eq!(memo(&desk.replies()[0].1), Some(b"theirs".to_vec()));
    let aux: Arc<[u8]> = Arc::from(&b"ours"[..]);
    let (book, seq) = (1, at);
    desk.ask(Request::Annotate {
        book,
        seq,
        aux: Arc::clone(&aux),
    });
    let sent = desk.sent();
    for node in STORAGES {
        let aux = Arc::clone(&aux);
        assert!(sent.contains(&(node.into(), Message::Annotate { seq, aux })));
    }
    desk.ask(reading());
    assert_eq!(memo(&desk.replies()[0].1), Some(b"ours".to_vec()));
}

#[test]
fn an_engine_tells_an_operator_whether_it_is_ready() {
    let mut desk = Desk::new(None);
    let view = |desk: &mut Desk| {
        desk.ask(Request::Status);
        match &desk.replies()[..] {
            [(_, Reply::Status { view, gauges })] => (*view, gauges.len() > 5),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(view(&mut desk), (0, true));
    desk.begin(&[OTHER]);
    assert_eq!(view(&mut desk), (0, true), "it is not a member");
    let end = Final {
        entries: 0,
        tail: Vec::new(),
    };
    let second = desk.view(2, &[OTHER, ME], Some(end));
    desk.views(vec![second]);
    assert_eq!(view(&mut desk), (2, true));
}

#[test]
fn reads_that_make_no_sense_are_refused_and_those_of_clients_that_are_gone_forgotten() {
    let mut desk = indexed(None, 0);
    let read = Read {
        book: 1,
        tag: 1,
        bound: SeqNum::MAX,
        direction: Direction::Previous,
        limit: 1,
        wait: 0,
        progress: progress(1, 0),
    };
    let bad = [
        Read { limit: 0, ..read },
        Read { limit: 2, ..read },
        Read { wait: 1, ..read },
        Read {
            tag: u64::MAX,
            ..read
        },
    ];
    for read in bad {
        desk.ask(Request::Read(read));
        let replies = desk.replies();
        let bad = matches!(&replies[..], [(_, Reply::Failed(Failure::Bad(_)))]);
        assert!(bad, "{read:?}: {replies:?}");
    }
    desk.ask(next(1, SeqNum::ZERO, 1, 30 * MS, progress(1, 0)));
    desk.ask(next(1, SeqNum::ZERO, 1, 0, progress(1, 5)));
    desk.engine.on_gone(7);
    desk.wait(12_000 * MS);
    assert_eq!(desk.replies(), []);
    let reading = ("reading", 0);
    assert!(desk.engine.gauges().contains(&reading));
}
