//! What durability levels promise, and that defects of it are seen.

mod mesh_world;

use mesh_world::backing;
use mesh_world::trial::{self, Wish};
use std::rc::Rc;
use triptych_api::{Change, Value};
use triptych_mesh::sim::{SimMesh, lan};
use triptych_mesh::{Bugs, Clock, Config, Failure, Key, Level, Port, Reply, Request, WriteId};
use triptych_nodes::NodeId;
use triptych_world::{MS, Options, SECOND, World};

fn add(number: u64) -> Request {
    Request::Update {
        write: WriteId { client: 1, number },
        deps: Clock::default(),
        own: Vec::new(),
        key: Key::new("docs", "a"),
        condition: None,
        changes: vec![Change::add("n", 1)],
    }
}

async fn count(port: Rc<dyn Port>, deps: Clock) -> Result<i64, Failure> {
    let read = Request::Read {
        deps,
        own: Vec::new(),
        keys: vec![Key::new("docs", "a")],
    };
    match port.ask(read).await? {
        Reply::Read { seen, .. } => Ok(match &seen[0].value {
            Some(Value::Map(document)) => document["n"].as_int().unwrap_or(0),
            _ => 0,
        }),
        other => panic!("{other:?}"),
    }
}

/// Starts three servers, writes ten times, cuts all power, and starts them again. What is left.
fn after_a_blackout(level: Level, rest: u64) -> i64 {
    World::simulate(5, Options::default(), move |world| async move {
        let (_, behind) = backing(&world);
        let config = Config::of(3, level);
        let mesh = SimMesh::start(&world, config, lan(), Some(behind), Bugs::default());
        let mesh = mesh.expect("it can be");
        assert!(mesh.ready(10 * SECOND).await);
        for number in 0..10 {
            let server = mesh.servers()[number as usize % 3];
            let reply = mesh.port(server).ask(add(number)).await;
            assert!(matches!(reply, Ok(Reply::Updated { .. })), "{reply:?}");
        }
        world.sleep(rest).await;
        for &server in mesh.servers() {
            mesh.sim().kill(server);
        }
        world.sleep(10 * MS).await;
        for &server in mesh.servers() {
            mesh.sim().restart(server);
        }
        assert!(mesh.ready(20 * SECOND).await, "it comes back");
        assert!(mesh.quiet(20 * SECOND).await, "it settles");
        let count = count(mesh.port(NodeId(2)), Clock::default()).await;
        count.expect("nothing is asked for that was lost")
    })
    .expect("there is always a next heartbeat")
}

#[test]
fn what_is_synced_survives_a_blackout_and_counts_once() {
    for rest in [0, 3 * MS, 20 * MS, 150 * MS, SECOND] {
        assert_eq!(after_a_blackout(Level::Synced, rest), 10, "{rest}");
    }
}

#[test]
fn what_is_stored_survives_a_blackout_at_every_level() {
    for level in [Level::Async, Level::Replicated] {
        assert_eq!(after_a_blackout(level, SECOND), 10, "{level:?}");
        assert!(after_a_blackout(level, 0) < 10, "memory was lost");
    }
}

#[test]
fn whoever_depends_on_what_a_blackout_took_is_told() {
    World::simulate(5, Options::default(), |world| async move {
        let (_, behind) = backing(&world);
        let config = Config::of(3, Level::Async);
        let mesh = SimMesh::start(&world, config, lan(), Some(behind), Bugs::default());
        let mesh = mesh.expect("it can be");
        assert!(mesh.ready(10 * SECOND).await);
        let reply = mesh.port(NodeId(1)).ask(add(1)).await;
        let Ok(Reply::Updated { version, .. }) = reply else {
            panic!("{reply:?}");
        };
        let version = version.expect("it was made");
        // The dependency of somebody who has read it.
        let deps = version.clock.clone();
        world.sleep(3 * MS).await;
        for &server in mesh.servers() {
            mesh.sim().kill(server);
        }
        for &server in mesh.servers() {
            mesh.sim().restart(server);
        }
        assert!(mesh.ready(20 * SECOND).await, "it comes back");
        let told = count(mesh.port(NodeId(2)), deps).await;
        assert_eq!(told, Err(Failure::Lost(version.origin)));
    })
    .expect("there is always a next heartbeat");
}

#[test]
fn trials_at_each_level_lose_only_what_the_level_allows() {
    for level in Level::ALL {
        for seed in 100..103 {
            let wish = Wish {
                level: Some(level),
                ..Wish::default()
            };
            let outcome = trial::run_as(seed, wish);
            assert!(
                outcome.wrong.is_empty(),
                "{seed} {level:?} {:#?}",
                outcome.wrong
            );
        }
    }
}
