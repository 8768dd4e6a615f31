//! Where the cache servers come from, and what can be asked of them all.

use crate::model::ModelRing;
use std::rc::Rc;
use triptych_api::State;
use triptych_cached::Told;
use triptych_faas::Gauges;
use triptych_site::{Site, tables};
use triptych_store::TableSchema;

/// Why nothing works in a world of real time.
const NO_SERVERS: &str = "causalmesh needs cache servers: in real time its functions run in processes \
                          of their own, and none are configured that they could share";

/// See the module documentation.
pub(crate) enum Source {
    /// A model in memory.
    Model(ModelRing),
    /// The world is a real one, and nobody has said where the servers are.
    None,
}

impl Source {
    pub(crate) fn tables(&self) -> Vec<TableSchema> {
        Vec::new()
    }

    pub(crate) async fn ready(&self) -> Told<()> {
        match self {
            Source::Model(_) => Ok(()),
            Source::None => Err(NO_SERVERS.to_owned()),
        }
    }

    pub(crate) async fn pending(&self) -> Told<u64> {
        match self {
            Source::Model(ring) => Ok(ring.pending()),
            Source::None => Ok(0),
        }
    }

    /// The rows of the store; once nothing is pending, every server has the same.
    pub(crate) async fn dump(&self, site: Rc<Site>) -> Told<State> {
        let mut state = tables::state(&site).await?;
        if let Source::Model(ring) = self {
            state.corrupt.extend(ring.differences(&state));
        }
        Ok(state)
    }

    pub(crate) fn counters(&self) -> Gauges {
        match self {
            Source::Model(ring) => ring.counters(),
            Source::None => Gauges::new(),
        }
    }

    pub(crate) async fn gauges(&self) -> Told<Gauges> {
        match self {
            Source::Model(ring) => Ok(ring.gauges()),
            Source::None => Ok(Gauges::new()),
        }
    }
}
