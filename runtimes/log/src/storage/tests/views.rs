//! The end of a view, and restarts.

use super::*;

/// A storage that has five records of each engine, of which four and three are ordered; only the
/// first cut is known to it.
fn at_the_end(level: Level, bug: Option<Bug>) -> (Rig, [Arc<Entry>; 3]) {
    let mut rig = Rig::member(level, bug);
    rig.replicate(E0, 0..5);
    rig.replicate(E1, 0..5);
    rig.sync();
    let entries = [
        cut(0, 0, [0, 0], [2, 1]),
        cut(1, 3, [2, 1], [2, 0]),
        cut(2, 5, [4, 1], [0, 2]),
    ];
    rig.commit(&entries[..1]);
    rig.sent();
    (rig, entries)
}

fn all(rig: &mut Rig) -> Vec<Option<Result<Arc<Record>, Missing>>> {
    (0..8).map(|position| rig.read(at(position))).collect()
}

fn ordered() -> Vec<Option<Result<Arc<Record>, Missing>>> {
    let places = [
        (E0, 0),
        (E0, 1),
        (E1, 0),
        (E0, 2),
        (E0, 3),
        (E1, 1),
        (E1, 2),
    ];
    let here = places.map(|(engine, local)| Some(Ok(record(engine, local))));
    let mut all = here.to_vec();
    all.push(Some(Err(Missing::NotHere)));
    all
}

#[test]
fn the_end_of_a_view_orders_what_it_orders_and_drops_the_rest() {
    for bug in [None, Some(Bug::DropOnFinal), Some(Bug::KeepUnordered)] {
        let (mut rig, entries) = at_the_end(Level::Memory, bug);
        rig.views(vec![next_view(&first_view(1), 1, 3, &entries[2..])]);
        let (term, from) = (TERM, 1);
        let asked = (PRIMARY.into(), Message::FetchEntries { term, from });
        assert!(rig.sent().contains(&asked), "{bug:?}");
        rig.commit(&entries[1..2]);
        rig.pass(100 * MS);
        let right = all(&mut rig) == ordered();
        assert_eq!(right, bug != Some(Bug::DropOnFinal), "{bug:?}");
        let left = (rig.gauge("records"), rig.disk.count(b"r"));
        assert_eq!(left == (7, 7), bug.is_none(), "{bug:?}: {left:?}");
        assert_eq!(rig.gauge("complete"), 2, "{bug:?}");
        // What comes too late never comes back.
        rig.replicate(E0, 4..6);
        assert_eq!(rig.disk.count(b"r"), left.1, "{bug:?}");
        // The next view begins from nothing.
        let (shard, gone) = (shard(2, E0), Vec::new());
        let records = vec![(0, record(E0, 70))];
        let message = Message::Replicate {
            shard,
            records,
            gone,
        };
        rig.sent();
        rig.tell(E0, message);
        assert_eq!(rig.reported(), Some(vec![(E0, 1)]), "{bug:?}");
    }
}

fn shard(view: u16, engine: NodeId) -> Shard {
    let term = Term { view, log: 0 };
    Shard { term, engine }
}

#[test]
fn a_restart_finds_everything_again() {
    for level in [Level::Memory, Level::Synced] {
        let (mut rig, entries) = at_the_end(level, None);
        rig.commit(&entries);
        rig.sync();
        rig.restart();
        assert_eq!((rig.gauge("records"), rig.gauge("damaged")), (10, 0));
        // In its new life it is no member of the view, but it serves.
        rig.views(vec![first_view(1)]);
        assert_eq!(all(&mut rig)[..7], ordered()[..7]);
        rig.replicate(E0, 5..9);
        assert_eq!((rig.gauge("records"), rig.reported()), (10, None));
        rig.views(vec![next_view(&first_view(1), 2, 3, &entries[2..])]);
        rig.pass(100 * MS);
        assert_eq!(all(&mut rig), ordered());
        assert_eq!((rig.gauge("records"), rig.gauge("complete")), (7, 2));
        assert_eq!(rig.disk.count(b"r"), 7);
        // And once more, from nothing but the disk.
        rig.restart();
        rig.views(vec![
            first_view(1),
            next_view(&first_view(1), 2, 3, &entries[2..]),
        ]);
        assert_eq!((all(&mut rig), rig.gauge("complete")), (ordered(), 2));
    }
}

#[test]
fn indexes_are_not_told_again_after_a_restart() {
    let (mut rig, entries) = at_the_end(Level::Memory, None);
    rig.commit(&entries);
    rig.restart();
    rig.views(vec![first_view(2)]);
    assert!(
        rig.sent()
            .iter()
            .all(|(_, message)| message.kind() != "indexed")
    );
    rig.commit(&[cut(3, 7, [4, 3], [1, 0])]);
    let told = rig
        .sent()
        .into_iter()
        .filter(|(_, message)| message.kind() == "indexed");
    assert_eq!(told.count(), 2);
}

#[test]
fn reports_of_an_ended_view_are_not_repeated() {
    let (mut rig, entries) = at_the_end(Level::Memory, None);
    rig.views(vec![next_view(&first_view(1), 1, 3, &entries)]);
    rig.pass(100 * MS);
    assert_eq!(rig.reported(), None);
}
