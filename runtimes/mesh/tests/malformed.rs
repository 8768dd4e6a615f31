//! Requests that make no sense are answered so, by every server in whatever state, and it goes on.

mod mesh_world;

use mesh_world::aimed::{Cluster, S1, S2, S3, Verdict, doc, ensure, honest, on_cluster, simulate};
use std::sync::Arc;
use triptych_api::model::Path;
use triptych_api::{Change, Condition, Value};
use triptych_mesh::context::Own;
use triptych_mesh::sim::SimMesh;
use triptych_mesh::{
    Bugs, Clock, Config, Failure, Key, Level, Op, Request, Slot, Version, WriteId,
};
use triptych_nodes::NodeId;
use triptych_store::SimStore;
use triptych_world::{MS, Nanos};

/// More than anybody has written in these tests.
const NEVER_MADE: u64 = 1_000;

fn read(deps: Clock) -> Request {
    Request::Read {
        deps,
        own: Vec::new(),
        keys: vec![doc("a")],
    }
}

fn write(deps: Clock, own: Own, ops: Vec<(Key, Op)>) -> Request {
    Request::Write {
        write: WriteId {
            client: 66,
            number: 1,
        },
        deps,
        own,
        ops,
    }
}

fn put() -> Vec<(Key, Op)> {
    vec![(doc("a"), Op::Put(Value::Int(1)))]
}

fn update(deps: Clock, own: Vec<Arc<Version>>, condition: Option<Condition>) -> Request {
    Request::Update {
        write: WriteId {
            client: 66,
            number: 2,
        },
        deps,
        own,
        key: doc("a"),
        condition,
        changes: vec![Change::add("n", 1)],
    }
}

fn version(origin: u16, clock: Clock) -> Arc<Version> {
    Arc::new(Version {
        origin: Slot(origin),
        clock,
        write: WriteId {
            client: 66,
            number: 3,
        },
        ops: put(),
    })
}

fn at(slot: u16, number: u64) -> Clock {
    let mut clock = Clock::default();
    clock.raise(Slot(slot), number);
    clock
}

/// What is wrong whatever a server knows.
fn without_form() -> Vec<Request> {
    let nothing = Clock::default;
    let mut nested = Condition::Exists(Path::attr("x"));
    for _ in 0..60 {
        nested = Condition::Not(Box::new(nested));
    }
    let many = (0..2_000).map(|n| (doc(&n.to_string()), Op::Put(Value::Int(1))));
    let twice = put().into_iter().chain(put());
    let unnumbered = version(0, at(1, 5));
    vec![
        read(at(0, u64::MAX)),
        Request::Snapshot {
            deps: at(1, u64::MAX),
        },
        write(nothing(), Own::of(&[version(0, at(0, u64::MAX))]), put()),
        update(nothing(), vec![unnumbered], None),
        update(nothing(), Vec::new(), Some(nested)),
        write(nothing(), Own::default(), Vec::new()),
        write(nothing(), Own::default(), many.collect()),
        write(nothing(), Own::default(), twice.collect()),
    ]
}

/// What counts servers or versions that never were, on a ring of which these slots are alive.
fn made_up(alive: &[u16]) -> Vec<Request> {
    let nothing = Clock::default;
    let nowhere = || at(60_000, 1);
    let mut all = vec![
        read(nowhere()),
        Request::Snapshot { deps: nowhere() },
        update(nothing(), vec![version(60_000, nowhere())], None),
        write(nowhere(), Own::default(), put()),
    ];
    for &slot in alive {
        let never = || at(slot, NEVER_MADE);
        all.push(read(never()));
        all.push(write(never(), Own::default(), put()));
        all.push(update(never(), Vec::new(), None));
        all.push(Request::Snapshot { deps: never() });
        all.push(Request::ReadAt {
            snapshot: never(),
            own: Vec::new(),
            keys: vec![doc("a")],
        });
        let far = version(slot, at(slot, 1 << 40));
        all.push(write(nothing(), Own::of(&[far]), put()));
    }
    all
}

/// All of these servers refuse all of these requests, at once.
async fn refuse(it: &Cluster, servers: &[NodeId], requests: Vec<Request>, most: Nanos) -> Verdict {
    for request in requests {
        for &server in servers {
            let answer = it.ask(server, request.clone(), most).await;
            let refused = matches!(answer, Some(Err(Failure::Bad(_))));
            ensure(
                refused,
                &format!("{server} answers {answer:?} to {request:?}"),
            )?;
        }
    }
    Ok(())
}

async fn all_states(it: Cluster) -> Verdict {
    let key = doc("a");
    let all = [S1, S2, S3];
    it.add(S1, &key).await?;
    it.quiet().await?;
    let requests = || without_form().into_iter().chain(made_up(&[0, 1, 2]));
    refuse(&it, &all, requests().collect(), 20 * MS).await?;
    it.add(S2, &key).await?;
    it.comes_to(S3, &key, 2).await
}

#[test]
fn a_ring_in_front_of_a_store_refuses_what_makes_no_sense() {
    let verdict = on_cluster(Config::of(3, Level::Async), None, |it| async move {
        let all = [S1, S2, S3];
        let key = doc("a");
        it.add(S1, &key).await?;
        it.quiet().await?;
        let requests = || without_form().into_iter().chain(made_up(&[0, 1, 2]));
        refuse(&it, &all, requests().collect(), 200 * MS).await?;
        it.add(S2, &key).await?;
        it.comes_to(S3, &key, 2).await?;
        // A server is gone, and one is there that has a slot of its own.
        it.kill(S2);
        it.ring_of(S1, 2).await?;
        refuse(&it, &[S1, S3], without_form(), 200 * MS).await?;
        it.restart(S2);
        // While it has no data it refuses what has no form.
        it.until(|| it.mesh.gauge(S2, "epoch") > Some(0), "it is not there")
            .await?;
        refuse(&it, &[S2], without_form(), 200 * MS).await?;
        it.ready().await?;
        let slots = all.map(|server| it.mesh.gauge(server, "slot").unwrap_or(1) as u16 - 1);
        refuse(&it, &all, made_up(&slots), 200 * MS).await?;
        it.add(S2, &key).await?;
        it.comes_to(S1, &key, 3).await
    });
    assert_eq!(verdict, Ok(()));
}

#[test]
fn a_ring_in_front_of_a_node_refuses_what_makes_no_sense() {
    let verdict = simulate(|world| async move {
        let config = Config::of(3, Level::Synced);
        let mesh = SimMesh::start_on_database(&world, config, honest(), NodeId(9), Bugs::default());
        let mesh = mesh.map_err(|error| error.to_string())?;
        let it = Cluster::of(&world, mesh, empty(&world));
        it.ready().await?;
        all_states(it).await
    });
    assert_eq!(verdict, Ok(()));
}

#[test]
fn a_ring_that_never_changes_refuses_what_makes_no_sense() {
    let verdict = simulate(|world| async move {
        let config = Config::of(3, Level::Async);
        let mesh = SimMesh::start(&world, config, honest(), None, Bugs::default());
        let mesh = mesh.map_err(|error| error.to_string())?;
        let it = Cluster::of(&world, mesh, empty(&world));
        it.ready().await?;
        all_states(it).await
    });
    assert_eq!(verdict, Ok(()));
}

/// No store.
fn empty(world: &triptych_world::World) -> SimStore {
    mesh_world::backing(world).0
}
