//! A node at work: what came waits until a core is free, and is then worked on; when that is done
//! the node is told of it, and what it wants leaves.

use super::cluster::Cluster;
use super::config::Service;
use super::net::{End, Fate, number};
use super::store::SimStore;
use crate::metrics::{ByKind, KindCounts, Metrics};
use crate::{Message, Nanos, Node, NodeId, Out, Peer, Stored};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use triptych_world::mix;

/// Makes a node from what its store has.
pub(super) type Factory<M> = Box<dyn Fn(&dyn Stored) -> Box<dyn Node<Message = M>>>;

/// What a node is told.
pub(super) enum Input<M> {
    Packet(Peer, Vec<M>),
    Timer(u64),
    Persisted(u64),
    Read(u64, Option<Vec<u8>>),
    Gone(u64),
}

/// What is known of a kind of message at a node.
#[derive(Default)]
struct Kind {
    counts: KindCounts,
    service: Nanos,
    /// Picoseconds for each further unit.
    unit_ps: u64,
}

/// A node's place in the cluster; the node itself may be down.
pub(super) struct Host<M: Message> {
    pub(super) id: NodeId,
    factory: Factory<M>,
    pub(super) state: RefCell<State<M>>,
}

pub(super) struct State<M: Message> {
    /// Nothing if it is down.
    pub(super) node: Option<Box<dyn Node<Message = M>>>,
    /// How often it was started: what was under way in an earlier life means nothing in this one.
    life: u64,
    pub(super) store: SimStore,
    inbox: VecDeque<Input<M>>,
    /// Turns that are worked on.
    working: usize,
    out: Out<M>,
    /// Messages of this turn, by whom they go to, and who these are in the order of the first message
    /// to each.
    parcels: BTreeMap<Peer, Vec<M>>,
    peers: Vec<Peer>,
    kinds: ByKind<Kind>,
    metrics: Metrics,
    /// Until when the host does nothing.
    stalled: Nanos,
}

impl<M: Message> Host<M> {
    pub(super) fn new(id: NodeId, factory: Factory<M>, store: SimStore) -> Self {
        Host {
            id,
            factory,
            state: RefCell::new(State {
                node: None,
                life: 0,
                store,
                inbox: VecDeque::new(),
                working: 0,
                out: Out::default(),
                parcels: BTreeMap::new(),
                peers: Vec::new(),
                kinds: ByKind::default(),
                metrics: Metrics::default(),
                stalled: 0,
            }),
        }
    }

    /// Starts the node from what its store has.
    pub(super) fn start(self: &Rc<Self>, cluster: &Rc<Cluster<M>>) {
        let mut state = self.state.borrow_mut();
        let mut node = (self.factory)(&state.store);
        node.on_start(cluster.now(), &mut state.out);
        node.on_turn_end(cluster.now(), &mut state.out);
        state.node = Some(node);
        state.life += 1;
        state.metrics.turns += 1;
        self.emit(cluster, &mut state);
        self.serve(cluster, &mut state);
    }

    /// Ends the node, with all that it was working on and what its store has not synced.
    pub(super) fn kill(&self) {
        let mut state = self.state.borrow_mut();
        if state.node.take().is_some() {
            state.store.crash();
            state.life += 1;
        }
        state.inbox.clear();
        state.working = 0;
        state.stalled = 0;
    }

    /// Lets the host do nothing until a time.
    pub(super) fn stall(self: &Rc<Self>, cluster: &Rc<Cluster<M>>, until: Nanos) {
        let mut state = self.state.borrow_mut();
        state.stalled = state.stalled.max(until);
        let life = state.life;
        drop(state);
        self.later(cluster, until, life, |_, _| {});
    }

    pub(super) fn metrics(&self) -> Metrics {
        let state = self.state.borrow();
        let store = state.store.counts();
        let kinds = state.kinds.iter();
        Metrics {
            kinds: kinds.map(|(kind, known)| (kind, known.counts)).collect(),
            batches: store.batches,
            written: store.written,
            syncs: store.syncs,
            reads: store.reads,
            ..state.metrics.clone()
        }
    }

    /// Something has come for the node.
    pub(super) fn take(self: &Rc<Self>, cluster: &Rc<Cluster<M>>, input: Input<M>) {
        let mut state = self.state.borrow_mut();
        if state.node.is_none() {
            return;
        }
        state.inbox.push_back(input);
        self.serve(cluster, &mut state);
    }

    /// Does something at a time, if the node still lives then, and looks what there is to work on.
    fn later(
        self: &Rc<Self>,
        cluster: &Rc<Cluster<M>>,
        at: Nanos,
        life: u64,
        then: impl FnOnce(&Rc<Self>, &mut State<M>) + 'static,
    ) {
        let (host, after) = (Rc::clone(self), Rc::clone(cluster));
        let span = at.saturating_sub(cluster.now());
        cluster.world.after(span, move || {
            let mut state = host.state.borrow_mut();
            if state.life == life && state.node.is_some() {
                then(&host, &mut state);
                host.serve(&after, &mut state);
            }
        });
    }

    /// Begins turns while there is something to work on and a core is free.
    fn serve(self: &Rc<Self>, cluster: &Rc<Cluster<M>>, state: &mut State<M>) {
        while !state.inbox.is_empty() && state.working < cluster.cores {
            if state.stalled > cluster.now() {
                return;
            }
            let count = state.inbox.len().min(cluster.turn_limit);
            let service = state.service(count, &cluster.service);
            if service == 0 {
                let mut inputs = std::mem::take(&mut state.inbox);
                self.turn(cluster, state, inputs.drain(..count));
                // What the turn itself has brought is behind what was there.
                inputs.append(&mut state.inbox);
                state.inbox = inputs;
                continue;
            }
            let inputs: Vec<Input<M>> = state.inbox.drain(..count).collect();
            state.working += 1;
            state.metrics.busy += service;
            let (done, life) = (Rc::clone(cluster), state.life);
            let at = cluster.now().saturating_add(service);
            self.later(cluster, at, life, move |host, state| {
                state.working -= 1;
                host.turn(&done, state, inputs.into_iter());
            });
        }
    }

    /// One turn of the node.
    fn turn(
        self: &Rc<Self>,
        cluster: &Rc<Cluster<M>>,
        state: &mut State<M>,
        inputs: impl Iterator<Item = Input<M>>,
    ) {
        let State { node, out, .. } = state;
        let node = node.as_mut().expect("a node that is down has no turns");
        let now = cluster.now();
        for input in inputs {
            match input {
                Input::Packet(from, mut messages) => {
                    for message in messages.drain(..) {
                        node.on_message(now, from, message, out);
                    }
                    cluster.recycle(messages);
                }
                Input::Timer(timer) => node.on_timer(now, timer, out),
                Input::Persisted(token) => node.on_persisted(now, token, out),
                Input::Read(token, value) => node.on_read(now, token, value, out),
                Input::Gone(client) => node.on_gone(client),
            }
        }
        node.on_turn_end(now, out);
        state.metrics.turns += 1;
        self.emit(cluster, state);
    }

    /// Does what the node wants.
    fn emit(self: &Rc<Self>, cluster: &Rc<Cluster<M>>, state: &mut State<M>) {
        let now = cluster.now();
        let life = state.life;
        for persist in state.out.persists.drain(..) {
            if let Some((after, token)) = state.store.persist(now, persist) {
                if after == 0 {
                    state.inbox.push_back(Input::Persisted(token));
                } else {
                    self.later(cluster, now + after, life, move |_, state| {
                        state.inbox.push_back(Input::Persisted(token));
                    });
                }
            }
        }
        self.sync(cluster, state);
        for read in state.out.reads.drain(..) {
            let (after, value) = state.store.read(now, &read.key);
            self.later(cluster, now + after, life, move |_, state| {
                state.inbox.push_back(Input::Read(read.token, value));
            });
        }
        for (after, timer) in state.out.timers.drain(..) {
            let at = now.saturating_add(after);
            self.later(cluster, at, life, move |_, state| {
                state.metrics.timers += 1;
                state.inbox.push_back(Input::Timer(timer));
            });
        }
        for line in state.out.notices.drain(..) {
            cluster.notice(self.id, line);
        }
        self.send(cluster, state);
    }

    fn sync(self: &Rc<Self>, cluster: &Rc<Cluster<M>>, state: &mut State<M>) {
        let Some(takes) = state.store.sync(cluster.now()) else {
            return;
        };
        let at = cluster.now().saturating_add(takes);
        let after = Rc::clone(cluster);
        self.later(cluster, at, state.life, move |host, state| {
            let mut tokens = Vec::new();
            state.store.synced(after.now(), &mut tokens);
            state.inbox.extend(tokens.into_iter().map(Input::Persisted));
            host.sync(&after, state);
        });
    }

    /// Sends what the node wants to send, all for one peer in one packet.
    fn send(self: &Rc<Self>, cluster: &Rc<Cluster<M>>, state: &mut State<M>) {
        for (peer, message) in state.out.sends.drain(..) {
            let parcel = state.parcels.entry(peer).or_insert_with(|| {
                state.peers.push(peer);
                cluster.spare()
            });
            parcel.push(message);
        }
        for peer in state.peers.drain(..) {
            let parcel = state.parcels.remove(&peer);
            let messages = parcel.expect("who is noted has a parcel");
            let mut bytes = 0;
            for message in &messages {
                let size = message.size();
                bytes += size;
                let kind = message.kind();
                let known = state.kinds.get(kind, || Kind::new(kind, &cluster.service));
                known.counts.messages_out += 1;
                known.counts.bytes_out += size as u64;
            }
            state.metrics.packets_out += 1;
            let fate = cluster.transmit(&End::node(self.id), peer, messages, bytes);
            if let Err(lost) = fate {
                for message in &lost {
                    let kind = message.kind();
                    let known = state.kinds.get(kind, || Kind::new(kind, &cluster.service));
                    known.counts.dropped += 1;
                }
                cluster.recycle(lost);
            }
        }
    }
}

impl Kind {
    fn new(kind: &str, service: &Service) -> Self {
        Kind {
            service: service.of(kind),
            unit_ps: service.of_unit(kind),
            ..Kind::default()
        }
    }
}

impl<M: Message> State<M> {
    /// Counts what a turn is about to take, and says how long it takes.
    fn service(&mut self, count: usize, config: &Service) -> Nanos {
        let mut takes = config.per_turn;
        for input in self.inbox.iter().take(count) {
            let kind = match input {
                Input::Packet(_, messages) => {
                    self.metrics.packets_in += 1;
                    takes = takes.saturating_add(config.per_packet);
                    for message in messages {
                        let (kind, size) = (message.kind(), message.size());
                        let known = self.kinds.get(kind, || Kind::new(kind, config));
                        known.counts.messages_in += 1;
                        known.counts.bytes_in += size as u64;
                        takes = takes.saturating_add(known.service);
                        if config.counts_content() {
                            let units = message.units();
                            let content = config.of_content(known.unit_ps, units, size);
                            takes = takes.saturating_add(content);
                        }
                    }
                    continue;
                }
                Input::Timer(_) => "(timer)",
                Input::Persisted(_) => "(persisted)",
                Input::Read(..) => "(read)",
                Input::Gone(_) => continue,
            };
            takes = takes.saturating_add(config.of(kind));
        }
        takes
    }
}

/// What a packet adds to the digest of all that happened.
pub(super) fn trace(
    digest: u64,
    now: Nanos,
    from: Peer,
    to: Peer,
    count: usize,
    fate: Fate,
) -> u64 {
    let places = mix(number(from), number(to));
    let fate = match fate {
        Fate::Lost => 0,
        Fate::At(at) => at,
        Fate::Twice(first, second) => mix(first, second),
    };
    mix(digest, mix(mix(now, places), mix(count as u64, fate)))
}
