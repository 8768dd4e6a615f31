//! What is done to a cluster in a trial.
//!
//! Whatever it does, chaos leaves enough to work with, so that what is lost is lost by a mistake: of
//! each role it kills one node at a time, and the next only when the cluster has got over it. At the
//! synced level it may take the power from all at once.

use super::{Plan, stream};
use std::collections::BTreeMap;
use triptych_log::Role;
use triptych_log::sim::{SimCluster, lan};
use triptych_nodes::NodeId;
use triptych_nodes::sim::Path;
use triptych_world::{MS, Nanos, Random, World};

pub(super) struct Chaos {
    world: World,
    cluster: SimCluster,
    plan: Plan,
    random: Random,
    counts: BTreeMap<&'static str, u64>,
    /// Nodes that are down, and when they come back.
    down: Vec<(NodeId, Nanos)>,
    /// When cut links heal.
    heals: Option<Nanos>,
}

impl Chaos {
    pub(super) fn new(world: &World, cluster: &SimCluster, plan: &Plan) -> Self {
        Chaos {
            random: stream(world, "chaos", 0),
            world: world.clone(),
            cluster: cluster.clone(),
            plan: plan.clone(),
            counts: BTreeMap::new(),
            down: Vec::new(),
            heals: None,
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Hurts the cluster until a point in time, then heals everything. What was done, by name.
    pub(super) async fn until(mut self, until: Nanos) -> Vec<(&'static str, u64)> {
        self.network(self.plan.loss, self.plan.twice);
        while self.world.now() < until {
            let pause = self.random.exponential(self.plan.every as f64) as Nanos;
            let next = self.world.now() + pause;
            while self.world.now() < next.min(until) {
                self.recover(false);
                self.world.sleep(5 * MS).await;
            }
            match self.random.below(10) {
                0..6 if self.plan.kills => self.kill(),
                6..9 if self.plan.cuts => self.cut(),
                9 if self.plan.power => self.power(),
                _ => {}
            }
        }
        self.network(0.0, 0.0);
        self.recover(true);
        self.counts.into_iter().collect()
    }

    /// Starts again what was down long enough, and heals what was cut long enough.
    fn recover(&mut self, all: bool) {
        let now = self.world.now();
        let due = |at: Nanos| all || at <= now;
        let back: Vec<NodeId> = self
            .down
            .extract_if(.., |(_, at)| due(*at))
            .map(|(node, _)| node)
            .collect();
        for node in back {
            self.cluster.sim().restart(node);
            self.count("restarts");
        }
        if self.heals.is_some_and(due) {
            self.cluster.sim().heal_all();
            self.heals = None;
        }
    }

    /// Whether all nodes that are up know one view and it is complete.
    fn is_settled(&self) -> bool {
        if !self.down.is_empty() || self.heals.is_some() {
            return false;
        }
        let config = self.cluster.config();
        let newest = |role: Role| {
            let nodes = config
                .nodes()
                .into_iter()
                .filter(move |&(of, _)| of == role);
            let views = nodes.map(|(_, node)| self.cluster.gauge(node, "view").unwrap_or(0));
            views.collect::<Vec<_>>()
        };
        let views = [
            Role::Engine,
            Role::Storage,
            Role::Sequencer,
            Role::Controller,
        ]
        .map(newest);
        let mut all = views.into_iter().flatten();
        let first = all.next().unwrap_or(0);
        let complete = config
            .storages
            .iter()
            .all(|&storage| self.cluster.gauge(storage, "complete") == Some(first));
        let member = config.nodes().into_iter().all(|(role, node)| {
            role == Role::Controller || self.cluster.gauge(node, "member") == Some(1)
        });
        complete && member && all.all(|view| view == first)
    }

    fn kill(&mut self) {
        if !self.is_settled() {
            return;
        }
        let config = self.cluster.config();
        let (shape, roles) = (config.shape, config.nodes());
        let enough = |role: Role| match role {
            // With one of a kind, nothing works until it is back; and what it knew must survive it.
            Role::Controller | Role::Engine => true,
            Role::Sequencer => shape.metas >= 3 || self.plan.power,
            Role::Storage => shape.copies >= 2,
        };
        let candidates: Vec<_> = roles
            .into_iter()
            .filter(|&(role, _)| enough(role))
            .collect();
        let (role, node) = candidates[self.random.below(candidates.len() as u64) as usize];
        self.cluster.sim().kill(node);
        // Shorter and longer than it takes to notice.
        let away = 10 * MS + self.random.below(400) * MS;
        self.down.push((node, self.world.now() + away));
        self.count(match role {
            Role::Controller => "controllers killed",
            Role::Sequencer => "sequencers killed",
            Role::Storage => "storages killed",
            Role::Engine => "engines killed",
        });
        if role == Role::Storage && self.plan.rot && self.random.chance(0.5) {
            let any = self.random.bits();
            let rotten = self.cluster.sim().with_store(node, |store| store.rot(any));
            if rotten.flatten().is_some() {
                self.count("values rotten");
            }
        }
    }

    /// How links lose and double what they carry from now on.
    fn network(&self, loss: f64, duplication: f64) {
        let network = lan().network;
        self.cluster.sim().set_network(Path {
            loss,
            duplication,
            reorder: duplication,
            ..network
        });
    }

    fn cut(&mut self) {
        if self.heals.is_some() {
            return;
        }
        let nodes: Vec<NodeId> = self
            .cluster
            .config()
            .nodes()
            .into_iter()
            .map(|(_, node)| node)
            .collect();
        let (mut left, mut right) = (Vec::new(), Vec::new());
        let share = self.random.unit();
        for node in nodes {
            match self.random.chance(share) {
                true => left.push(node),
                false => right.push(node),
            }
        }
        self.cluster.sim().cut(&left, &right);
        if self.random.chance(0.7) {
            self.cluster.sim().cut(&right, &left);
        }
        let for_so_long = 5 * MS + self.random.below(400) * MS;
        self.heals = Some(self.world.now() + for_so_long);
        self.count("partitions");
    }

    /// All at once: what is left is what was synced.
    fn power(&mut self) {
        let down: Vec<NodeId> = self.down.iter().map(|&(node, _)| node).collect();
        let back = self.world.now() + 10 * MS + self.random.below(100) * MS;
        for (_, node) in self.cluster.config().nodes() {
            if !down.contains(&node) {
                self.cluster.sim().kill(node);
                self.down.push((node, back));
            }
        }
        self.count("power losses");
    }
}
