//! The node in its event loop: what it is told in a turn, and what it wants done.

use super::clock::{Clock, Timers};
use super::control::{Report, Sample};
use super::line::{Line, State};
use super::server::Shared;
use super::wire::Refusal;
use crate::disk::{Done, StoreError, Writer};
use crate::metrics::ByKind;
use crate::sim::{SimStore, StoreCounts};
use crate::{KindCounts, Message, Metrics, Nanos, Node, NodeId, Out, Peer};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// A message that has come.
pub(super) struct Arrived<M> {
    pub(super) message: M,
    /// Its bytes on the wire.
    pub(super) bytes: u32,
    /// What decoding took, in nanoseconds, if that is measured.
    pub(super) decoding: u32,
}

/// What has come and waits for a turn.
pub(super) enum Input<M> {
    /// Messages that came at once, and where from; what a node says to itself comes on no line.
    Packet(Peer, Vec<Arrived<M>>, Option<Rc<Line>>),
    Gone(u64),
}

/// What the thread of the store has to tell.
pub(super) type Told = Arc<Mutex<Vec<Done>>>;

/// Where what the node persists goes.
pub(super) enum Backing {
    Memory(Box<SimStore>),
    Disk(Writer, Told),
}

/// What the driver counts.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) kinds: ByKind<KindCounts>,
    pub(super) samples: ByKind<Sample>,
    pub(super) metrics: Metrics,
    notices: VecDeque<String>,
}

/// So many notices are kept, the newest.
const NOTICES: usize = 1_000;

impl Counters {
    pub(super) fn kind(&mut self, kind: &'static str) -> &mut KindCounts {
        self.kinds.get(kind, KindCounts::default)
    }

    pub(super) fn sample(&mut self, kind: &'static str, units: u64, bytes: u64, nanos: u64) {
        let sample = self.samples.get(kind, Sample::default);
        sample.add(units, bytes, nanos);
    }

    pub(super) fn notice(&mut self, line: String) {
        if self.notices.len() == NOTICES {
            self.notices.pop_front();
        }
        self.notices.push_back(line);
    }
}

/// See the module documentation.
pub(super) struct Core<M: Message> {
    shared: Rc<Shared<M>>,
    node: Box<dyn Node<Message = M>>,
    backing: Backing,
    clock: Clock,
    timers: Timers,
    out: Out<M>,
    /// What a store in memory has to tell.
    done: Vec<Done>,
    /// Who was sent something in this turn.
    touched: Vec<(Peer, Rc<Line>)>,
    /// In a turn that is measured: kind, units, bytes and time of each thing that the node was told.
    worked: Vec<(&'static str, u64, u64, u64)>,
    /// Nodes that it wanted to send to and that stand in no address book.
    strangers: BTreeMap<NodeId, u64>,
}

impl<M: Message> Core<M> {
    pub(super) fn new(
        shared: Rc<Shared<M>>,
        node: Box<dyn Node<Message = M>>,
        backing: Backing,
        clock: Clock,
    ) -> Self {
        Core {
            shared,
            node,
            backing,
            clock,
            timers: Timers::default(),
            out: Out::default(),
            done: Vec::new(),
            touched: Vec::new(),
            worked: Vec::new(),
            strangers: BTreeMap::new(),
        }
    }

    /// The node's first turn.
    pub(super) fn start(&mut self) {
        self.node.on_start(self.clock.now(), &mut self.out);
        self.finish(Instant::now());
    }

    /// When there is something to do although nothing comes; 0 if it is at once.
    pub(super) fn next(&self) -> Option<Nanos> {
        if self.done.is_empty() {
            self.timers.next()
        } else {
            Some(0)
        }
    }

    /// One turn with all that has come, up to the limit. Says whether there was anything.
    pub(super) fn turn(&mut self) -> Result<bool, StoreError> {
        let begun = Instant::now();
        let now = self.clock.now();
        let mut any = false;
        while let Some(timer) = self.timers.due(now) {
            any = true;
            self.shared.counters.borrow_mut().metrics.timers += 1;
            self.tell("(timer)", |node, out| node.on_timer(now, timer, out));
        }
        for done in self.take_done() {
            any = true;
            match done {
                Done::Persisted(token) => {
                    self.tell("(persisted)", |node, out| {
                        node.on_persisted(now, token, out);
                    });
                }
                Done::Read(token, value) => {
                    self.tell("(read)", |node, out| node.on_read(now, token, value, out));
                }
                Done::Failed(error) => return Err(error),
            }
        }
        let mut count = 0;
        while count < self.shared.options.limits.turn_messages {
            let Some(input) = self.shared.take_input() else {
                break;
            };
            any = true;
            match input {
                Input::Packet(from, messages, _) => {
                    count += messages.len();
                    for arrived in messages {
                        self.take(now, from, arrived);
                    }
                }
                Input::Gone(client) => self.node.on_gone(client),
            }
        }
        if any {
            self.finish(begun);
        }
        Ok(any)
    }

    fn take_done(&mut self) -> Vec<Done> {
        match &self.backing {
            Backing::Memory(_) => std::mem::take(&mut self.done),
            Backing::Disk(_, told) => {
                // The thread only appends while it holds the lock.
                std::mem::take(&mut *told.lock().unwrap_or_else(PoisonError::into_inner))
            }
        }
    }

    fn take(&mut self, now: Nanos, from: Peer, arrived: Arrived<M>) {
        let Arrived {
            message,
            bytes,
            decoding,
        } = arrived;
        let kind = message.kind();
        {
            let mut counters = self.shared.counters.borrow_mut();
            let counts = counters.kind(kind);
            counts.messages_in += 1;
            counts.bytes_in += u64::from(bytes);
        }
        if !self.shared.options.measure {
            return self.node.on_message(now, from, message, &mut self.out);
        }
        let units = message.units() as u64;
        let begun = Instant::now();
        self.node.on_message(now, from, message, &mut self.out);
        let took = nanos(begun) + u64::from(decoding);
        self.worked.push((kind, units, u64::from(bytes), took));
    }

    fn tell(
        &mut self,
        kind: &'static str,
        call: impl FnOnce(&mut dyn Node<Message = M>, &mut Out<M>),
    ) {
        let begun = self.shared.options.measure.then(Instant::now);
        call(&mut *self.node, &mut self.out);
        if let Some(begun) = begun {
            self.worked.push((kind, 1, 0, nanos(begun)));
        }
    }

    /// Ends a turn: does what the node wants.
    fn finish(&mut self, begun: Instant) {
        let ending = Instant::now();
        let now = self.clock.now();
        self.node.on_turn_end(now, &mut self.out);
        for persist in self.out.persists.drain(..) {
            match &mut self.backing {
                Backing::Disk(writer, _) => writer.persist(persist),
                Backing::Memory(store) => {
                    let accepted = store.persist(now, persist);
                    let token = accepted.map(|(_, token)| token);
                    self.done.extend(token.map(Done::Persisted));
                }
            }
        }
        if let Backing::Memory(store) = &mut self.backing
            && store.sync(now).is_some()
        {
            let mut tokens = Vec::new();
            store.synced(now, &mut tokens);
            self.done.extend(tokens.into_iter().map(Done::Persisted));
        }
        for read in self.out.reads.drain(..) {
            match &mut self.backing {
                Backing::Disk(writer, _) => writer.read(read),
                Backing::Memory(store) => {
                    let (_, value) = store.read(now, &read.key);
                    self.done.push(Done::Read(read.token, value));
                }
            }
        }
        for (after, timer) in self.out.timers.drain(..) {
            self.timers.set(now.saturating_add(after), timer);
        }
        for line in self.out.notices.drain(..) {
            self.shared.counters.borrow_mut().notice(line);
        }
        for (peer, message) in std::mem::take(&mut self.out.sends) {
            self.send(peer, &message);
        }
        let encoded = nanos(ending);
        for (peer, line) in self.touched.drain(..) {
            let writing = Instant::now();
            line.touched.set(false);
            let waits = line.out.borrow().len();
            line.flush();
            let mut counters = self.shared.counters.borrow_mut();
            counters.metrics.packets_out += 1;
            if self.shared.options.measure && line.state.get() == State::Up {
                let sent = waits - line.out.borrow().len();
                counters.sample("(packet out)", 1, sent as u64, nanos(writing));
            }
            if let Peer::Client(_) = peer
                && line.out.borrow().len() > self.shared.options.limits.cut_off_bytes
            {
                line.cut_off();
            }
        }
        let mut counters = self.shared.counters.borrow_mut();
        let units: u64 = self.worked.iter().map(|(_, units, ..)| units).sum();
        for (kind, own, bytes, took) in self.worked.drain(..) {
            // The end of a turn is shared by who has caused it.
            counters.sample(kind, own, bytes, took + encoded * own / units.max(1));
        }
        counters.metrics.turns += 1;
        counters.metrics.busy += nanos(begun);
    }

    fn send(&mut self, peer: Peer, message: &M) {
        let kind = message.kind();
        if peer == Peer::Node(self.shared.options.node) {
            // What it says to itself needs no connection.
            let size = message.size();
            let mut counters = self.shared.counters.borrow_mut();
            let counts = counters.kind(kind);
            counts.messages_out += 1;
            counts.bytes_out += size as u64;
            drop(counters);
            let arrived = Arrived {
                message: message.clone(),
                bytes: u32::try_from(size).unwrap_or(u32::MAX),
                decoding: 0,
            };
            return self.shared.put(Input::Packet(peer, vec![arrived], None));
        }
        let last = self.touched.last().filter(|(last, _)| *last == peer);
        let known = match (last, peer) {
            (Some((_, line)), _) => Some(Rc::clone(line)),
            (None, Peer::Client(client)) => self.shared.client(client),
            (None, Peer::Node(node)) => {
                let line = self.shared.route(node);
                if line.is_none() {
                    let count = self.strangers.entry(node).or_default();
                    *count += 1;
                    if *count == 1 {
                        let notice = format!("{node} stands in no address book");
                        self.shared.counters.borrow_mut().notice(notice);
                    }
                }
                line
            }
        };
        let limits = self.shared.options.limits;
        let room = match peer {
            Peer::Node(_) => limits.peer_bytes,
            // It is cut off before that; the bound on one message keeps it near.
            Peer::Client(_) => usize::MAX,
        };
        let pushed = match &known {
            Some(line) if line.state.get() != State::Down => {
                let mut out = line.out.borrow_mut();
                out.push(message, limits.message_bytes, room).map_err(Some)
            }
            _ => Err(None),
        };
        let mut counters = self.shared.counters.borrow_mut();
        let counts = counters.kind(kind);
        counts.messages_out += 1;
        match pushed {
            Ok(bytes) => counts.bytes_out += bytes as u64,
            Err(_) => counts.dropped += 1,
        }
        if let Err(Some(Refusal::TooLarge)) = pushed {
            counters.notice(format!(
                "a message ({kind}) for {peer} is too large to be sent"
            ));
        }
        drop(counters);
        if let (Ok(_), Some(line)) = (pushed, known)
            && !line.touched.replace(true)
        {
            self.touched.push((peer, line));
        }
    }

    /// What there is to report.
    pub(super) fn report(&self) -> Report {
        let mut counters = self.shared.counters.borrow_mut();
        let store = match &self.backing {
            Backing::Memory(store) => store.counts(),
            Backing::Disk(writer, _) => writer.counts(),
        };
        let StoreCounts {
            batches,
            written,
            syncs,
            reads,
            ..
        } = store;
        Report {
            metrics: Metrics {
                kinds: counters.kinds.iter().map(|(kind, c)| (kind, *c)).collect(),
                batches,
                written,
                syncs,
                reads,
                ..counters.metrics.clone()
            },
            gauges: self.node.gauges(),
            samples: counters
                .samples
                .iter()
                .map(|(kind, s)| (kind, *s))
                .collect(),
            notices: std::mem::take(&mut counters.notices).into(),
        }
    }

    /// Closes the store, which syncs what it was given.
    pub(super) fn close(&mut self) -> Result<(), StoreError> {
        if let Backing::Disk(writer, _) = &mut self.backing {
            writer.close();
        }
        let failed = self.take_done().into_iter().find_map(|done| match done {
            Done::Failed(error) => Some(error),
            Done::Persisted(_) | Done::Read(..) => None,
        });
        failed.map_or(Ok(()), Err)
    }
}

pub(super) fn nanos(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
