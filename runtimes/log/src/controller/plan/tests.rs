use super::*;
use crate::Shape;
use crate::controller::testing::view;

const SHAPE: Shape = Shape {
    logs: 2,
    metas: 3,
    copies: 2,
    indexes: 2,
};

fn config() -> Config {
    Config::of(3, 4, 4, 4, SHAPE)
}

/// All nodes, in their first lives.
fn all() -> Alive {
    let config = config();
    let roles = [&config.sequencers, &config.storages, &config.engines];
    let living = Living {
        life: 1,
        complete: 1,
    };
    let nodes = roles.into_iter().flatten();
    nodes.map(|&node| (node, living)).collect()
}

fn numbers(members: &[Member]) -> Vec<u16> {
    members.iter().map(|member| member.node.0).collect()
}

fn plan(config: &Config, views: &[Arc<View>], alive: &Alive) -> View {
    let current = views.last().map(|view| &**view);
    let roles = roles(config, current, alive).expect("enough live");
    let next = next(config, views, roles, alive, Vec::new());
    whole(views, next.expect("there are numbers left"))
}

/// A view with what the views before it say of who keeps what.
fn whole(views: &[Arc<View>], mut next: View) -> View {
    let mut holders = Holders::new();
    views.iter().for_each(|view| overlay(&mut holders, view));
    overlay(&mut holders, &next);
    next.holders = holders;
    next
}

fn kept(view: &View, of: ViewId, engine: u16) -> Vec<u16> {
    let holders = view.holders(of, NodeId(engine)).iter();
    holders.map(|node| node.0).collect()
}

#[test]
fn the_first_view_has_everybody_in_the_configured_order() {
    let first = plan(&config(), &[], &all());
    assert_eq!(first, view(SHAPE, 4, 4, 4));
}

#[test]
fn a_free_place_goes_to_a_new_node_or_to_the_last() {
    let views = [Arc::new(view(SHAPE, 4, 3, 4))];
    let mut alive = all();
    alive.remove(&NodeId(101));
    alive.remove(&NodeId(200));
    alive.remove(&NodeId(1003));
    let second = plan(&config(), &views, &alive);
    assert_eq!(numbers(&second.sequencers), [100, 103, 102]);
    assert_eq!(numbers(&second.storages), [203, 201, 202]);
    assert_eq!(numbers(&second.engines), [1000, 1001, 1002]);
    assert_eq!(second.id, 2);
}

#[test]
fn several_dead_at_the_end_leave_no_hole() {
    let views = [Arc::new(view(SHAPE, 4, 4, 4))];
    let mut alive = all();
    for dead in [1000, 1003] {
        alive.remove(&NodeId(dead));
    }
    let second = plan(&config(), &views, &alive);
    assert_eq!(numbers(&second.engines), [1002, 1001]);
}

#[test]
fn who_restarts_keeps_its_place_in_a_new_life() {
    let views = [Arc::new(view(SHAPE, 4, 4, 4))];
    let mut alive = all();
    alive.get_mut(&NodeId(101)).expect("configured").life = 2;
    let second = plan(&config(), &views, &alive);
    assert_eq!(numbers(&second.sequencers), [100, 101, 102, 103]);
    assert_eq!(second.sequencers[1].life, 2);
}

#[test]
fn there_is_no_view_with_fewer_than_the_shape_needs() {
    let mut alive = all();
    for dead in [200, 201, 203] {
        alive.remove(&NodeId(dead));
    }
    let shortage = roles(&config(), None, &alive).expect_err("one storage is not two");
    let line = "2 storages are needed for a view, and 1 live";
    assert_eq!(shortage.to_string(), line);
}

#[test]
fn what_the_dead_kept_is_copied_and_spread() {
    // Engines 1000 to 1003 are kept by (200, 201), (202, 203), (200, 201), (202, 203).
    let views = [Arc::new(view(SHAPE, 4, 4, 4))];
    let mut alive = all();
    alive.remove(&NodeId(200));
    let second = plan(&config(), &views, &alive);
    assert_eq!(kept(&second, 1, 1001), [202, 203]);
    let copies = [kept(&second, 1, 1000), kept(&second, 1, 1002)];
    let spread = [[201, 203, 200], [201, 202, 200]];
    assert_eq!(
        copies, spread,
        "in the order of places, and nobody is forgotten"
    );
    // If the dead one comes back before the copy is made, none is needed; unless it has lost its
    // memory.
    for (life, holders) in [(1, [201, 200]), (2, [201, 203])] {
        let views = [Arc::clone(&views[0]), Arc::new(second.clone())];
        let mut alive = all();
        alive.get_mut(&NodeId(200)).expect("configured").life = life;
        let third = plan(&config(), &views, &alive);
        assert_eq!(kept(&third, 1, 1000), holders);
    }
}

#[test]
fn a_restarted_storage_holds_on_only_if_memory_survives() {
    let views = [Arc::new(view(SHAPE, 4, 4, 4))];
    let mut alive = all();
    alive.get_mut(&NodeId(201)).expect("configured").life = 2;
    let synced = Config {
        level: Level::Synced,
        ..config()
    };
    let second = plan(&synced, &views, &alive);
    assert_eq!(kept(&second, 1, 1000), [200, 201]);
    let second = plan(&config(), &views, &alive);
    assert_eq!(kept(&second, 1, 1000), [200, 201], "it may copy, too");
    // But what nobody else has is not known to be there.
    alive.remove(&NodeId(200));
    let second = plan(&config(), &views, &alive);
    assert_eq!(kept(&second, 1, 1000), [203, 201, 200]);
    let second = plan(&synced, &views, &alive);
    assert_eq!(kept(&second, 1, 1000), [201, 203, 200]);
}

#[test]
fn the_dead_are_kept_in_mind_until_a_living_holder_is_complete() {
    let mut views = vec![Arc::new(view(SHAPE, 4, 4, 4))];
    let mut alive = all();
    alive.remove(&NodeId(200));
    views.push(Arc::new(plan(&config(), &views, &alive)));
    // 203 copies from 201, which dies before it is done.
    assert_eq!(kept(&views[1], 1, 1000), [201, 203, 200]);
    alive.remove(&NodeId(201));
    let early = plan(&config(), &views, &alive);
    assert_eq!(kept(&early, 1, 1000), [203, 202, 201, 200]);
    // When it is done, one complete holder of two is still not enough to forget the others.
    alive.get_mut(&NodeId(203)).expect("configured").complete = 2;
    views.push(Arc::new(plan(&config(), &views, &alive)));
    assert_eq!(kept(&views[2], 1, 1000), [203, 202, 201, 200]);
    // Two are.
    for copied in [202, 203] {
        alive.get_mut(&NodeId(copied)).expect("configured").complete = 3;
    }
    let late = plan(&config(), &views, &alive);
    assert_eq!(kept(&late, 1, 1000), [203, 202]);
    // What was kept in mind counts again when it is back, in the same life.
    views[2] = Arc::new(early);
    alive = all();
    let back = plan(&config(), &views, &alive);
    assert_eq!(kept(&back, 1, 1000), [201, 200]);
}

/// Views in which the records of engine 1000 in view 1 are kept by these, in this order.
fn history(holders: &[&[u16]]) -> Vec<Arc<View>> {
    let mut views: Vec<Arc<View>> = Vec::new();
    for (id, nodes) in (1..).zip(holders) {
        let mut view = view(SHAPE, 4, 4, 4);
        let nodes = nodes.iter().map(|&node| NodeId(node)).collect();
        let of = view
            .holders
            .get_mut(&1)
            .expect("the first view has holders");
        of.insert(NodeId(1000), nodes);
        view.id = id;
        views.push(Arc::new(view));
    }
    views
}

/// All nodes, some of them in another life and with another view in which they are complete.
fn alive(these: &[(u16, u32, ViewId)]) -> Alive {
    let mut alive = all();
    for &(node, life, complete) in these {
        alive.insert(NodeId(node), Living { life, complete });
    }
    alive
}

/// One copy of each record is wanted, or two: with one, whoever counts is enough to forget the
/// others.
fn copied(copies: u16) -> Config {
    let mut config = config();
    config.shape.copies = copies;
    config
}

#[test]
fn to_be_complete_in_a_view_says_nothing_about_its_own_records() {
    // 201 restarts without its memory. In view 1, which it still finds to be the newest, it has
    // nothing to copy and says that it is complete; in view 2 it copies.
    let mut views = history(&[&[200, 201], &[200, 201]]);
    let mut second = (*views[1]).clone();
    second.storages[1].life = 2;
    views[1] = Arc::new(second);
    for copies in [1, 2] {
        let config = copied(copies);
        // Before it is done, 200 is not heard of.
        let mut now = alive(&[(201, 2, 1)]);
        now.remove(&NodeId(200));
        let third = plan(&config, &views, &now);
        let holders = kept(&third, 1, 1000);
        assert!(holders.contains(&200), "nobody else has them: {holders:?}");
        // When it is done, it has them.
        now.insert(
            NodeId(201),
            Living {
                life: 2,
                complete: 2,
            },
        );
        let third = plan(&config, &views, &now);
        assert_eq!(kept(&third, 1, 1000).contains(&200), copies == 2);
    }
}

#[test]
fn to_be_complete_in_a_view_says_nothing_about_what_was_to_be_held_in_another() {
    // 202 is to copy in view 2, and is cut off before it does. View 3 does without it; when it is
    // back it has nothing to copy in view 3, and says that it is complete. In view 4 it is to
    // copy again.
    let views = history(&[&[200, 201], &[200, 202], &[200, 203], &[200, 202]]);
    for copies in [1, 2] {
        let config = copied(copies);
        let mut now = alive(&[(201, 2, 3), (202, 1, 3), (203, 2, 3)]);
        now.remove(&NodeId(200));
        let fifth = plan(&config, &views, &now);
        let holders = kept(&fifth, 1, 1000);
        assert!(holders.contains(&200), "nobody else has them: {holders:?}");
        // When it has copied, it counts.
        now.insert(
            NodeId(202),
            Living {
                life: 1,
                complete: 4,
            },
        );
        let fifth = plan(&config, &views, &now);
        assert_eq!(kept(&fifth, 1, 1000).contains(&200), copies == 2);
    }
}

#[test]
fn what_nobody_has_any_more_is_noticed() {
    let views = history(&[&[200, 201], &[200, 201]]);
    let lost = |config: &Config, now: &Alive| {
        let next = plan(config, &views, now);
        let lost = perhaps_lost(config, &views, now, &next);
        let of = lost.get(&1).into_iter().flatten();
        of.map(|engine| engine.0).collect::<Vec<_>>()
    };
    // Engines 1000 and 1002 are kept by 200 and 201, the others by 202 and 203.
    let both = alive(&[(200, 2, 0), (201, 2, 0)]);
    assert_eq!(lost(&config(), &both), [1000, 1002]);
    let synced = Config {
        level: Level::Synced,
        ..config()
    };
    assert!(lost(&synced, &both).is_empty());
    // One is enough: that is here, that may come back, or that has found everything again.
    assert!(lost(&config(), &alive(&[(200, 2, 0)])).is_empty());
    let mut one = both.clone();
    one.remove(&NodeId(201));
    assert!(lost(&config(), &one).is_empty());
    let found = alive(&[(200, 2, 0), (201, 2, 2)]);
    assert!(lost(&config(), &found).is_empty());
}

#[test]
fn a_view_says_only_what_has_changed() {
    let (config, mut now) = (config(), all());
    let mut views = vec![Arc::new(view(SHAPE, 4, 4, 4))];
    let then = |views: &[Arc<View>], now: &Alive, finals| {
        let roles = roles(&config, views.last().map(|view| &**view), now);
        let roles = roles.expect("enough live");
        next(&config, views, roles, now, finals).expect("there are numbers left")
    };
    for id in 2..10 {
        let next = then(&views, &now, Vec::new());
        assert_eq!(next.holders.keys().copied().collect::<Vec<_>>(), [id]);
        views.push(Arc::new(next));
    }
    // 200 fails: what it kept is to be kept by others, and no more is said.
    now.remove(&NodeId(200));
    let next = then(&views, &now, Vec::new());
    for id in 1..10 {
        let engines: Vec<u16> = next.holders[&id].keys().map(|engine| engine.0).collect();
        assert_eq!(engines, [1000, 1002], "of view {id}");
    }
    // Nothing is kept of what was not ordered, if that is sure.
    let end = |deltas: &[u32], entries| {
        let starts = vec![0; deltas.len()];
        let (number, first) = (entries - 1, 0);
        let step = Step::Cut {
            first,
            starts,
            deltas: deltas.to_vec(),
        };
        let tail = vec![Arc::new(Entry { number, step })];
        Final { entries, tail }
    };
    let finals = vec![end(&[0, 0, 3, 0], 1), end(&[0, 2, 0, 0], 1)];
    let whole = whole(&views, then(&views, &all(), finals));
    let kept: Vec<u16> = whole.holders[&9].keys().map(|engine| engine.0).collect();
    assert_eq!(kept, [1001, 1002]);
    assert_eq!(whole.holders[&8].len(), 4);
    let finals = vec![end(&[0, 0, 3, 0], 2), end(&[0, 2, 0, 0], 1)];
    let next = then(&views, &all(), finals);
    assert_eq!(next.holders.len(), 1, "there is more than the tail");
}

#[test]
fn views_run_out_after_the_last_number() {
    let mut last = view(SHAPE, 4, 4, 4);
    last.id = ViewId::MAX;
    let views = [Arc::new(last)];
    let (config, alive) = (config(), all());
    let roles = roles(&config, Some(&views[0]), &alive).expect("enough live");
    let none = next(&config, &views, roles, &alive, Vec::new());
    assert_eq!(none, Err(Shortage::Numbers));
}
