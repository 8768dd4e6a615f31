//! A disk that does not give back what was written.

use super::*;
use crate::storage::layout;

fn key(local: u32) -> Key {
    let (term, engine) = (TERM, E0);
    layout::record_key(Shard { term, engine }, local)
}

fn spoil(rig: &mut Rig, key: &Key) {
    let value = rig.disk.0.get_mut(key).expect("it was written");
    let last = value.len() - 1;
    value[last] ^= 4;
}

fn without_cache(bug: Option<Bug>) -> Rig {
    let mut config = config(Level::Memory);
    config.limits.storage_cache_bytes = 0;
    let mut rig = Rig::with(config, bug);
    rig.views(vec![first_view(1)]);
    rig.replicate(E0, 0..10);
    rig.commit(&[cut(0, 0, [0, 0], [8, 0])]);
    rig.sent();
    rig
}

#[test]
fn a_read_finds_damage_and_another_keeper_repairs_it() {
    for bug in [None, Some(Bug::ServeDamaged)] {
        let mut rig = without_cache(bug);
        spoil(&mut rig, &key(3));
        let found = rig.read(at(3)).unwrap();
        if bug.is_some() {
            let found = found.expect("it does not look");
            assert_ne!(found, record(E0, 3));
            continue;
        }
        assert_eq!(found, Err(Missing::Damaged));
        assert!(
            rig.notices[0].contains(&layout::hex(&key(3))),
            "{:?}",
            rig.notices
        );
        assert_eq!(
            (
                rig.gauge("damaged"),
                rig.gauge("holes"),
                rig.disk.count(b"r")
            ),
            (1, 1, 9)
        );
        assert_eq!(rig.fetches()[0], (E0.into(), E0, 3, 4));
        rig.pass(2 * rig.config.timing.again_after);
        assert_eq!(rig.fetches()[0], (OTHERS[0].into(), E0, 3, 4));
        rig.replicate(E0, [3]);
        assert_eq!(rig.read(at(3)), Some(Ok(record(E0, 3))));
        assert_eq!(
            (
                rig.gauge("holes"),
                rig.gauge("wanting"),
                rig.disk.count(b"r")
            ),
            (0, 0, 10)
        );
    }
}

#[test]
fn what_the_disk_has_lost_is_damage_too() {
    let mut rig = without_cache(None);
    rig.disk.0.remove(&key(3));
    assert_eq!(rig.read(at(3)), Some(Err(Missing::Damaged)));
    assert_eq!(rig.read(at(3)), Some(Err(Missing::Damaged)));
    assert_eq!((rig.gauge("damaged"), rig.notices.len()), (1, 1));
}

#[test]
fn an_answer_to_another_keeper_ends_before_what_is_damaged() {
    let mut rig = without_cache(None);
    spoil(&mut rig, &key(3));
    let (term, engine) = (TERM, E0);
    let shard = Shard { term, engine };
    let (from, to) = (0, 8);
    rig.tell(OTHERS[0], Message::FetchRecords { shard, from, to });
    let records = (0..3).map(|local| (local, record(E0, local))).collect();
    let gone = Vec::new();
    let answer = Message::Replicate {
        shard,
        records,
        gone,
    };
    assert!(rig.sent().contains(&(OTHERS[0].into(), answer)));
    assert_eq!(rig.gauge("damaged"), 1);
}

#[test]
fn a_start_verifies_everything_and_the_next_view_repairs_it() {
    let mut rig = without_cache(None);
    rig.commit(&[cut(1, 8, [8, 0], [2, 0]), release(2, &[(1, at(5))], &[])]);
    rig.pass(10 * MS);
    let chunk = layout::freed_key(
        Shard {
            term: TERM,
            engine: E0,
        },
        0,
    );
    let spoilt = [key(4), key(9), layout::entry_key(TERM, 1), chunk];
    spoilt.iter().for_each(|key| spoil(&mut rig, key));
    let notices = rig.notices.len();
    rig.restart();
    assert_eq!((rig.notices.len() - notices, rig.gauge("damaged")), (4, 4));
    for key in &spoilt {
        assert!(!rig.disk.0.contains_key(key), "it is deleted");
        assert!(
            rig.notices
                .iter()
                .any(|notice| notice.contains(&layout::hex(key)))
        );
    }
    let tail = [
        cut(0, 0, [0, 0], [8, 0]),
        cut(1, 8, [8, 0], [2, 0]),
        release(2, &[(1, at(5))], &[]),
    ];
    rig.views(vec![first_view(1), next_view(&first_view(1), 2, 3, &tail)]);
    // 0 and 3 were freed: it does not know that any more, and asks.
    let mut rounds = 0;
    while rig.gauge("complete") < 2 {
        for (peer, engine, from, to) in rig.fetches() {
            assert_eq!((peer, engine), (OTHERS[0].into(), E0));
            let shard = Shard { term: TERM, engine };
            let (gone, here): (Vec<u32>, Vec<u32>) = (from..to).partition(|n| [0, 3].contains(n));
            let records = here.into_iter().map(|n| (n, record(E0, n))).collect();
            let message = Message::Replicate {
                shard,
                records,
                gone,
            };
            rig.tell(OTHERS[0], message);
        }
        rounds += 1;
        assert!(rounds < 10, "it never gets done: {:?}", rig.node.gauges());
    }
    for position in 0..10 {
        let found = match position {
            0 | 3 => Err(Missing::Freed),
            position => Ok(record(E0, position)),
        };
        assert_eq!(rig.read(at(position)), Some(found), "{position}");
    }
}

#[test]
fn a_copy_that_comes_after_its_release_is_freed() {
    let mut rig = without_cache(None);
    spoil(&mut rig, &key(0));
    assert_eq!(rig.read(at(0)), Some(Err(Missing::Damaged)));
    rig.commit(&[release(1, &[(1, at(5))], &[])]);
    rig.pass(10 * MS);
    assert_eq!(rig.gauge("freed"), 1);
    rig.replicate(E0, [0]);
    rig.pass(100 * MS);
    assert_eq!(
        (rig.gauge("freed"), rig.read(at(0))),
        (2, Some(Err(Missing::Freed)))
    );
}

#[test]
fn at_synced_a_repair_counts_when_it_is_synced() {
    let mut config = config(Level::Synced);
    config.limits.storage_cache_bytes = 0;
    let mut rig = Rig::with(config, None);
    rig.views(vec![first_view(1)]);
    rig.replicate(E0, 0..10);
    rig.sync();
    let entries = [cut(0, 0, [0, 0], [10, 0])];
    rig.commit(&entries);
    spoil(&mut rig, &key(3));
    assert_eq!(rig.read(at(3)), Some(Err(Missing::Damaged)));
    rig.views(vec![next_view(&first_view(1), 1, 1, &entries)]);
    assert_eq!(rig.gauge("complete"), 1);
    rig.replicate(E0, [3]);
    assert_eq!((rig.gauge("holes"), rig.gauge("complete")), (0, 1));
    rig.sync();
    assert_eq!(rig.gauge("complete"), 2);
}
