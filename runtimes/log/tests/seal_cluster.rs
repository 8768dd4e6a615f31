//! How views end and begin in a cluster of real sequencers and controllers.

mod seal_world;

use seal_world::{Disk, MS, Role, US, Weather, World};
use triptych_log::sequencer::metalog::FULL;
use triptych_log::{Config, Level, Shape, Term, ViewId};
use triptych_nodes::NodeId;

const SHAPE: Shape = Shape {
    logs: 2,
    metas: 3,
    copies: 2,
    indexes: 1,
};

/// Three controllers, four sequencers, three storages, three engines.
fn config(level: Level) -> Config {
    Config {
        level,
        ..Config::of(3, 4, 3, 3, SHAPE)
    }
}

fn running(level: Level) -> World {
    let mut world = World::new(config(level), 7);
    world.start_all();
    let first = |world: &World| world.committed(1) > 20;
    world.run_to(200 * MS, "a first view with commits", first);
    assert_eq!(world.newest(), 1);
    world
}

/// Waits until commits are seen in a view.
fn goes_on(world: &mut World, view: ViewId) {
    let what = format!("commits in view {view}");
    world.run_to(1_000 * MS, &what, |world| world.committed(view) > 5);
}

fn all_know(world: &World, view: ViewId) -> bool {
    let stands = world.stands().all(|(_, stand)| stand.views() == view);
    let controllers = world.roles().all(|(_, role)| match role {
        Role::Controller(controller) => controller.views().len() == usize::from(view),
        _ => true,
    });
    stands && controllers
}

#[test]
fn the_first_view_begins_at_once_when_all_live_and_later_when_some_do_not() {
    let mut world = World::new(config(Level::Memory), 1);
    world.start_all();
    let at = world.run_to(100 * MS, "view 1", |world| all_know(world, 1));
    // Lives are made durable, everybody says so, the lowest controller has the view chosen.
    assert!(at < 8 * MS, "{at}");

    let mut world = World::new(config(Level::Memory), 1);
    let all = world.all();
    for node in all.into_iter().filter(|node| node.0 != 103) {
        world.start(node);
    }
    world.run_for(50 * MS);
    assert_eq!(world.newest(), 0, "the fourth sequencer may still come");
    world.run_to(100 * MS, "view 1", |world| all_know(world, 1));
    assert_eq!(world.views()[0].sequencers.len(), 3);
    // It comes, and is taken in.
    world.start(NodeId(103));
    world.run_to(100 * MS, "view 2", |world| all_know(world, 2));
    assert_eq!(world.views()[1].sequencers.len(), 4);
    goes_on(&mut world, 2);
    world.check();
}

#[test]
fn commits_go_to_whom_they_concern() {
    for level in [Level::Memory, Level::Synced] {
        let world = running(level);
        world.check();
        for (node, stand) in world.stands() {
            assert!(stand.committed.len() == 2, "{node} saw only some logs");
        }
        let term = Term { view: 1, log: 0 };
        for node in [100, 101, 102] {
            let log = world.sequencer(node).metalog(term).expect("it keeps log 0");
            assert!(log.committed() > 5, "{node} {}", log.committed());
        }
        assert!(world.sequencer(103).metalog(term).is_none());
    }
}

#[test]
fn a_new_view_takes_a_few_round_trips_after_a_death_is_noticed() {
    for level in [Level::Memory, Level::Synced] {
        for dead in [100, 101, 201, 1001] {
            let mut world = running(level);
            world.crash(NodeId(dead), true);
            let crashed = world.now;
            let at = world.run_to(500 * MS, "view 2", |world| all_know(world, 2));
            let noticed = crashed + world.config.timing.dead_after;
            // It is noticed when a timer rings that looks every 5 ms; then one-way delays are up to
            // 90 us and syncs up to 200 us.
            let took = at.saturating_sub(noticed);
            assert!(took < 7 * MS, "n{dead}, {level:?}: {} us", took / US);
            goes_on(&mut world, 2);
            world.check();
            let second = &world.views()[1];
            let roles = [&second.sequencers, &second.storages, &second.engines];
            assert!(
                roles
                    .into_iter()
                    .flatten()
                    .all(|member| member.node.0 != dead)
            );
        }
    }
}

#[test]
fn what_fails_together_makes_one_view() {
    let mut world = running(Level::Memory);
    for dead in [100, 200, 1002] {
        world.crash(NodeId(dead), true);
    }
    world.run_to(500 * MS, "view 2", |world| all_know(world, 2));
    world.run_for(300 * MS);
    assert_eq!(world.newest(), 2);
    assert_eq!(world.views()[1].engines.len(), 2);
    world.check();
}

#[test]
fn who_restarts_quickly_is_noticed_by_its_new_life() {
    for level in [Level::Memory, Level::Synced] {
        let mut world = running(level);
        world.crash(NodeId(100), true);
        let crashed = world.now;
        world.start(NodeId(100));
        let at = world.run_to(500 * MS, "view 2", |world| all_know(world, 2));
        assert!(at - crashed < 15 * MS, "{} us", (at - crashed) / US);
        let member = world.views()[1].sequencers[0];
        assert_eq!((member.node.0, member.life), (100, 2));
        goes_on(&mut world, 2);
        world.check();
        // It lacks the term that it was away for, and gets it from the others.
        world.run_for(50 * MS);
        let term = Term { view: 1, log: 0 };
        let log = world.sequencer(100).metalog(term).expect("it kept log 0");
        assert_eq!(log.len(), world.views()[1].finals[0].entries);
    }
}

#[test]
fn a_cluster_that_loses_power_goes_on_where_it_was_if_it_syncs() {
    let mut world = running(Level::Synced);
    let all = world.all();
    for &node in &all {
        world.crash(node, true);
    }
    world.check();
    let seen = |world: &World| world.views().len();
    for &node in &all {
        world.start(node);
    }
    assert_eq!(seen(&world), 1, "the view was on disk");
    world.run_to(500 * MS, "view 2", |world| all_know(world, 2));
    assert!(world.views()[1].finals.iter().all(|end| end.entries > 5));
    let second = world.views().remove(1);
    let tails = second.finals.iter().map(|end| end.tail.len());
    assert!(tails.max() < Some(20), "not the whole metalog");
    goes_on(&mut world, 2);
    world.run_for(300 * MS);
    assert_eq!(world.newest(), 2, "all new lives make one view");
    world.check();
}

#[test]
fn a_cluster_that_loses_power_without_syncing_says_that_it_cannot_go_on() {
    let mut world = running(Level::Memory);
    let all = world.all();
    for &node in &all {
        world.crash(node, true);
    }
    for &node in &all {
        world.start(node);
    }
    world.run_for(1_000 * MS);
    assert_eq!(world.newest(), 1);
    let said = world.notices.iter();
    let said: Vec<_> = said
        .filter(|(_, line)| line.contains("cannot end"))
        .collect();
    assert_eq!(said.len(), 1, "{:?}", world.notices);
}

#[test]
fn there_is_no_view_with_too_few_and_the_old_one_serves_on() {
    // Three storages that all keep everything.
    let mut config = config(Level::Memory);
    config.shape.metas = 4;
    let mut world = World::new(config, 3);
    world.start_all();
    goes_on(&mut world, 1);
    // A backup goes: four metalogs are wanted and three are left, which are a majority.
    world.crash(NodeId(103), true);
    world.run_for(500 * MS);
    assert_eq!(world.newest(), 1);
    let before = world.committed(1);
    world.run_for(50 * MS);
    assert!(world.committed(1) > before + 10, "it serves on");
    let said: Vec<_> = world
        .notices
        .iter()
        .map(|(_, line)| line.as_str())
        .collect();
    assert_eq!(
        said,
        ["no view after 1: 4 sequencers are needed for a view, and 3 live"]
    );
    world.start(NodeId(103));
    world.run_to(300 * MS, "view 2", |world| all_know(world, 2));
    goes_on(&mut world, 2);
    world.check();
}

#[test]
fn another_controller_finishes_what_one_began() {
    // The acting one fails at every moment of making a view: thirty of them, 60 us apart.
    let mut done = [0; 2];
    for moment in 0..30 {
        let mut world = running(Level::Memory);
        world.crash(NodeId(101), true);
        world.run_for(world.config.timing.dead_after - 20 * MS);
        let sealed = |world: &World| world.sent.contains_key("seal");
        world.run_to(50 * MS, "the seal", sealed);
        world.run_for(moment * 60 * US);
        world.crash(NodeId(1), true);
        done[usize::from(world.newest() == 2)] += 1;
        goes_on(&mut world, 2);
        world.check();
        world.start(NodeId(1));
        world.run_for(300 * MS);
        world.run_to(300 * MS, "all know", |world| {
            all_know(world, world.newest())
        });
        assert_eq!(world.newest(), 2, "it was done once, at {moment}");
        world.check();
    }
    assert!(
        done[0] > 3 && done[1] > 3,
        "before and after it was chosen: {done:?}"
    );
}

#[test]
fn controllers_on_both_sides_of_a_partition_agree() {
    let mut world = running(Level::Memory);
    // The lowest controller is alone with a primary. What is on its side cannot be sealed, nor be
    // committed.
    world.cut_off = [1, 100, 200].into_iter().map(NodeId).collect();
    goes_on(&mut world, 2);
    world.run_for(200 * MS);
    assert!(world.newest() == 2, "{}", world.newest());
    world.cut_off.clear();
    world.run_for(500 * MS);
    let newest = world.newest();
    world.run_to(300 * MS, "all know", |world| all_know(world, newest));
    assert_eq!(
        world.views().last().map(|view| view.sequencers.len()),
        Some(4)
    );
    goes_on(&mut world, newest);
    world.check();
}

#[test]
fn a_view_whose_numbers_run_out_is_ended_by_its_primary() {
    let mut world = running(Level::Memory);
    world.pace.set(0);
    world.run_to(100 * MS, "view 2", |world| world.newest() == 2);
    world.pace.set(300 * US);
    let says = |(_, line): &(NodeId, String)| line.contains(&FULL.to_string());
    assert!(world.notices.iter().any(says), "{:?}", world.notices);
    goes_on(&mut world, 2);
    world.check();
}

#[test]
fn damage_on_disk_is_noticed_and_told() {
    let mut world = running(Level::Synced);
    world.crash(NodeId(101), true);
    // One bit of an entry in the middle of log 0.
    let disk: &mut Disk = world.disk(NodeId(101));
    let mut keys = disk
        .durable
        .keys()
        .filter(|key| key.starts_with(b"entry\0\x01\0\0"));
    let key = keys.nth(5).expect("it kept more entries than this").clone();
    let value = disk.durable.get_mut(&key).expect("the key was found");
    value[7] ^= 4;
    world.start(NodeId(101));
    goes_on(&mut world, 2);
    world.run_for(50 * MS);
    let says = |(node, line): &(NodeId, String)| node.0 == 101 && line.contains("entry 5");
    assert!(world.notices.iter().any(says), "{:?}", world.notices);
    let log = world.sequencer(101).metalog(Term { view: 1, log: 0 });
    let log = log.expect("it kept log 0");
    assert_eq!(
        log.len(),
        world.views()[1].finals[0].entries,
        "it was repaired"
    );
    world.check();
}

#[test]
fn a_controller_that_has_lost_its_promise_takes_no_part_until_the_view_is_chosen() {
    let mut world = World::new(config(Level::Memory), 5);
    // Two of three controllers have a damaged register of the first view, so nobody can be sure of
    // what was promised in it: there is none, rather than two.
    let damaged = b"register\0\x01".to_vec();
    for node in [1, 2] {
        let disk: &mut Disk = world.disk(NodeId(node));
        disk.durable.insert(damaged.clone(), vec![1, 2, 3, 4, 5]);
    }
    world.start_all();
    world.run_for(400 * MS);
    assert_eq!(world.newest(), 0);
    let says = |(_, line): &&(NodeId, String)| line.contains("takes no part");
    assert_eq!(world.notices.iter().filter(says).count(), 2);

    // With one of three there is a majority without it, and it learns what they decide.
    let mut world = World::new(config(Level::Memory), 5);
    let disk: &mut Disk = world.disk(NodeId(2));
    disk.durable.insert(damaged, vec![1, 2, 3, 4, 5]);
    world.start_all();
    world.run_to(100 * MS, "view 1", |world| all_know(world, 1));
}

#[test]
fn a_long_storm() {
    // Messages are lost and repeated, nodes crash and come back, and in the end all is well.
    let seeds = 0..3;
    let mut views = 0;
    for seed in seeds {
        for level in [Level::Memory, Level::Synced] {
            let mut world = World::new(config(level), seed);
            world.weather = Weather { lost: 5, twice: 5 };
            world.start_all();
            world.run_to(500 * MS, "view 1", |world| world.newest() == 1);
            for _ in 0..12 {
                let all = world.all();
                let node = all[world.draw(all.len() as u64) as usize];
                let power = world.draw(2) == 0;
                world.crash(node, power);
                let away = world.draw(200 * MS);
                world.run_for(away);
                world.start(node);
                let calm = world.draw(250 * MS);
                world.run_for(calm);
                world.check();
            }
            world.weather = Weather::default();
            world.run_for(500 * MS);
            let newest = world.newest();
            world.run_to(300 * MS, "all know", |world| all_know(world, newest));
            goes_on(&mut world, newest);
            world.check();
            assert!(newest > 5, "{level:?} {seed}: {newest} views");
            views += newest;
        }
    }
    println!("{views} views");
}
