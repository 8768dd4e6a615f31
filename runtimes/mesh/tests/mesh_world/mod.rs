//! Clusters under faults, and a judge of what their clients saw.
#![allow(dead_code)]

pub(crate) mod aimed;
pub(crate) mod chaos;
pub(crate) mod client;
pub(crate) mod judge;
pub(crate) mod trial;

use std::rc::Rc;
use triptych_api::Name;
use triptych_mesh::backing::tables::TableBridge;
use triptych_mesh::sim::Backing;
use triptych_store::{SimStore, Store, StoreConfig, TableSchema};
use triptych_world::World;
use triptych_world::latency::Profile;

/// The one table.
pub(crate) const TABLE: &str = "docs";

/// A store with the tables that a cluster needs.
pub(crate) fn backing(world: &World) -> (SimStore, Backing) {
    let profile = Profile::shipped("aws-2025").expect("a shipped profile");
    let config = StoreConfig {
        throttling: false,
        ..StoreConfig::default()
    };
    let store = SimStore::new(world, &profile, config).expect("it has latencies");
    for schema in [TableSchema::new(TABLE, "K"), TableBridge::schema()] {
        let made = store.tables_mut().create_table(schema);
        made.expect("there is no such table yet");
    }
    let behind: Rc<dyn Store> = Rc::new(store.clone());
    let tables = vec![Name::from(TABLE)];
    let backing = Backing {
        store: behind,
        tables,
    };
    (store, backing)
}
