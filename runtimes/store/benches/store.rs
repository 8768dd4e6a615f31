//! How many simulated store calls run per second of wall time: 1,000 tasks over 10,000 items, with
//! latencies, throttling and counters. The mix is 40 % reads, 30 % updates, 20 % conditional
//! updates and 10 % queries of two items.

use criterion::{Criterion, Throughput};
use std::hint::black_box;
use triptych_model::{Action, Condition, Item, Name, Operand, Path, Value};
use triptych_store::{Key, Request, Return, SimStore, Store, StoreConfig, TableSchema};
use triptych_world::latency::Profile;
use triptych_world::{Options, World};

const TASKS: u64 = 1_000;
const CALLS: u64 = 200;
const KEYS: u64 = 10_000;

fn request(table: &Name, draw: u64) -> Request {
    let at = draw / 100 % KEYS;
    let hash = Value::str(format!("user-{}", at / 2));
    let key = Key {
        hash: hash.clone(),
        range: Some(Value::str(format!("{}", at % 2))),
    };
    let counter = || Path::attr("counter");
    let add = || Operand::Plus(Box::new(Operand::PathOr(counter(), Value::Int(0))), 1);
    let table = table.clone();
    match draw % 10 {
        0..4 => Request::Get {
            table,
            key,
            projection: None,
            consistent: true,
        },
        4..7 => {
            let update = vec![Action::Set(counter(), add())];
            Request::Update {
                table,
                key,
                update,
                condition: None,
                returns: Return::None,
            }
        }
        7..9 => {
            let update = vec![Action::Set(counter(), add())];
            let condition = Some(Condition::Absent(Path::attr("log").field("x")));
            Request::Update {
                table,
                key,
                update,
                condition,
                returns: Return::AllNew,
            }
        }
        _ => Request::Query {
            table,
            index: None,
            hash,
            range_below: None,
            filter: None,
            projection: None,
            consistent: true,
            limit: None,
            start: None,
        },
    }
}

fn run() -> u64 {
    let profile = Profile::shipped("aws-2020").expect("a shipped profile");
    let done = World::simulate(7, Options::default(), move |world| async move {
        let config = StoreConfig {
            throttling: true,
            ..StoreConfig::default()
        };
        let store = SimStore::new(&world, &profile, config).expect("the profile has a store");
        let table = Name::from("users");
        let schema = TableSchema::new(&table, "k").with_range("r");
        store.create_table(schema).await.expect("a new table");
        for at in 0..KEYS {
            let item: Item = [
                ("k", Value::str(format!("user-{}", at / 2))),
                ("r", Value::str(format!("{}", at % 2))),
                ("name", Value::str("a name of ordinary length")),
                ("counter", Value::Int(0)),
                ("log", Value::map([("y", Value::Bool(true))])),
            ]
            .into_iter()
            .map(|(name, value)| (Name::from(name), value))
            .collect();
            let put = Request::Put {
                table: table.clone(),
                item,
                condition: None,
            };
            store
                .tables_mut()
                .apply(&put)
                .0
                .expect("the item is stored");
        }
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let (store, table) = (store.clone(), table.clone());
                let scope = world.background_scope();
                let mut random = world.keyed(task);
                world.spawn("caller", async move {
                    for _ in 0..CALLS {
                        let request = request(&table, random.bits() >> 1);
                        black_box(store.call(&scope, request).await).ok();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        store.work().store_calls.values().sum()
    });
    done.expect("no deadlock")
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sim_store");
    group.throughput(Throughput::Elements(TASKS * CALLS));
    group.sample_size(10);
    group.bench_function("mixed_calls", |bencher| {
        bencher.iter(|| assert_eq!(run(), TASKS * CALLS));
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    bench(&mut criterion);
    criterion.final_summary();
}
