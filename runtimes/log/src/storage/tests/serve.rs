//! What is given back.

use super::*;
use crate::Found;

fn small_cache() -> Rig {
    let mut config = config(Level::Memory);
    config.limits.storage_cache_bytes = 200;
    let mut rig = Rig::with(config, None);
    rig.views(vec![first_view(1)]);
    rig
}

#[test]
fn what_the_cache_has_no_room_for_comes_from_the_disk() {
    let mut rig = small_cache();
    rig.replicate(E0, 0..100);
    rig.commit(&[cut(0, 0, [0, 0], [100, 0])]);
    assert!(rig.gauge("cache_bytes") <= 200 && rig.gauge("cache_records") > 0);
    for _ in 0..2 {
        for local in 0..100 {
            assert_eq!(rig.read(at(local)), Some(Ok(record(E0, local))));
        }
    }
    assert!(rig.gauge("cache_misses") > 100 && rig.gauge("cache_bytes") <= 200);
    assert_eq!(rig.read(at(99)), Some(Ok(record(E0, 99))));
    let hits = rig.gauge("cache_hits");
    assert_eq!(rig.read(at(99)), Some(Ok(record(E0, 99))));
    assert_eq!(rig.gauge("cache_hits"), hits + 1);
}

#[test]
fn at_synced_a_read_finds_what_waits_to_be_synced() {
    let mut config = config(Level::Synced);
    config.limits.storage_cache_bytes = 0;
    let mut rig = Rig::with(config, None);
    rig.views(vec![first_view(1)]);
    rig.replicate(E0, [0]);
    rig.replicate(E0, [1]);
    rig.commit(&[cut(0, 0, [0, 0], [2, 0])]);
    assert_eq!(rig.read(at(1)), Some(Ok(record(E0, 1))));
}

#[test]
fn a_read_waits_for_its_place_to_be_ordered() {
    let mut rig = Rig::member(Level::Memory, None);
    rig.replicate(E0, 0..3);
    rig.sent();
    assert_eq!(rig.read(at(1)), None);
    let asked = Message::FetchEntries {
        term: TERM,
        from: 0,
    };
    assert_eq!(rig.sent(), [(PRIMARY.into(), asked)]);
    rig.commit(&[cut(0, 0, [0, 0], [3, 0])]);
    let sent = rig.sent();
    let (seq, record, aux) = (at(1), record(E0, 1), None);
    let found = Ok(Found { seq, record, aux });
    let answer = Message::ReadDone { op: 1, seq, found };
    assert!(sent.contains(&(E0.into(), answer)), "{sent:?}");

    assert_eq!(rig.read(at(3)), None);
    rig.sent();
    rig.pass(3 * rig.config.timing.again_after);
    let (seq, found) = (at(3), Err(Missing::NotHere));
    let answer = Message::ReadDone { op: 1, seq, found };
    assert!(rig.sent().contains(&(E0.into(), answer)));
    assert_eq!(rig.gauge("parked"), 0);
}

#[test]
fn places_that_cannot_be_are_not_here() {
    let mut rig = Rig::member(Level::Memory, None);
    for seq in [
        SeqNum::ZERO,
        SeqNum::new(Term { view: 1, log: 9 }, 0),
        SeqNum::new(Term { view: 0, log: 0 }, 7),
    ] {
        assert_eq!(rig.read(seq), Some(Err(Missing::NotHere)), "{seq}");
    }
    assert_eq!(rig.read(SeqNum::new(Term { view: 9, log: 0 }, 0)), None);
}

#[test]
fn memos_come_back_with_their_records() {
    let mut rig = Rig::member(Level::Memory, None);
    rig.replicate(E0, 0..3);
    rig.commit(&[cut(0, 0, [0, 0], [3, 0])]);
    let aux: Arc<[u8]> = [1, 2, 3].as_slice().into();
    let (seq, memo) = (at(1), Arc::clone(&aux));
    rig.tell(E1, Message::Annotate { seq, aux: memo });
    rig.sent();
    rig.tell(E1, Message::ReadAt { op: 4, seq });
    let (record, aux) = (record(E0, 1), Some(aux));
    let found = Ok(Found { seq, record, aux });
    let answer = Message::ReadDone { op: 4, seq, found };
    assert_eq!(rig.sent(), [(E1.into(), answer)]);
}

#[test]
fn another_keeper_gets_what_it_asks_for_from_memory_and_disk() {
    let mut rig = small_cache();
    rig.replicate(E0, (0..50).chain(60..70));
    rig.commit(&[cut(0, 0, [0, 0], [40, 0]), release(1, &[(1, at(10))], &[])]);
    rig.pass(10 * MS);
    rig.sent();
    let shard = Shard {
        term: TERM,
        engine: E0,
    };
    let (from, to) = (2, 65);
    rig.tell(OTHERS[0], Message::FetchRecords { shard, from, to });
    let gone = vec![3, 6, 9];
    let here = (2..50).filter(|local| !gone.contains(local));
    let records = here.map(|local| (local, record(E0, local))).collect();
    let answer = Message::Replicate {
        shard,
        records,
        gone,
    };
    assert_eq!(rig.sent(), [(OTHERS[0].into(), answer)]);
    let (from, to) = (50, 60);
    rig.tell(OTHERS[0], Message::FetchRecords { shard, from, to });
    assert_eq!(rig.sent(), []);
}

#[test]
fn an_operator_is_answered_and_a_client_refused() {
    let mut rig = Rig::member(Level::Memory, None);
    let client = Peer::Client(3);
    rig.sent();
    let request = crate::Request::Status;
    rig.tell(client, Message::Request { op: 5, request });
    let sent = rig.sent();
    let [
        (
            to,
            Message::Reply {
                op: 5,
                reply: crate::Reply::Status { view, gauges },
            },
        ),
    ] = &sent[..]
    else {
        panic!("{sent:?}");
    };
    assert_eq!((*to, *view), (client, 1));
    assert!(
        gauges
            .iter()
            .any(|(name, value)| (name.as_str(), *value) == ("records", 0))
    );
}
