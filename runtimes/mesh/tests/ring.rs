//! The ring without failures.

use std::rc::Rc;
use triptych_api::{Change, Name, Value};
use triptych_mesh::backing::tables::TableBridge;
use triptych_mesh::sim::{Backing, SimMesh, lan};
use triptych_mesh::{Bugs, Clock, Config, Context, Key, Level, Reply, Request, WriteId};
use triptych_nodes::NodeId;
use triptych_store::{SimStore, Store, StoreConfig, TableSchema};
use triptych_world::latency::Profile;
use triptych_world::{Options, SECOND, World};

fn backing(world: &World) -> (SimStore, Backing) {
    let profile = Profile::shipped("aws-2025").expect("a shipped profile");
    let store = SimStore::new(world, &profile, StoreConfig::default()).expect("it has latencies");
    let mut tables = store.tables_mut();
    tables.create_table(TableSchema::new("docs", "K")).unwrap();
    tables.create_table(TableBridge::schema()).unwrap();
    drop(tables);
    let behind: Rc<dyn Store> = Rc::new(store.clone());
    let tables = vec![Name::from("docs")];
    (
        store,
        Backing {
            store: behind,
            tables,
        },
    )
}

#[test]
fn a_write_comes_round_and_into_the_store() {
    for level in Level::ALL {
        for servers in [1, 2, 3, 5] {
            if level == Level::Replicated && servers == 1 {
                continue;
            }
            World::simulate(7, Options::default(), move |world| async move {
                let (store, backing) = backing(&world);
                let config = Config::of(servers, level);
                let mesh = SimMesh::start(&world, config, lan(), Some(backing), Bugs::default());
                let mesh = mesh.expect("it can be");
                assert!(mesh.ready(10 * SECOND).await, "{level:?} {servers}");
                let mut context = Context::default();
                for number in 0..20 {
                    let server = NodeId(1 + (number % u64::from(servers)) as u16);
                    let port = mesh.port(server);
                    let update = Request::Update {
                        write: WriteId { client: 1, number },
                        deps: context.deps.clone(),
                        own: context.own.clone(),
                        key: Key::new("docs", "a"),
                        condition: None,
                        changes: vec![Change::add("n", 1)],
                    };
                    let reply = port.ask(update).await;
                    let Ok(Reply::Updated {
                        updated,
                        seen,
                        version,
                        stable,
                    }) = reply
                    else {
                        panic!("{reply:?}");
                    };
                    assert_eq!(updated.sum, Some(number as i64 + 1), "{level:?} {servers}");
                    context.saw(&seen);
                    context.wrote(version.expect("it was made"));
                    context.is_stable(&stable);
                }
                let quiet = mesh.quiet(10 * SECOND).await;
                let gauges: Vec<_> = mesh
                    .servers()
                    .iter()
                    .map(|&s| mesh.sim().gauges(s))
                    .collect();
                assert!(quiet, "{level:?} {servers} {gauges:?}");
                for &server in mesh.servers() {
                    let read = Request::Read {
                        deps: Clock::default(),
                        own: Vec::new(),
                        keys: vec![Key::new("docs", "a")],
                    };
                    let Ok(Reply::Read { seen, .. }) = mesh.port_only(server).ask(read).await
                    else {
                        panic!("no answer of {server}");
                    };
                    let value = Value::map([("n", Value::Int(20))]);
                    assert_eq!(seen[0].value, Some(value.clone()));
                    let tables = store.tables();
                    let (_, item) = tables.items("docs").next().expect("it was stored");
                    assert_eq!(item.get("V"), Some(&value));
                }
            })
            .expect("nobody waits for ever");
        }
    }
}
