//! Servers that come and go.

mod mesh_world;

use mesh_world::aimed::{S1, S2, S3, doc, on_cluster};
use mesh_world::backing;
use mesh_world::trial;
use triptych_api::Change;
use triptych_mesh::sim::{SimMesh, lan};
use triptych_mesh::{Bugs, Clock, Config, Context, Key, Level, NodeBug, Reply, Request, WriteId};
use triptych_nodes::NodeId;
use triptych_world::{MS, Nanos, Options, SECOND, World};

async fn started(world: &World, servers: u16, level: Level) -> SimMesh {
    let (_, behind) = backing(world);
    let config = Config::of(servers, level);
    let mesh = SimMesh::start(world, config, lan(), Some(behind), Bugs::default());
    let mesh = mesh.expect("it can be");
    assert!(mesh.ready(10 * SECOND).await, "there is a ring");
    mesh
}

async fn wait(world: &World, most: Nanos, is: impl Fn() -> bool) -> Nanos {
    let begin = world.now();
    while !is() {
        assert!(world.now() < begin + most, "it takes too long");
        world.sleep(MS).await;
    }
    world.now() - begin
}

fn write(context: &Context, number: u64) -> Request {
    Request::Update {
        write: WriteId { client: 1, number },
        deps: context.deps.clone(),
        own: context.own.clone(),
        key: Key::new("docs", "a"),
        condition: None,
        changes: vec![Change::add("n", 1)],
    }
}

#[test]
fn a_dead_server_is_taken_off_the_ring_and_comes_back_on_a_slot_of_its_own() {
    World::simulate(3, Options::default(), |world| async move {
        let mesh = started(&world, 3, Level::Async).await;
        let slots = |mesh: &SimMesh| mesh.gauge(NodeId(2), "slot");
        let before = slots(&mesh);
        mesh.sim().kill(NodeId(2));
        let took = wait(&world, SECOND, || mesh.gauge(NodeId(1), "ring") == Some(2)).await;
        assert!(took < 300 * MS, "{took}");
        mesh.sim().restart(NodeId(2));
        assert!(mesh.ready(5 * SECOND).await, "it comes back");
        assert!(slots(&mesh) > before, "its slot is new");
    })
    .expect("there is always a next heartbeat");
}

#[test]
fn clients_go_on_elsewhere_with_what_they_depend_on() {
    World::simulate(4, Options::default(), |world| async move {
        let mesh = started(&world, 3, Level::Replicated).await;
        let mut context = Context::default();
        for number in 0..60 {
            if number == 20 {
                mesh.sim().kill(NodeId(1));
            }
            // Functions sit on hosts that live.
            let server = NodeId(if number < 20 {
                1
            } else {
                2 + (number % 2) as u16
            });
            let reply = mesh.port(server).ask(write(&context, number)).await;
            let Ok(Reply::Updated {
                updated,
                seen,
                version,
                stable,
            }) = reply
            else {
                panic!("{number}: {reply:?}");
            };
            assert_eq!(updated.sum, Some(number as i64 + 1), "every write is there");
            context.saw(&seen);
            context.wrote(version.expect("it was made"));
            context.is_stable(&stable);
        }
    })
    .expect("there is always a next heartbeat");
}

#[test]
fn one_that_is_cut_off_serves_nobody_and_comes_back() {
    World::simulate(5, Options::default(), |world| async move {
        let mesh = started(&world, 3, Level::Async).await;
        mesh.sim().partition(&[NodeId(1)], &[NodeId(2), NodeId(3)]);
        mesh.cut_store(NodeId(1), true);
        wait(&world, SECOND, || mesh.gauge(NodeId(2), "ring") == Some(2)).await;
        let read = Request::Read {
            deps: Clock::default(),
            own: Vec::new(),
            keys: vec![Key::new("docs", "a")],
        };
        let answer = mesh.port_only(NodeId(1)).ask(read.clone()).await;
        assert!(answer.is_err(), "{answer:?}");
        mesh.sim().heal_all();
        mesh.cut_store(NodeId(1), false);
        assert!(mesh.ready(5 * SECOND).await, "it comes back");
        let answer = mesh.port_only(NodeId(1)).ask(read).await;
        assert!(answer.is_ok(), "{answer:?}");
    })
    .expect("there is always a next heartbeat");
}

#[test]
fn a_server_that_cannot_reach_the_store_serves_on_while_it_hears_the_others() {
    World::simulate(6, Options::default(), |world| async move {
        let mesh = started(&world, 3, Level::Async).await;
        let read = Request::Read {
            deps: Clock::default(),
            own: Vec::new(),
            keys: vec![Key::new("docs", "a")],
        };
        assert!(mesh.port_only(NodeId(1)).ask(read.clone()).await.is_ok());
        mesh.cut_store(NodeId(1), true);
        world.sleep(SECOND).await;
        assert_eq!(mesh.gauge(NodeId(2), "ring"), Some(3));
        assert!(mesh.port_only(NodeId(1)).ask(read).await.is_ok());
    })
    .expect("there is always a next heartbeat");
}

/// A server makes its seat whole, and its answer does not come; the next that it hears of is the ring
/// after that one. At one of these times the answer is just on its way.
#[test]
fn a_server_that_missed_the_epoch_in_which_it_became_whole_keeps_its_copy() {
    for nth in 0..80 {
        let mut config = Config::of(3, Level::Async);
        config.timing.store_every = 3_600 * SECOND;
        let verdict = on_cluster(config, None, move |it| async move {
            let key = doc("a");
            it.warm(&key).await?;
            it.add(S1, &key).await?;
            it.comes_to(S2, &key, 1).await?;
            it.kill(S2);
            it.kill(S3);
            it.ring_of(S1, 1).await?;
            it.restart(S3);
            it.ring_of(S3, 2).await?;
            it.world.sleep(nth * MS / 2).await;
            it.mesh.cut_store(S3, true);
            it.mesh.sim().cut(&[S1, S2], &[S3]);
            // It joins: the ring changes again.
            it.restart(S2);
            it.ring_of(S2, 3).await?;
            it.world.sleep(5 * MS).await;
            it.heal();
            it.mesh.cut_store(S3, false);
            it.ready().await?;
            for server in [S1, S2, S3] {
                it.comes_to(server, &key, 1).await?;
            }
            Ok(())
        });
        assert_eq!(verdict, Ok(()), "{nth}");
    }
}

#[test]
fn defects_of_membership_are_seen() {
    for (bug, level) in [
        (NodeBug::ReusesSlot, Level::Synced),
        (NodeBug::NoRecirculation, Level::Async),
    ] {
        let found = trial::first_seen(bug, Some(level), 5);
        assert!(found.is_some(), "{bug:?} was not seen");
    }
}
