//! Apps on Beldi in a small simulated cloud.

use std::rc::Rc;
use triptych_api::{App, Function, Handler, Retries};
use triptych_beldi::{Beldi, Config};
use triptych_faas::{Platform, PoolConfig, SimPool};
use triptych_model::{Name, Value};
use triptych_store::{SimStore, Store, StoreConfig};
use triptych_world::World;
use triptych_world::latency::Profile;

/// An app of these functions: name, tables, handler.
pub(crate) fn app_of(functions: Vec<(&str, &[&str], Handler)>) -> App {
    let function = |(name, tables, handler): (&str, &[&str], Handler)| Function {
        name: Name::from(name),
        tables: tables.iter().copied().map(Name::from).collect(),
        handler,
        reads: |_| None,
    };
    App {
        name: "test",
        functions: functions.into_iter().map(function).collect(),
        workflows: Vec::new(),
        kinds: Vec::new(),
        elements: |_, _| None,
        observe: |_, _, _| Value::Null,
        rules: |_| (Vec::new(), Default::default()),
    }
}

/// A small cloud with an app on Beldi in it.
#[allow(dead_code)]
pub(crate) fn place(world: &World, app: App, config: Config) -> (SimPool, Rc<Beldi>) {
    let (_, pool, beldi) = place_on(world, app, config);
    (pool, beldi)
}

/// The same, and its store.
#[allow(dead_code)]
pub(crate) fn place_on(world: &World, app: App, config: Config) -> (SimStore, SimPool, Rc<Beldi>) {
    place_behind(world, app, config, |store| store)
}

/// The same with something between Beldi and the store.
pub(crate) fn place_behind(
    world: &World,
    app: App,
    config: Config,
    between: impl FnOnce(Rc<dyn Store>) -> Rc<dyn Store>,
) -> (SimStore, SimPool, Rc<Beldi>) {
    let profile = Profile::shipped("ec2-2021").unwrap();
    let store = SimStore::new(world, &profile, StoreConfig::default()).unwrap();
    let pool = SimPool::new(world, &profile, PoolConfig::for_profile(&profile)).unwrap();
    let platform: Rc<dyn Platform> = Rc::new(pool.clone());
    let beldi = Rc::new(Beldi::new(
        world.clone(),
        between(Rc::new(store.clone())),
        platform,
        Rc::new(app),
        Retries(20),
        config,
    ));
    (store, pool, beldi)
}
