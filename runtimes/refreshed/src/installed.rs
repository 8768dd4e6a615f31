//! The caches of an installation: a cluster in its world, and the way to it from every host.

use crate::client::{Answer, NO_SERVERS, Servers};
use crate::cluster::{Cluster, Replica, dump, sums};
use crate::wire::{Part, Wire};
use std::rc::Rc;
use triptych_api::State;
use triptych_cached::{Caches, Told};
use triptych_faas::Gauges;
use triptych_nodes::Node;
use triptych_site::Site;

/// What is worth knowing of a system's servers.
pub struct Watched<Q: Part, A: Part, P: Part, S> {
    /// How much they have not done yet: what is to be fetched or written, and what was written and is
    /// not known everywhere.
    pub pending: fn(&Cluster<Q, A, P, S>) -> u64,
    /// Gauges of nodes that only grow.
    pub counters: &'static [&'static str],
    /// Gauges of what they keep at the moment.
    pub gauges: &'static [&'static str],
}

/// See the module documentation. Without a cluster nothing works, and [`Caches::prepare`] says so.
pub struct Installed<Q: Part, A: Part, P: Part, S> {
    cluster: Option<Cluster<Q, A, P, S>>,
    ports: Servers<Q, A>,
    watched: Watched<Q, A, P, S>,
}

impl<Q: Part, A: Answer, P: Part, S> Installed<Q, A, P, S> {
    /// Starts servers beside a site, if its world has virtual time.
    pub fn start(
        site: &Site,
        start: impl FnOnce() -> Cluster<Q, A, P, S>,
        watched: Watched<Q, A, P, S>,
    ) -> Self {
        let cluster = site.world.is_virtual().then(start);
        Installed {
            ports: Servers::of(cluster.as_ref()),
            cluster,
            watched,
        }
    }

    /// The servers, to be looked at and hurt.
    pub fn cluster(&self) -> Option<&Cluster<Q, A, P, S>> {
        self.cluster.as_ref()
    }

    /// The ways to them.
    pub fn ports(&self) -> &Servers<Q, A> {
        &self.ports
    }

    fn sums(&self, names: &[&'static str]) -> Gauges {
        let cluster = self.cluster.as_ref();
        cluster.map_or_else(Gauges::new, |cluster| sums(cluster, names))
    }
}

impl<Q, A, P, S> Caches for Installed<Q, A, P, S>
where
    Q: Part,
    A: Answer,
    P: Part,
    S: Node<Message = Wire<Q, A, P>> + Replica + 'static,
{
    fn servers(&self) -> usize {
        self.ports.0.len().max(1)
    }

    async fn prepare(&self) -> Told<()> {
        match &self.cluster {
            Some(_) => Ok(()),
            None => Err(NO_SERVERS.to_owned()),
        }
    }

    async fn pending(&self) -> Told<u64> {
        Ok(self.cluster.as_ref().map_or(0, self.watched.pending))
    }

    async fn dump(&self, site: Rc<Site>) -> Told<State> {
        dump(self.cluster.as_ref(), &site).await
    }

    fn counters(&self) -> Gauges {
        self.sums(self.watched.counters)
    }

    async fn gauges(&self) -> Told<Gauges> {
        Ok(self.sums(self.watched.gauges))
    }
}
