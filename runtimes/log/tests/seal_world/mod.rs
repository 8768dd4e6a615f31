//! A small world for sequencers and controllers: virtual time, a network that loses, repeats and
//! overtakes, disks that lose what was not synced, nodes that crash and come back. Storages and
//! engines are stood in for by nodes that say what they would say.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use triptych_log::{
    Config, Controller, Entry, MEMBERSHIP, Membership, Message, Sequencer, Step, Term, View, ViewId,
};
use triptych_nodes::{Key, Nanos, Node, NodeId, Out, Peer, Stored, Write};

pub(crate) const US: Nanos = 1_000;
pub(crate) const MS: Nanos = 1_000 * US;

/// A storage or an engine. A storage says that it has more and more records of every engine that it
/// keeps; both remember what they are told is committed.
pub(crate) struct Stand {
    membership: Membership,
    born: bool,
    is_storage: bool,
    /// How long it takes until there is one more record of each engine.
    pace: Rc<Cell<Nanos>>,
    began: Nanos,
    pub(crate) committed: BTreeMap<Term, BTreeMap<u32, Arc<Entry>>>,
}

const REPORT: u64 = 1;

impl Stand {
    fn new(config: &Rc<Config>, node: NodeId, pace: &Rc<Cell<Nanos>>, disk: &Disk) -> Self {
        Stand {
            membership: Membership::recover(Rc::clone(config), node, disk),
            born: false,
            is_storage: config.storages.contains(&node),
            pace: Rc::clone(pace),
            began: 0,
            committed: BTreeMap::new(),
        }
    }

    pub(crate) fn views(&self) -> ViewId {
        self.membership.newest()
    }

    fn report(&self, now: Nanos, out: &mut Out<Message>) {
        let me = self.membership.me();
        let Some(view) = self.membership.current() else {
            return;
        };
        if !self.is_storage || !view.storages.contains(&me) {
            return;
        }
        let records = match self.pace.get() {
            // Everything that can be.
            0 => u32::MAX,
            pace => ((now - self.began) / pace) as u32,
        };
        let engines = view.engines.iter().map(|engine| engine.node);
        let kept = engines.filter(|&engine| view.holders(view.id, engine).contains(&me.node));
        let below: Vec<_> = kept.map(|engine| (engine, records)).collect();
        for term in view.terms() {
            let below = below.clone();
            out.send(view.primary(term.log), Message::Stored { term, below });
        }
    }
}

impl Node for Stand {
    type Message = Message;

    fn on_start(&mut self, _now: Nanos, out: &mut Out<Message>) {
        self.membership.start(out);
        out.timer(200 * US, REPORT);
    }

    fn on_message(&mut self, now: Nanos, _from: Peer, message: Message, out: &mut Out<Message>) {
        match message {
            Message::Views { views } if self.born => {
                if let Some(last) = self.membership.learn(views).last() {
                    self.began = now;
                    self.membership.complete = last.id;
                    self.membership.tell(out);
                }
            }
            Message::Committed { term, entries } => {
                let known = self.committed.entry(term).or_default();
                for entry in entries {
                    let same = known.insert(entry.number, Arc::clone(&entry));
                    assert!(same.is_none_or(|same| same == entry), "{term:?} {entry:?}");
                }
            }
            _ => {}
        }
    }

    fn on_timer(&mut self, now: Nanos, timer: u64, out: &mut Out<Message>) {
        match timer {
            MEMBERSHIP => self.membership.ring(out),
            _ => {
                self.report(now, out);
                out.timer(200 * US, REPORT);
            }
        }
    }

    fn on_persisted(&mut self, _now: Nanos, _token: u64, out: &mut Out<Message>) {
        self.born = true;
        self.membership.persisted(out);
    }

    fn on_read(&mut self, _: Nanos, _: u64, _: Option<Vec<u8>>, _: &mut Out<Message>) {}

    fn gauges(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}

/// A disk: what is durable, and what was written and is not synced.
#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) durable: BTreeMap<Key, Vec<u8>>,
    pending: Vec<(u64, Vec<Write>)>,
}

impl Disk {
    fn sync(&mut self, upto: u64) {
        let pending = std::mem::take(&mut self.pending);
        let (done, later) = pending.into_iter().partition(|&(number, _)| number <= upto);
        self.pending = later;
        let done: Vec<(u64, Vec<Write>)> = done;
        for write in done.into_iter().flat_map(|(_, writes)| writes) {
            match write.value {
                Some(value) => drop(self.durable.insert(write.key, value)),
                None => drop(self.durable.remove(&write.key)),
            }
        }
    }
}

impl Stored for Disk {
    fn scan(&self, prefix: &[u8]) -> Box<dyn Iterator<Item = (Key, Vec<u8>)> + '_> {
        let prefix = prefix.to_vec();
        let from = self.durable.range(prefix.clone()..);
        let within = from.take_while(move |(key, _)| key.starts_with(&prefix));
        Box::new(within.map(|(key, value)| (key.clone(), value.clone())))
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.durable.get(key).cloned()
    }
}

pub(crate) enum Role {
    Sequencer(Sequencer),
    Controller(Controller),
    Stand(Stand),
}

impl Role {
    fn node(&mut self) -> &mut dyn Node<Message = Message> {
        match self {
            Role::Sequencer(node) => node,
            Role::Controller(node) => node,
            Role::Stand(node) => node,
        }
    }
}

#[derive(Default)]
struct Machine {
    disk: Disk,
    /// None while it is down.
    role: Option<Role>,
    life: u64,
}

#[derive(Debug)]
enum Event {
    Start,
    Message(NodeId, Message),
    Timer(u64),
    Synced(u64, Option<u64>),
}

/// How unkind the network is, in percent.
#[derive(Clone, Copy, Default)]
pub(crate) struct Weather {
    pub(crate) lost: u64,
    pub(crate) twice: u64,
}

pub(crate) struct World {
    pub(crate) config: Rc<Config>,
    pub(crate) now: Nanos,
    pub(crate) weather: Weather,
    /// Pairs that do not hear each other.
    pub(crate) cut_off: BTreeSet<NodeId>,
    pub(crate) pace: Rc<Cell<Nanos>>,
    pub(crate) notices: Vec<(NodeId, String)>,
    pub(crate) sent: BTreeMap<&'static str, u64>,
    machines: BTreeMap<NodeId, Machine>,
    events: BTreeMap<(Nanos, u64), (NodeId, u64, Event)>,
    count: u64,
    seed: u64,
}

impl World {
    pub(crate) fn new(config: Config, seed: u64) -> Self {
        config.check().expect("a configuration that can be");
        World {
            config: Rc::new(config),
            now: 0,
            weather: Weather::default(),
            cut_off: BTreeSet::new(),
            pace: Rc::new(Cell::new(300 * US)),
            notices: Vec::new(),
            sent: BTreeMap::new(),
            machines: BTreeMap::new(),
            events: BTreeMap::new(),
            count: 0,
            seed,
        }
    }

    pub(crate) fn all(&self) -> Vec<NodeId> {
        let config = &self.config;
        let roles = [
            &config.controllers,
            &config.sequencers,
            &config.storages,
            &config.engines,
        ];
        roles.into_iter().flatten().copied().collect()
    }

    pub(crate) fn draw(&mut self, below: u64) -> u64 {
        self.count += 1;
        triptych_world::mix(self.seed, self.count) % below
    }

    fn schedule(&mut self, after: Nanos, node: NodeId, event: Event) {
        self.count += 1;
        let life = self.machines.get(&node).map_or(0, |machine| machine.life);
        let at = (self.now + after, self.count);
        self.events.insert(at, (node, life, event));
    }

    /// Starts a node with what is on its disk.
    pub(crate) fn start(&mut self, node: NodeId) {
        let config = Rc::clone(&self.config);
        let machine = self.machines.entry(node).or_default();
        assert!(machine.role.is_none(), "{node} runs");
        machine.life += 1;
        machine.role = Some(if config.controllers.contains(&node) {
            Role::Controller(Controller::recover(config, node, &machine.disk))
        } else if config.sequencers.contains(&node) {
            Role::Sequencer(Sequencer::recover(config, node, &machine.disk))
        } else {
            Role::Stand(Stand::new(&config, node, &self.pace, &machine.disk))
        });
        self.schedule(0, node, Event::Start);
    }

    pub(crate) fn start_all(&mut self) {
        self.all().into_iter().for_each(|node| self.start(node));
    }

    /// A node loses everything that is not on its disk; and what is not synced, if it loses power.
    pub(crate) fn crash(&mut self, node: NodeId, power: bool) {
        let machine = self.machines.entry(node).or_default();
        machine.role = None;
        if !power {
            machine.disk.sync(u64::MAX);
        }
        machine.disk.pending.clear();
    }

    pub(crate) fn disk(&mut self, node: NodeId) -> &mut Disk {
        &mut self.machines.entry(node).or_default().disk
    }

    pub(crate) fn roles(&self) -> impl Iterator<Item = (NodeId, &Role)> {
        let machines = self.machines.iter();
        machines.filter_map(|(&node, machine)| Some((node, machine.role.as_ref()?)))
    }

    /// The views that the best informed controller knows.
    pub(crate) fn views(&self) -> Vec<Arc<View>> {
        let controllers = self.roles().filter_map(|(_, role)| match role {
            Role::Controller(controller) => Some(controller.views()),
            _ => None,
        });
        let most = controllers.max_by_key(|views| views.len());
        most.unwrap_or_default().to_vec()
    }

    pub(crate) fn newest(&self) -> ViewId {
        self.views().last().map_or(0, |view| view.id)
    }

    pub(crate) fn sequencer(&self, node: u16) -> &Sequencer {
        let role = self.roles().find(|(at, _)| at.0 == node);
        match role {
            Some((_, Role::Sequencer(sequencer))) => sequencer,
            _ => panic!("n{node} is no sequencer that runs"),
        }
    }

    /// How many entries the storages and engines have seen committed in a view.
    pub(crate) fn committed(&self, view: ViewId) -> usize {
        let seen = self.stands().map(|(_, stand)| {
            let terms = stand.committed.iter();
            let terms = terms.filter(|(term, _)| term.view == view);
            terms.map(|(_, entries)| entries.len()).sum::<usize>()
        });
        seen.max().unwrap_or(0)
    }

    pub(crate) fn stands(&self) -> impl Iterator<Item = (NodeId, &Stand)> {
        self.roles().filter_map(|(node, role)| match role {
            Role::Stand(stand) => Some((node, stand)),
            _ => None,
        })
    }

    pub(crate) fn run_until(&mut self, until: Nanos) {
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > until {
                break;
            }
            let (at, (node, life, event)) = entry.remove_entry();
            self.now = at.0;
            self.happen(node, life, event);
        }
        self.now = until;
    }

    pub(crate) fn run_for(&mut self, span: Nanos) {
        self.run_until(self.now + span);
    }

    /// Runs until something holds, and says when; panics if it does not hold in time.
    pub(crate) fn run_to(
        &mut self,
        limit: Nanos,
        what: &str,
        holds: impl Fn(&World) -> bool,
    ) -> Nanos {
        let end = self.now + limit;
        while !holds(self) {
            assert!(self.now < end, "{what}: not in time; {:?}", self.notices);
            self.run_for(50 * US);
        }
        self.now
    }

    fn happen(&mut self, node: NodeId, life: u64, event: Event) {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(&node) else {
            return;
        };
        let Some(role) = &mut machine.role else {
            return;
        };
        // A message may come to the next life of whom it was sent to; all else belongs to one life.
        if life != machine.life && !matches!(event, Event::Message(..)) {
            return;
        }
        let mut out = Out::default();
        let state = role.node();
        match event {
            Event::Start => state.on_start(now, &mut out),
            Event::Message(from, message) => {
                state.on_message(now, from.into(), message, &mut out);
            }
            Event::Timer(timer) => state.on_timer(now, timer, &mut out),
            Event::Synced(number, token) => {
                machine.disk.sync(number);
                if let Some(token) = token {
                    state.on_persisted(now, token, &mut out);
                }
            }
        }
        state.on_turn_end(now, &mut out);
        self.carry_out(node, out);
    }

    fn carry_out(&mut self, node: NodeId, out: Out<Message>) {
        for persist in out.persists {
            self.count += 1;
            let number = self.count;
            self.disk(node).pending.push((number, persist.writes));
            if persist.durability == triptych_nodes::Durability::Synced {
                let after = 100 * US + self.draw(100 * US);
                self.schedule(after, node, Event::Synced(number, persist.token));
            } else {
                assert!(
                    persist.token.is_none(),
                    "nobody waits for a lazy write here"
                );
            }
        }
        for (span, timer) in out.timers {
            self.schedule(span, node, Event::Timer(timer));
        }
        for (to, message) in out.sends {
            *self
                .sent
                .entry(triptych_nodes::Message::kind(&message))
                .or_default() += 1;
            let Peer::Node(to) = to else {
                continue;
            };
            let apart = self.cut_off.contains(&to) != self.cut_off.contains(&node);
            if apart || self.draw(100) < self.weather.lost {
                continue;
            }
            let copies = if self.draw(100) < self.weather.twice {
                2
            } else {
                1
            };
            for _ in 0..copies {
                let after = 30 * US + self.draw(60 * US);
                self.schedule(after, to, Event::Message(node, message.clone()));
            }
        }
        let notices = out.notices.into_iter().map(|line| (node, line));
        self.notices.extend(notices);
        assert!(out.reads.is_empty(), "neither role reads");
    }

    /// What must always hold: all who know a view know the same one, everything that anybody saw
    /// committed in a view that ended is in its final, everybody saw the same, and cuts number
    /// records without a gap.
    pub(crate) fn check(&self) {
        let views = self.views();
        for (node, role) in self.roles() {
            if let Role::Controller(controller) = role {
                let known = controller.views();
                assert_eq!(known, &views[..known.len()], "{node} knows other views");
            }
        }
        let mut seen: BTreeMap<Term, BTreeMap<u32, Arc<Entry>>> = BTreeMap::new();
        for (node, stand) in self.stands() {
            for (&term, entries) in &stand.committed {
                for (&number, entry) in entries {
                    let of = seen.entry(term).or_default();
                    let same = of.entry(number).or_insert_with(|| Arc::clone(entry));
                    assert_eq!(same, entry, "{node} saw another entry in {term:?}");
                }
            }
        }
        for view in views.iter().skip(1) {
            assert_eq!(view.finals.len(), usize::from(view.shape.logs));
            for (log, end) in (0..).zip(&view.finals) {
                let term = Term {
                    view: view.id - 1,
                    log,
                };
                let of = seen.entry(term).or_default();
                let last = of.last_key_value().map_or(0, |(&number, _)| number + 1);
                assert!(
                    last <= end.entries,
                    "{term:?}: {last} seen, {} final",
                    end.entries
                );
                for entry in &end.tail {
                    let same = of.entry(entry.number).or_insert_with(|| Arc::clone(entry));
                    assert_eq!(same, entry, "{term:?}");
                }
            }
        }
        for (term, entries) in seen {
            let mut before: Option<(u32, Vec<u32>, u32)> = None;
            for (number, entry) in entries {
                let Step::Cut {
                    first,
                    starts,
                    deltas,
                } = &entry.step
                else {
                    continue;
                };
                let ends = starts
                    .iter()
                    .zip(deltas)
                    .map(|(start, delta)| start + delta);
                let next = first + deltas.iter().sum::<u32>();
                if let Some((last, ends, next)) = before
                    && last + 1 == number
                {
                    assert_eq!((&ends, next), (starts, *first), "{term:?} {number}");
                }
                before = Some((number, ends.collect(), next));
            }
        }
    }
}
