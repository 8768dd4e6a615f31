//! The store behind the caches.

mod mesh_world;

use mesh_world::backing;
use triptych_api::{Change, Name, Value};
use triptych_mesh::backing::{KEY, VALUE};
use triptych_mesh::sim::{SimMesh, lan};
use triptych_mesh::{Bugs, Clock, Config, Key, Level, Reply, Request, WriteId};
use triptych_nodes::NodeId;
use triptych_store::Request as Call;
use triptych_world::{Options, SECOND, World};

fn read(keys: impl IntoIterator<Item = String>) -> Request {
    Request::Read {
        deps: Clock::default(),
        own: Vec::new(),
        keys: keys.into_iter().map(|key| Key::new("docs", &key)).collect(),
    }
}

#[test]
fn data_that_were_there_before_are_found_and_changed_in_place() {
    World::simulate(1, Options::default(), |world| async move {
        let (store, behind) = backing(&world);
        let document = Value::map([("n", Value::Int(41))]);
        let item = [(KEY, Value::str("a")), (VALUE, document)];
        let item = item.map(|(name, value)| (Name::from(name), value)).into();
        let put = Call::Put {
            table: Name::from("docs"),
            item,
            condition: None,
        };
        store
            .tables_mut()
            .apply(&put)
            .0
            .expect("the table is there");
        let config = Config::of(3, Level::Async);
        let mesh = SimMesh::start(&world, config, lan(), Some(behind), Bugs::default());
        let mesh = mesh.expect("it can be");
        assert!(mesh.ready(10 * SECOND).await);
        let add = Request::Update {
            write: WriteId {
                client: 1,
                number: 1,
            },
            deps: Clock::default(),
            own: Vec::new(),
            key: Key::new("docs", "a"),
            condition: None,
            changes: vec![Change::add("n", 1)],
        };
        let reply = mesh.port(NodeId(1)).ask(add).await;
        let Ok(Reply::Updated { updated, .. }) = reply else {
            panic!("{reply:?}");
        };
        assert_eq!(updated.sum, Some(42));
        assert!(mesh.quiet(10 * SECOND).await);
        let tables = store.tables();
        let (_, item) = tables.items("docs").next().expect("it is there");
        assert_eq!(item[VALUE], Value::map([("n", Value::Int(42))]));
    })
    .expect("there is always a next heartbeat");
}

#[test]
fn a_bound_on_keys_is_kept_and_forgotten_keys_come_back() {
    World::simulate(2, Options::default(), |world| async move {
        let (_, behind) = backing(&world);
        let mut config = Config::of(2, Level::Async);
        config.limits.cache_keys = 10;
        let mesh = SimMesh::start(&world, config, lan(), Some(behind), Bugs::default());
        let mesh = mesh.expect("it can be");
        assert!(mesh.ready(10 * SECOND).await);
        let port = mesh.port(NodeId(1));
        for number in 0..100 {
            let set = Request::Update {
                write: WriteId { client: 1, number },
                deps: Clock::default(),
                own: Vec::new(),
                key: Key::new("docs", &number.to_string()),
                condition: None,
                changes: vec![Change::add("n", number as i64)],
            };
            assert!(port.ask(set).await.is_ok());
        }
        assert!(mesh.quiet(10 * SECOND).await);
        for number in 0..100 {
            let asked = port.ask(read([number.to_string()])).await;
            let Ok(Reply::Read { seen, .. }) = asked else {
                panic!("{asked:?}");
            };
            let value = Value::map([("n", Value::Int(number))]);
            assert_eq!(seen[0].value, Some(value));
        }
        for &server in mesh.servers() {
            let keys = mesh.gauge(server, "keys").expect("it is up");
            assert!(keys <= 20, "{server} has {keys}");
        }
        // More at once than there is room for.
        let asked = port.ask(read((0..50).map(|n: u64| n.to_string()))).await;
        assert!(asked.is_ok(), "{asked:?}");
    })
    .expect("there is always a next heartbeat");
}

#[test]
fn a_miss_makes_nobody_else_wait() {
    World::simulate(3, Options::default(), |world| async move {
        let (_, behind) = backing(&world);
        let config = Config::of(2, Level::Async);
        let mesh = SimMesh::start(&world, config, lan(), Some(behind), Bugs::default());
        let mesh = mesh.expect("it can be");
        assert!(mesh.ready(10 * SECOND).await);
        let port = mesh.port(NodeId(1));
        assert!(port.ask(read(["here".to_owned()])).await.is_ok());
        let begin = world.now();
        let missing = world.spawn("client", {
            let (port, world) = (mesh.port(NodeId(1)), world.clone());
            async move {
                let answer = port.ask(read(["missing".to_owned()])).await;
                assert!(answer.is_ok());
                world.now()
            }
        });
        assert!(port.ask(read(["here".to_owned()])).await.is_ok());
        let here = world.now() - begin;
        let missed = missing.await - begin;
        assert!(here * 5 < missed, "{here} {missed}");
    })
    .expect("there is always a next heartbeat");
}
