//! The network of a simulated cluster: when packets arrive, and whether.
//!
//! What happens to the n-th packet from one place to another is drawn from the seed, the two places
//! and n, so that traffic elsewhere shifts nothing.

use super::config::Path;
use crate::{Nanos, NodeId, Peer};
use std::collections::{BTreeMap, BTreeSet};
use triptych_world::latency::Dist;
use triptych_world::{Random, SECOND, mix, mix_str};

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    /// On the host of a node: near that node, and cut off from others when the node is.
    With(NodeId),
    /// Somewhere else, with a latency to every node (one way). Nobody cuts it off.
    Away(Dist),
}

/// One end of a way.
#[derive(Clone, Copy)]
pub(super) struct End {
    pub(super) peer: Peer,
    pub(super) place: Place,
}

impl End {
    pub(super) fn node(id: NodeId) -> Self {
        End {
            peer: Peer::Node(id),
            place: Place::With(id),
        }
    }

    fn host(&self) -> Option<NodeId> {
        match self.place {
            Place::With(host) => Some(host),
            Place::Away(_) => None,
        }
    }
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is lost.
    Lost,
    /// It arrives.
    At(Nanos),
    /// It arrives twice.
    Twice(Nanos, Nanos),
}

/// One way between two peers.
struct Link {
    key: u64,
    packets: u64,
    path: Path,
    /// Both are on one host.
    local: bool,
    /// When the last packet that is not overtaken arrives.
    last: Nanos,
}

/// See the module documentation.
pub(super) struct Net {
    seed: u64,
    network: Path,
    local: Path,
    bandwidth: u64,
    /// Ways between hosts that are unlike the others.
    paths: BTreeMap<(NodeId, NodeId), Path>,
    cuts: BTreeSet<(NodeId, NodeId)>,
    links: BTreeMap<(Peer, Peer), Link>,
    /// Until when hosts are busy sending.
    sending: BTreeMap<NodeId, Nanos>,
}

impl Net {
    pub(super) fn new(seed: u64, network: Path, local: Path, bandwidth: u64) -> Self {
        Net {
            seed: mix_str(seed, "packets"),
            network,
            local,
            bandwidth: bandwidth.max(1),
            paths: BTreeMap::new(),
            cuts: BTreeSet::new(),
            links: BTreeMap::new(),
            sending: BTreeMap::new(),
        }
    }

    fn path(&self, from: &End, to: &End) -> (Path, bool) {
        match (from.place, to.place) {
            (Place::With(a), Place::With(b)) if a == b => (self.local, true),
            (Place::With(a), Place::With(b)) => {
                let path = self.paths.get(&(a, b));
                (path.copied().unwrap_or(self.network), false)
            }
            (Place::Away(latency), _) | (_, Place::Away(latency)) => {
                let network = self.network;
                (Path { latency, ..network }, false)
            }
        }
    }

    /// Sends a packet.
    pub(super) fn send(&mut self, now: Nanos, from: &End, to: &End, bytes: usize) -> Fate {
        let key = (from.peer, to.peer);
        if !self.links.contains_key(&key) {
            let (path, local) = self.path(from, to);
            let link = Link {
                key: mix(mix(self.seed, number(from.peer)), number(to.peer)),
                packets: 0,
                path,
                local,
                last: 0,
            };
            self.links.insert(key, link);
        }
        let link = self.links.get_mut(&key).expect("it was just made");
        let mut random = Random::new(mix(link.key, link.packets));
        link.packets += 1;
        let path = &link.path;
        let latency = path.latency.draw(&mut random, 1.0);
        let departs = match from.host() {
            Some(host) if !link.local && self.bandwidth != u64::MAX => {
                let takes = (bytes as u64).saturating_mul(SECOND) / self.bandwidth;
                let until = self.sending.entry(host).or_default();
                *until = now.max(*until).saturating_add(takes);
                *until
            }
            _ => now,
        };
        if !self.cuts.is_empty()
            && let (Some(a), Some(b)) = (from.host(), to.host())
            && self.cuts.contains(&(a, b))
        {
            return Fate::Lost;
        }
        let mut at = departs.saturating_add(latency);
        if path.loss > 0.0 || path.duplication > 0.0 || path.reorder > 0.0 {
            // All draws are made for every packet: a rate that is changed changes no other luck.
            let lost = random.unit() < path.loss;
            let twice = random.unit() < path.duplication;
            let late = random.unit() < path.reorder;
            let extra = path.latency.draw(&mut random, 1.0);
            let second = at.saturating_add(extra + random.below(extra.saturating_mul(4).max(1)));
            if lost {
                return Fate::Lost;
            }
            if late {
                let at = at.saturating_add(random.below(extra.saturating_mul(8).max(1)));
                return if twice {
                    Fate::Twice(at, second)
                } else {
                    Fate::At(at)
                };
            }
            if twice {
                at = at.max(link.last);
                link.last = at;
                return Fate::Twice(at, second.max(at));
            }
        }
        at = at.max(link.last);
        link.last = at;
        Fate::At(at)
    }

    /// When something arrives that a connection brings behind all that went before it.
    pub(super) fn behind(&self, now: Nanos, from: Peer, to: Peer) -> Nanos {
        let link = self.links.get(&(from, to));
        link.map_or(now, |link| link.last.max(now))
    }

    /// Forgets the ways between two peers.
    pub(super) fn forget(&mut self, a: Peer, b: Peer) {
        self.links.remove(&(a, b));
        self.links.remove(&(b, a));
    }

    pub(super) fn cut(&mut self, from: &[NodeId], to: &[NodeId]) {
        self.cuts.extend(pairs(from, to));
    }

    pub(super) fn heal(&mut self, from: &[NodeId], to: &[NodeId]) {
        for pair in pairs(from, to) {
            self.cuts.remove(&pair);
        }
    }

    pub(super) fn heal_all(&mut self) {
        self.cuts.clear();
    }

    /// Changes how hosts reach each other where nothing else was said.
    pub(super) fn set_network(&mut self, path: Path, ends: impl Fn(Peer) -> Option<End>) {
        self.network = path;
        self.refresh(ends);
    }

    /// Changes one way between two hosts; none makes it like the others again.
    pub(super) fn set_path(
        &mut self,
        from: NodeId,
        to: NodeId,
        path: Option<Path>,
        ends: impl Fn(Peer) -> Option<End>,
    ) {
        match path {
            Some(path) => self.paths.insert((from, to), path),
            None => self.paths.remove(&(from, to)),
        };
        self.refresh(ends);
    }

    fn refresh(&mut self, ends: impl Fn(Peer) -> Option<End>) {
        let mut links = std::mem::take(&mut self.links);
        for ((from, to), link) in &mut links {
            if let (Some(from), Some(to)) = (ends(*from), ends(*to)) {
                (link.path, link.local) = self.path(&from, &to);
            }
        }
        self.links = links;
    }
}

fn pairs(from: &[NodeId], to: &[NodeId]) -> impl Iterator<Item = (NodeId, NodeId)> {
    let all = from.iter().flat_map(|a| to.iter().map(|b| (*a, *b)));
    all.filter(|(a, b)| a != b)
}

/// Different for all peers.
pub(super) fn number(peer: Peer) -> u64 {
    match peer {
        Peer::Node(node) => u64::from(node.0),
        Peer::Client(client) => client.saturating_add(1 << 16),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);

    fn net(path: Path) -> Net {
        let local = Path::new(Dist::Constant { value: 0.0 });
        Net::new(7, path, local, 1_000_000_000)
    }

    fn varied() -> Path {
        Path::new(Dist::Uniform {
            low: 1.0,
            high: 5.0,
        })
    }

    fn fates(net: &mut Net) -> Vec<Fate> {
        let (a, b) = (End::node(A), End::node(B));
        (0..1_000).map(|n| net.send(n, &a, &b, 0)).collect()
    }

    #[test]
    fn packets_stay_in_order_unless_they_are_reordered() {
        let at = |fate: &Fate| match fate {
            Fate::At(at) => *at,
            other => panic!("{other:?}"),
        };
        let arrivals: Vec<Nanos> = fates(&mut net(varied())).iter().map(at).collect();
        assert!(arrivals.is_sorted());
        let reordered = Path {
            reorder: 0.1,
            ..varied()
        };
        let arrivals: Vec<Nanos> = fates(&mut net(reordered)).iter().map(at).collect();
        assert!(!arrivals.is_sorted());
    }

    #[test]
    fn packets_are_lost_and_doubled_as_often_as_was_said() {
        let path = Path {
            loss: 0.1,
            duplication: 0.2,
            ..varied()
        };
        let fates = fates(&mut net(path));
        let count = |like: fn(&Fate) -> bool| fates.iter().filter(|fate| like(fate)).count();
        let lost = count(|fate| *fate == Fate::Lost);
        let twice = count(|fate| matches!(fate, Fate::Twice(..)));
        assert!((70..130).contains(&lost), "{lost}");
        assert!((140..220).contains(&twice), "{twice}");
    }

    #[test]
    fn what_a_host_sends_shares_its_bandwidth() {
        let mut net = net(Path::new(Dist::Constant { value: 1.0 }));
        let (a, b, c) = (End::node(A), End::node(B), End::node(NodeId(3)));
        assert_eq!(net.send(0, &a, &b, 1_000), Fate::At(1_001_000));
        assert_eq!(net.send(0, &a, &c, 1_000), Fate::At(1_002_000));
        assert_eq!(net.send(0, &b, &c, 1_000), Fate::At(1_001_000));
    }

    #[test]
    fn a_client_is_cut_off_with_its_host_but_never_from_it() {
        let mut net = net(varied());
        net.cut(&[A], &[B]);
        let client = |place| End {
            peer: Peer::Client(1),
            place,
        };
        let with = client(Place::With(A));
        assert_eq!(net.send(0, &with, &End::node(B), 0), Fate::Lost);
        assert_eq!(net.send(0, &with, &End::node(A), 0), Fate::At(0));
        let back = net.send(0, &End::node(B), &with, 0);
        assert_ne!(back, Fate::Lost, "a cut goes one way");
        net.forget(Peer::Client(1), Peer::Node(B));
        let away = client(Place::Away(Dist::Constant { value: 2.0 }));
        assert_eq!(net.send(0, &away, &End::node(B), 0), Fate::At(2_000_000));
    }
}
