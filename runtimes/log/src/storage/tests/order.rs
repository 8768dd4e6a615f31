//! What is ordered, and who is told.

use super::*;

#[test]
fn a_cut_numbers_the_records() {
    for bug in [None, Some(Bug::RenumberWrong)] {
        let mut rig = Rig::member(Level::Memory, bug);
        rig.replicate(E0, 0..3);
        rig.replicate(E1, 0..3);
        rig.commit(&[cut(0, 0, [0, 0], [2, 1]), cut(1, 3, [2, 1], [1, 2])]);
        let read: Vec<_> = (0..6).map(|p| rig.read(at(p)).unwrap().unwrap()).collect();
        let places = [(E0, 0), (E0, 1), (E1, 0), (E0, 2), (E1, 1), (E1, 2)];
        let right: Vec<_> = places.map(|(engine, local)| record(engine, local)).into();
        assert_eq!(read == right, bug.is_none(), "{bug:?}");
    }
}

#[test]
fn entries_are_applied_in_order_and_missing_ones_asked_for() {
    let mut rig = Rig::member(Level::Memory, None);
    rig.replicate(E0, 0..4);
    rig.sent();
    let entries = [0, 1, 2, 3].map(|n| cut(n, n, [n, 0], [1, 0]));
    rig.commit(&entries[1..2]);
    assert_eq!((rig.gauge("cuts"), rig.sent()), (0, vec![]));
    rig.commit(&entries[2..]);
    let asked = Message::FetchEntries {
        term: TERM,
        from: 0,
    };
    assert_eq!(rig.sent(), [(PRIMARY.into(), asked.clone())]);
    rig.pass(2 * rig.config.timing.again_after);
    let sent = rig.sent();
    assert!(
        sent.contains(&(OTHERS[0].into(), asked)),
        "in turn: {sent:?}"
    );
    rig.commit(&entries[..1]);
    rig.commit(&entries);
    assert_eq!(rig.gauge("cuts"), 4);
    rig.tell(
        E0,
        Message::FetchEntries {
            term: TERM,
            from: 1,
        },
    );
    let (term, entries) = (TERM, entries[1..].to_vec());
    let answer = (E0.into(), Message::Committed { term, entries });
    assert!(rig.sent().contains(&answer));
}

#[test]
fn an_entry_that_does_not_follow_is_not_applied() {
    let mut rig = Rig::member(Level::Memory, None);
    rig.replicate(E0, 0..4);
    rig.commit(&[cut(0, 5, [0, 0], [1, 0])]);
    assert_eq!((rig.gauge("cuts"), rig.notices.len()), (0, 1));
    rig.commit(&[cut(0, 0, [0, 0], [4, 0])]);
    assert_eq!(rig.gauge("cuts"), 1);
}

fn told(rig: &mut Rig) -> Vec<(Peer, NodeId, u32, u32, Vec<u32>)> {
    let sent = rig.sent().into_iter();
    let told = sent.filter_map(|(peer, message)| match message {
        Message::Indexed {
            shard,
            from,
            to,
            items,
        } => {
            for (local, item) in &items {
                assert_eq!(item.tags, record(shard.engine, *local).tags);
                assert_eq!((item.book, item.condition), (BOOK, None));
            }
            let items = items.into_iter().map(|(local, _)| local).collect();
            Some((peer, shard.engine, from, to, items))
        }
        _ => None,
    });
    told.collect()
}

#[test]
fn the_first_holder_tells_all_indexes_in_one_message_each() {
    let mut rig = Rig::member(Level::Memory, None);
    rig.replicate(E0, 0..5);
    rig.commit(&[cut(0, 0, [0, 0], [2, 0]), cut(1, 2, [2, 0], [2, 0])]);
    let one = |to: NodeId| (to.into(), E0, 0, 4, vec![0, 1, 2, 3]);
    assert_eq!(told(&mut rig), [one(E0), one(E1)]);

    // Another one is the first: it does not tell, but answers.
    let mut view = View::clone(&first_view(1));
    keep(&mut view, &[OTHERS[0], ME, OTHERS[1]]);
    let mut rig = Rig::new(Level::Memory, None);
    rig.views(vec![Arc::new(view)]);
    rig.replicate(E0, 0..5);
    rig.commit(&[cut(0, 0, [0, 0], [4, 0])]);
    assert_eq!(told(&mut rig), []);
    let shard = Shard {
        term: TERM,
        engine: E0,
    };
    let (from, to) = (1, 9);
    rig.tell(E1, Message::FetchIndex { shard, from, to });
    assert_eq!(told(&mut rig), [(E1.into(), E0, 1, 4, vec![1, 2, 3])]);
    rig.commit(&[release(1, &[(2, at(3))], &[])]);
    rig.pass(10 * MS);
    rig.tell(E1, Message::FetchIndex { shard, from, to });
    assert_eq!(told(&mut rig), [(E1.into(), E0, 1, 4, vec![2, 3])]);
    let (from, to) = (4, 9);
    rig.tell(E1, Message::FetchIndex { shard, from, to });
    assert_eq!(
        told(&mut rig),
        [],
        "what is not ordered is nobody's business"
    );
}
