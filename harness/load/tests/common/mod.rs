//! Beldi and BokiFlow with a seeded bug, or without one. Not every test needs both.

#![allow(dead_code)]

use std::rc::Rc;
use triptych_beldi::{Beldi, Bug, Config};
use triptych_faas::Deployment;
use triptych_registry::Site;
use triptych_world::SECOND;

pub(crate) fn beldi(site: Site, bug: Option<Bug>) -> Rc<dyn Deployment> {
    let Site {
        world,
        store,
        platform,
        app,
        retries,
        timing,
        ..
    } = site;
    let config = Config {
        bug,
        ..Config::paper(60 * SECOND, 60 * SECOND).with_gc(timing.gc_period, timing.t)
    };
    Rc::new(Beldi::new(world, store, platform, app, retries, config))
}

pub(crate) fn boki(site: Site, bug: Option<triptych_boki::Bug>) -> Rc<dyn Deployment> {
    triptych_boki::deploy_on_model_log_with(site, triptych_log::Conduct::default(), bug)
}
