//! The simulated store in a world: when calls take effect, what they take, and what is counted.

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use triptych_model::{Action, Condition, Item, Name, Operand, Path, Value};
use triptych_store::{
    Key, Request, Response, Return, SimStore, Store, StoreConfig, StoreError, TableSchema, client,
};
use triptych_world::latency::Profile;
use triptych_world::{MS, Options, SECOND, World};

fn simulate<T: 'static, F: Future<Output = T> + 'static>(
    throttling: bool,
    body: impl FnOnce(World, SimStore) -> F,
) -> T {
    let done = World::simulate(11, Options::default(), |world| {
        let profile = Profile::shipped("aws-2020").unwrap();
        let config = StoreConfig {
            throttling,
            ..StoreConfig::default()
        };
        let store = SimStore::new(&world, &profile, config).unwrap();
        store
            .tables_mut()
            .create_table(TableSchema::new("table", "k"))
            .unwrap();
        body(world, store)
    });
    done.unwrap()
}

fn table() -> Name {
    Name::from("table")
}

fn item(value: Value) -> Item {
    [(Name::from("k"), Value::str("a")), (Name::from("v"), value)]
        .into_iter()
        .collect()
}

fn add(condition: Option<Condition>) -> Request {
    let v = || Path::attr("v");
    let plus = Operand::Plus(Box::new(Operand::PathOr(v(), Value::Int(0))), 1);
    Request::Update {
        table: table(),
        key: Key::hash("a"),
        update: vec![Action::Set(v(), plus)],
        condition,
        returns: Return::AllNew,
    }
}

#[test]
fn a_call_takes_effect_halfway_and_whatever_becomes_of_the_caller() {
    simulate(true, |world, store| async move {
        let scope = world.background_scope();
        let call = store.call(&scope, add(None));
        world.sleep(SECOND).await;
        assert_eq!(
            store.tables().stored_items(),
            0,
            "not sent before it is polled"
        );
        {
            let mut call = pin!(call);
            let pending = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(pending.is_pending());
            assert_eq!(store.tables().stored_items(), 0);
        }
        world.sleep(SECOND).await;
        assert_eq!(store.tables().stored_items(), 1);
        let sent = world.now();
        store.call(&scope, add(None)).await.unwrap();
        let took = world.now() - sent;
        assert!((3 * MS..60 * MS).contains(&took), "{took}");
        assert_eq!(store.work().store_calls["update"], 2);
    });
}

#[test]
fn the_same_operation_has_the_same_luck_whatever_happened_before() {
    let run = |before: u64| {
        simulate(true, move |world, store| async move {
            let other = world.background_scope();
            for _ in 0..before {
                store.call(&other, add(None)).await.unwrap();
            }
            let request = world.begin_request(5, 0);
            let scope = triptych_world::Scope::new(request, 3, triptych_world::Life::new());
            let sent = world.now();
            store.call(&scope, add(None)).await.unwrap();
            world.now() - sent
        })
    };
    assert_eq!(run(0), run(9));
}

#[test]
fn work_is_counted_as_a_bill_counts_it() {
    let work = simulate(true, |world, store| async move {
        let scope = world.background_scope();
        let never = Some(Condition::Any(vec![]));
        let refused = store.call(&scope, add(never)).await;
        assert_eq!(refused, Err(StoreError::ConditionFailed));
        store.call(&scope, add(None)).await.unwrap();
        let table = table();
        let found = client::get(&store, &scope, &table, Key::hash("a"), true)
            .await
            .unwrap();
        assert_eq!(found, Some(item(Value::Int(1))));
        client::get(&store, &scope, &table, Key::hash("b"), false)
            .await
            .unwrap();
        let missing = Name::from("none");
        let error = client::get(&store, &scope, &missing, Key::hash("b"), false).await;
        assert!(matches!(error, Err(StoreError::NoSuchTable(_))));
        store.work()
    });
    assert_eq!((work.read_half_units, work.write_units), (3, 2));
    assert_eq!(
        (work.store_calls["get"], work.store_calls["update"]),
        (3, 2)
    );
    assert_eq!(
        (work.store_condition_failures, work.store_throttled),
        (1, 0)
    );
    assert_eq!(
        (work.stored_items, work.stored_bytes),
        (1, 1 + 1 + 1 + 2 + 100)
    );
    assert!(work.store_bytes_in > 0 && work.store_bytes_out > 0);
}

#[test]
fn a_hot_key_is_throttled_without_effect() {
    for throttling in [true, false] {
        let (sum, work) = simulate(throttling, |world, store| async move {
            let sum = Rc::new(RefCell::new(0));
            let tasks: Vec<_> = (0..3_000)
                .map(|_| {
                    let (scope, store, sum) =
                        (world.background_scope(), store.clone(), Rc::clone(&sum));
                    world.spawn("caller", async move {
                        match store.call(&scope, add(None)).await {
                            Ok(_) => *sum.borrow_mut() += 1,
                            Err(error) => assert_eq!(error, StoreError::Throttled),
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await;
            }
            let scope = world.background_scope();
            world.sleep(SECOND).await;
            let found = client::get(&store, &scope, &table(), Key::hash("a"), true)
                .await
                .unwrap();
            let stored = found.unwrap()["v"].as_int().unwrap();
            assert_eq!(stored, *sum.borrow());
            (stored as u64, store.work())
        });
        assert_eq!((sum, work.write_units), (3_000 - work.store_throttled, sum));
        assert_eq!(throttling, work.store_throttled > 0);
    }
}

#[test]
fn large_and_nested_items_take_longer() {
    simulate(false, |world, store| async move {
        let time = async |value: Value| {
            let scope = world.background_scope();
            let request = Request::Put {
                table: table(),
                item: item(value),
                condition: None,
            };
            // The best of some, because every now and then a call is slow by itself.
            let mut best = u64::MAX;
            for _ in 0..20 {
                let sent = world.now();
                store.call(&scope, request.clone()).await.unwrap();
                best = best.min(world.now() - sent);
            }
            best
        };
        let small = time(Value::Null).await;
        let flat = time(Value::str("x".repeat(100 * 1024))).await;
        let nested = Value::list((0..100).map(|_| Value::str("x".repeat(1024))));
        let nested = time(nested).await;
        assert!(
            flat > small + 4 * MS && flat < small + 9 * MS,
            "{small} {flat}"
        );
        assert!(nested > small + 45 * MS, "{small} {nested}");
        let scope = world.background_scope();
        let sent = world.now();
        store.call(&scope, add(None)).await.unwrap_err();
        let read = client::get(&store, &scope, &table(), Key::hash("a"), true)
            .await
            .unwrap();
        assert!(read.is_some() && world.now() - sent > 40 * MS);
    });
}

#[test]
fn all_pages_of_a_scan() {
    simulate(true, |world, store| async move {
        let scope = world.background_scope();
        for key in 0..10 {
            let item = [(Name::from("k"), Value::str(format!("{key}")))]
                .into_iter()
                .collect();
            client::put(&store, &scope, &table(), item, None)
                .await
                .unwrap();
        }
        let scan = Request::Scan {
            table: table(),
            filter: None,
            projection: None,
            consistent: true,
            limit: Some(3),
            start: None,
        };
        let all = client::all_pages(&store, &scope, scan).await.unwrap();
        assert_eq!((all.len(), store.work().store_calls["scan"]), (10, 4));
        let batch = Request::BatchGet {
            keys: vec![(table(), Key::hash("3"))],
            consistent: true,
        };
        let answer = store.call(&scope, batch).await.unwrap();
        assert!(matches!(answer, Response::Items(items) if items.len() == 1));
    });
}

#[test]
fn a_profile_without_a_store_is_refused() {
    let done = World::simulate(1, Options::default(), |world| async move {
        let profile = Profile::shipped("ec2-lan").unwrap();
        SimStore::new(&world, &profile, StoreConfig::default()).is_err()
    });
    assert_eq!(done, Ok(true));
}
