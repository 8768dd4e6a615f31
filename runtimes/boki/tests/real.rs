//! In real time functions run in processes of their own, and a model of a log in the memory of one is
//! no log for the others.

mod common;

use std::rc::Rc;
use triptych_api::Retries;
use triptych_boki::{deploy, deploy_on_model_log, deploy_with};
use triptych_faas::{PoolConfig, SimPool};
use triptych_log::{Conduct, ModelLog};
use triptych_site::{SERVERS, Site};
use triptych_store::{SimStore, StoreConfig};
use triptych_world::latency::Profile;
use triptych_world::{Options, World};

fn site(world: &World) -> Site {
    let profile = Profile::shipped("ec2-2021").unwrap();
    let store = SimStore::new(world, &profile, StoreConfig::default()).unwrap();
    let pool = SimPool::new(world, &profile, PoolConfig::for_profile(&profile)).unwrap();
    Site {
        world: world.clone(),
        store: Rc::new(store),
        platform: Rc::new(pool),
        app: Rc::new(common::app()),
        retries: Retries(0),
        timing: common::timing(),
        servers: SERVERS,
    }
}

#[test]
fn a_real_world_without_a_log_is_refused_and_one_with_a_log_is_not() {
    let prepared = World::run_real(1, Options::default(), |world| async move {
        let without = deploy_on_model_log(site(&world)).prepare().await;
        let log = Rc::new(ModelLog::new(&world, Conduct::default()));
        let with = deploy_with(site(&world), log, None).prepare().await;
        let cluster = deploy(site(&world)).prepare().await;
        ([without, cluster], with)
    });
    let (without, with) = prepared.expect("it starts");
    for refused in without.map(|refused| refused.expect_err("there is no log")) {
        assert!(refused.contains("boki needs a log"), "{refused}");
    }
    assert_eq!(with, Ok(()));
}
