//! Whoever does harm to a cluster: kills, partitions, stalls, a store out of reach, a bad network.

use super::trial::DATABASE;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use triptych_mesh::sim::SimMesh;
use triptych_nodes::NodeId;
use triptych_nodes::sim::Path;
use triptych_world::{MS, Nanos, Random, SECOND, World};

/// The harm that was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Harm {
    pub(crate) kills: u64,
    /// Servers that were killed and started again.
    pub(crate) restarts: u64,
    /// Servers that were cut off from the others.
    pub(crate) partitions: u64,
    pub(crate) stalls: u64,
    /// Servers that were cut off from the store, and kills of the node that keeps the rows.
    pub(crate) store_cuts: u64,
    pub(crate) database_kills: u64,
    /// Times that the network became worse, or better.
    pub(crate) weathers: u64,
}

impl Harm {
    pub(crate) fn add(&mut self, more: &Harm) {
        self.kills += more.kills;
        self.restarts += more.restarts;
        self.partitions += more.partitions;
        self.stalls += more.stalls;
        self.store_cuts += more.store_cuts;
        self.database_kills += more.database_kills;
        self.weathers += more.weathers;
    }
}

/// Whoever does harm.
pub(crate) struct Chaos {
    pub(crate) world: World,
    pub(crate) mesh: SimMesh,
    pub(crate) random: Random,
    pub(crate) over: Rc<Cell<bool>>,
    /// One failure at a time, and the next one only when all is well again.
    pub(crate) gentle: bool,
    /// Whether a node keeps the rows.
    pub(crate) database: bool,
    pub(crate) quietly: Path,
    pub(crate) harm: Rc<RefCell<Harm>>,
}

impl Chaos {
    fn gauge(&self, server: NodeId, name: &str) -> u64 {
        self.mesh.gauge(server, name).unwrap_or(0)
    }

    /// Whether the data survive without some servers: another one that is whole is on the newest
    /// ring, and nobody is cut off.
    fn can_spare(&self, victims: &[NodeId]) -> bool {
        let servers = self.mesh.servers().iter().copied();
        let newest = servers.clone().map(|server| self.gauge(server, "epoch"));
        let newest = newest.max().unwrap_or(0);
        let mut others = servers.filter(|server| !victims.contains(server));
        others
            .any(|server| self.gauge(server, "whole") == 1 && self.gauge(server, "epoch") == newest)
    }

    async fn pause(&mut self, most: Nanos) {
        let span = self.random.below(most);
        self.world.sleep(span).await;
    }

    fn did(&self, count: impl Fn(&mut Harm) -> &mut u64) {
        *count(&mut self.harm.borrow_mut()) += 1;
    }

    pub(crate) async fn run(mut self) {
        let mut killed = BTreeSet::new();
        let mut parted = false;
        while !self.over.get() {
            self.pause(150 * MS).await;
            let servers = self.mesh.servers().to_vec();
            let victim = servers[self.random.below(servers.len() as u64) as usize];
            let kind = self.random.below(8);
            if self.gentle && kind < 4 {
                // What was hurt before has been noticed, and has come back.
                self.heal(&mut killed);
                parted = false;
                self.world.sleep(700 * MS).await;
                self.mesh.ready(10 * SECOND).await;
                self.world.sleep(100 * MS).await;
            }
            match kind {
                0 | 1 => {
                    if self.can_spare(&[victim]) && !parted {
                        self.mesh.sim().kill(victim);
                        self.did(|harm| &mut harm.kills);
                        killed.insert(victim);
                    }
                }
                2 => {
                    if self.can_spare(&[victim]) && killed.is_empty() {
                        let others = servers.iter().copied().filter(|&other| other != victim);
                        let others: Vec<NodeId> = others.collect();
                        self.mesh.sim().partition(&[victim], &others);
                        parted = true;
                        self.did(|harm| &mut harm.partitions);
                        if self.random.below(3) == 0 {
                            self.mesh.cut_store(victim, true);
                            self.did(|harm| &mut harm.store_cuts);
                            self.mesh.sim().partition(&[victim], &[DATABASE]);
                        }
                    }
                }
                3 => {
                    if self.can_spare(&[victim]) {
                        let span = self.random.below(300) * MS;
                        self.mesh.sim().stall(victim, span);
                        self.did(|harm| &mut harm.stalls);
                    }
                }
                4 if self.database => {
                    self.mesh.sim().kill(DATABASE);
                    self.did(|harm| &mut harm.database_kills);
                    killed.insert(DATABASE);
                }
                4 => {
                    let cut = self.random.below(2) == 0;
                    self.mesh.cut_store(victim, cut);
                    if cut {
                        self.did(|harm| &mut harm.store_cuts);
                    }
                }
                5 => {
                    let rate = self.random.below(8) as f64 / 100.0;
                    let path = Path {
                        loss: rate,
                        duplication: rate,
                        reorder: rate,
                        ..self.quietly
                    };
                    self.mesh.sim().set_network(path);
                    self.did(|harm| &mut harm.weathers);
                }
                _ => {
                    self.restart(&mut killed);
                    self.mesh.sim().heal_all();
                    parted = false;
                }
            }
        }
        self.heal(&mut killed);
        self.mesh.sim().set_network(self.quietly);
        self.mesh.ready(20 * SECOND).await;
    }

    fn restart(&self, killed: &mut BTreeSet<NodeId>) {
        for server in std::mem::take(killed) {
            self.mesh.sim().restart(server);
            self.did(|harm| &mut harm.restarts);
        }
    }

    fn heal(&mut self, killed: &mut BTreeSet<NodeId>) {
        self.restart(killed);
        self.mesh.sim().heal_all();
        for &server in self.mesh.servers() {
            self.mesh.cut_store(server, false);
        }
    }
}
