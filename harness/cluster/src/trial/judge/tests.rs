use super::*;
use triptych_log::{Condition, Term};
use triptych_nodes::NodeId;

const TERM: Term = Term { view: 1, log: 0 };

fn seq(position: u32) -> SeqNum {
    SeqNum::new(TERM, position)
}

fn at(entries: u32) -> Progress {
    Progress { view: 1, entries }
}

fn operation(start: u64, end: u64, asked: u32, seen: u32, what: What) -> Operation {
    Operation {
        client: 0,
        book: 1,
        start,
        end,
        asked: at(asked),
        seen: at(seen),
        what,
    }
}

fn append(id: u64, tags: &[Tag], condition: Option<Condition>, outcome: Appended) -> What {
    What::Append {
        id,
        tags: tags.to_vec(),
        condition,
        outcome,
    }
}

fn read(tag: Tag, limit: u16, found: &[(u32, u64)]) -> What {
    What::Read {
        tag,
        bound: SeqNum::ZERO,
        ascending: true,
        limit,
        found: found.iter().map(|&(at, id)| (seq(at), id)).collect(),
    }
}

fn kept(position: u32, id: u64, tags: &[Tag], condition: Option<Condition>) -> Kept {
    Kept {
        seq: seq(position),
        id,
        tags: tags.to_vec(),
        condition,
    }
}

/// Four records of two streams, the third on condition, another one refused; then stream 2 is
/// trimmed below the last.
fn good() -> History {
    let after_first = Condition {
        tag: 1,
        tail: seq(0),
    };
    let bound = vec![(2, seq(3))];
    let records = vec![
        kept(0, 10, &[1], None),
        kept(2, 12, &[1], Some(after_first)),
        kept(3, 13, &[2], None),
        kept(5, 15, &[], None),
    ];
    History {
        operations: vec![
            operation(0, 10, 0, 1, append(10, &[1], None, Appended::At(seq(0)))),
            operation(0, 20, 0, 1, append(11, &[2], None, Appended::At(seq(1)))),
            operation(
                15,
                30,
                1,
                2,
                append(12, &[1], Some(after_first), Appended::At(seq(2))),
            ),
            operation(
                15,
                40,
                1,
                3,
                append(14, &[1], Some(after_first), Appended::Refused(seq(2))),
            ),
            operation(31, 45, 2, 3, append(13, &[2], None, Appended::At(seq(3)))),
            operation(46, 50, 3, 3, read(1, 5, &[(0, 10), (2, 12)])),
            operation(46, 50, 3, 3, read(EVERY, 2, &[(0, 10), (1, 11)])),
            operation(
                51,
                60,
                3,
                4,
                What::Trim {
                    streams: bound,
                    done: true,
                },
            ),
            operation(61, 70, 4, 4, read(2, 5, &[(3, 13)])),
            operation(71, 75, 4, 4, append(16, &[], None, Appended::Never)),
            operation(71, 80, 4, 5, append(15, &[], None, Appended::Unknown)),
        ],
        finals: vec![(NodeId(1), 1, records.clone()), (NodeId(2), 1, records)],
        garbled: Vec::new(),
    }
}

#[test]
fn a_good_history_is_good() {
    assert_eq!(judge(&good()), []);
}

/// Something that is wrong with a history, and the rule that says so.
type Wrong = (&'static str, fn(&mut History));

#[test]
fn what_is_wrong_is_found_by_the_rule_for_it() {
    let wrong: &[Wrong] = &[
        ("agreement", |history| drop(history.finals[1].2.pop())),
        ("whole", |history| history.garbled.push(seq(0))),
        ("once", |history| {
            history
                .finals
                .iter_mut()
                .for_each(|of| of.2.push(kept(6, 13, &[2], None)))
        }),
        ("lost", |history| {
            history
                .finals
                .iter_mut()
                .for_each(|of| drop(of.2.remove(1)))
        }),
        ("lost", |history| {
            history.finals.iter_mut().for_each(|of| of.2[2].id = 99)
        }),
        ("resurrected", |history| {
            history
                .finals
                .iter_mut()
                .for_each(|of| of.2.push(kept(6, 16, &[], None)));
        }),
        ("resurrected", |history| {
            history
                .finals
                .iter_mut()
                .for_each(|of| of.2.push(kept(6, 14, &[2], None)));
        }),
        ("real-time", |history| history.operations[0].start = 46),
        ("position", |history| history.operations[0].seen = at(9)),
        ("monotonic", |history| history.operations[5].asked = at(4)),
        ("condition", |history| {
            history
                .finals
                .iter_mut()
                .for_each(|of| of.2.insert(1, kept(1, 17, &[1], None)));
        }),
        ("condition", |history| {
            let after = Condition {
                tag: 1,
                tail: seq(0),
            };
            history.operations[3].what = append(14, &[1], Some(after), Appended::Refused(seq(0)));
        }),
        ("prefix", |history| {
            history.operations[5].what = read(1, 5, &[(0, 10)])
        }),
        ("prefix", |history| {
            history.operations[5].what = read(1, 5, &[(2, 12)])
        }),
        ("prefix", |history| {
            history.operations[5].what = read(2, 5, &[(1, 11), (2, 12), (3, 13)])
        }),
        ("prefix", |history| {
            history.operations[5].seen = at(1);
            history.operations[5].asked = at(1);
        }),
        ("trim", |history| {
            history.operations[8].what = read(2, 5, &[(1, 11), (3, 13)])
        }),
        ("trim", |history| {
            history.operations[8].what = read(EVERY, 5, &[(0, 10), (1, 11), (2, 12), (3, 13)]);
        }),
    ];
    for (rule, spoil) in wrong {
        let mut history = good();
        spoil(&mut history);
        let found = judge(&history);
        assert!(
            found.iter().any(|violation| violation.rule == *rule),
            "{rule}: {found:?}"
        );
    }
}
