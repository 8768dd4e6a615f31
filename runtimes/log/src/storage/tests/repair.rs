//! Copying what others have.

use super::*;

const ENDED: [u32; 2] = [1500, 3];

/// The views of a storage that comes after the first one has ended.
fn views() -> Vec<Arc<View>> {
    let mut first = View::clone(&first_view(1));
    first.storages[0] = member(NodeId(203), 1);
    keep(&mut first, &[NodeId(203), OTHERS[0], OTHERS[1]]);
    let entries = [cut(0, 0, [0, 0], ENDED)];
    let mut next = View::clone(&next_view(&first, 1, 1, &entries));
    next.storages[0] = member(ME, 1);
    keep(&mut next, &[OTHERS[0], OTHERS[1], ME]);
    vec![Arc::new(first), Arc::new(next)]
}

/// Answers what was asked of others, except those who are silent; `gone` is freed there.
fn answer(rig: &mut Rig, silent: &[NodeId], gone: &[u32]) -> usize {
    let asked = rig.fetches();
    let count = asked.len();
    for (peer, engine, from, to) in asked {
        let Peer::Node(peer) = peer else { continue };
        if silent.contains(&peer) || peer == engine {
            continue;
        }
        let is_gone = |local: &u32| engine == E0 && gone.contains(local);
        let (shard, gone) = (
            Shard { term: TERM, engine },
            (from..to).filter(is_gone).collect(),
        );
        let here = (from..to.min(from + 100)).filter(|local| !is_gone(local));
        let records = here.map(|local| (local, record(engine, local))).collect();
        let message = Message::Replicate {
            shard,
            records,
            gone,
        };
        rig.tell(peer, message);
    }
    count
}

#[test]
fn a_new_keeper_copies_everything_and_says_when_it_has_it() {
    let mut rig = Rig::new(Level::Memory, None);
    rig.views(views());
    let gone: Vec<u32> = (100..200).chain([777]).collect();
    let mut rounds = 0;
    while rig.gauge("complete") < 2 {
        rounds += 1;
        assert!(rounds < 100, "it never gets done: {:?}", rig.node.gauges());
        if answer(&mut rig, &OTHERS[..1], &gone) == 0 {
            rig.pass(rig.config.timing.again_after);
        }
    }
    assert_eq!(
        (rig.gauge("records"), rig.gauge("freed")),
        (1503 - 101, 101)
    );
    for position in (0..1500).step_by(37).chain([777, 1500]) {
        let found = match position {
            position if gone.contains(&position) => Err(Missing::Freed),
            1500 => Ok(record(E1, 0)),
            position => Ok(record(E0, position)),
        };
        assert_eq!(rig.read(at(position)), Some(found), "{position}");
    }
    // A restart knows it all, what is gone included.
    rig.restart();
    rig.views(views());
    assert_eq!((rig.gauge("complete"), rig.fetches()), (2, vec![]));
    assert_eq!(rig.read(at(150)), Some(Err(Missing::Freed)));
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let mut rig = Rig::new(Level::Memory, None);
    rig.views(views());
    for _ in 0..3 {
        answer(&mut rig, &[], &[]);
    }
    let have = rig.gauge("records");
    assert!((100..1503).contains(&have));
    rig.restart();
    rig.views(views());
    let asked = rig.fetches();
    assert!(
        asked
            .iter()
            .all(|&(_, engine, from, _)| engine != E0 || from > 0),
        "{asked:?}"
    );
}

#[test]
fn who_says_too_early_that_all_is_there_is_found_out() {
    for (bug, complete) in [(None, 0), (Some(Bug::SkipRepair), 2)] {
        let mut rig = Rig::new(Level::Memory, bug);
        rig.views(views());
        assert_eq!(rig.gauge("complete"), complete, "{bug:?}");
        assert_eq!(rig.read(at(3)), Some(Err(Missing::NotHere)), "{bug:?}");
    }
}

#[test]
fn at_synced_a_copy_counts_when_it_is_synced() {
    let mut rig = Rig::new(Level::Synced, None);
    rig.views(views());
    while rig.gauge("records") < 1503 {
        if answer(&mut rig, &[], &[]) == 0 {
            rig.pass(rig.config.timing.again_after);
        }
    }
    assert_eq!(rig.gauge("complete"), 0);
    (0..3).for_each(|_| rig.sync());
    assert_eq!(rig.gauge("complete"), 2);
}

#[test]
fn few_shards_are_copied_at_the_same_time() {
    let mut config = config(Level::Memory);
    config.shape.logs = 20;
    let mut views: Vec<View> = views().iter().map(|view| View::clone(view)).collect();
    views.iter_mut().for_each(|view| view.shape.logs = 20);
    views[1].finals = vec![views[1].finals[0].clone(); 20];
    let mut rig = Rig::with(config, None);
    rig.views(views.into_iter().map(Arc::new).collect());
    assert_eq!(rig.fetches().len(), 8);
}
