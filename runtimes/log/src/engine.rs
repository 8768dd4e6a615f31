//! The engine: appends, indexes, reads.
//!
//! It is what clients speak to, and all of its state can be lost: records are with storages and their
//! order is with sequencers. Its parts, each with an idea of its own:
//!
//! * [`producer`] numbers the records that clients append, replicates them, and answers when they are
//!   ordered; [`decisions`] answers conditional ones when an index has decided them.
//! * [`index`] says which records each stream holds, and [`indexing`] keeps it fed.
//! * [`reads`] finds places in an index and [`gather`] fetches what stands there, through the
//!   [`cache`].
//! * [`trims`] asks for trims.
//!
//! The engine itself only hands on what comes. One clock drives all repeats: while anything waits, it
//! rings every [`crate::Timing::again_after`].

mod ahead;
mod bug;
mod cache;
mod clients;
mod decisions;
mod ending;
mod gather;
pub mod index;
mod indexing;
mod part;
mod producer;
mod reads;
mod sending;
mod shelf;
mod streams;
mod trims;
mod turn;

use crate::{
    Config, Entry, Failure, Found, LogId, MEMBERSHIP, Member, Membership, Message, Record, Reply,
    Request, Shard, Term, View,
};
pub use bug::Bug;

use cache::Cache;
use clients::Clients;
use decisions::Decisions;
use indexing::Indexing;
use producer::Producer;
use reads::{Reads, Sources};
use sending::Ordered;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use trims::Trims;
use triptych_nodes::{Nanos, Node, NodeId, Out, Peer, Stored};
use turn::{Turn, Waiter};

/// The timer of everything that is repeated.
const TICK: u64 = 1;
/// The timer of indexes that have heard nothing.
const IDLE: u64 = 3;
/// A cached record's memo is looked for after so many times [`crate::Timing::alive_every`].
const PROBE_AFTER: Nanos = 5;

/// An engine. See the module.
pub struct Engine {
    members: Membership,
    bug: Option<Bug>,
    clients: Clients,
    producer: Producer,
    decisions: Decisions,
    indexes: BTreeMap<LogId, Indexing>,
    reads: Reads,
    trims: Trims,
    cache: Cache,
    /// Whether [`TICK`] is set.
    ticking: bool,
    /// When it asked for newer views last.
    told: Cell<Option<Nanos>>,
    /// Kept to save allocations.
    ordered: Vec<Ordered>,
}

/// A turn of an engine, from its fields, so that the others can still be borrowed.
macro_rules! turn {
    ($engine:ident, $now:ident, $out:ident) => {
        Turn {
            now: $now,
            out: $out,
            members: &$engine.members,
            bug: $engine.bug,
            told: &$engine.told,
        }
    };
}

impl Engine {
    /// A new life of an engine, with a seeded defect if one is given.
    pub fn recover(
        config: Rc<Config>,
        node: NodeId,
        stored: &dyn Stored,
        bug: Option<Bug>,
    ) -> Self {
        let probe_after = config.timing.alive_every.saturating_mul(PROBE_AFTER);
        let cache = Cache::new(config.limits.cache_bytes, probe_after);
        Engine {
            members: Membership::recover(config, node, stored),
            bug,
            clients: Clients::default(),
            producer: Producer::default(),
            decisions: Decisions::default(),
            indexes: BTreeMap::new(),
            reads: Reads::default(),
            trims: Trims::default(),
            cache,
            ticking: false,
            told: Cell::new(None),
            ordered: Vec::new(),
        }
    }

    fn request(
        &mut self,
        now: Nanos,
        waiter: Waiter,
        request: Request,
        out: &mut Out<Message>,
    ) -> Result<(), Failure> {
        let shape = self.members.config().shape;
        let limits = &self.members.config().limits;
        match request {
            Request::Append(record) => {
                producer::check(&record, limits)?;
                if self.clients.is_new(waiter.peer, waiter.op) {
                    self.append(now, waiter, record, out);
                }
            }
            Request::Read(read) => {
                reads::check(&read)?;
                let mut turn = turn!(self, now, out);
                let mut sources = Sources {
                    indexes: &mut self.indexes,
                    cache: &mut self.cache,
                };
                self.reads.read(&mut turn, &mut sources, waiter, read);
            }
            Request::Annotate { book, seq, aux } => {
                if seq.term().log != View::log_of(shape, book) {
                    return Err(Failure::Bad(format!("{seq} is not of logbook {book}")));
                }
                if aux.len() > limits.record_bytes {
                    let limit = limits.record_bytes;
                    return Err(Failure::Bad(format!("a memo may have {limit} bytes")));
                }
                let mut turn = turn!(self, now, out);
                annotate(&mut turn, &mut self.cache, seq, aux);
                turn.reply(waiter, Reply::Annotated);
            }
            Request::Trim { book, streams } => {
                trims::check(&streams)?;
                if self.clients.is_new(waiter.peer, waiter.op) {
                    let mut turn = turn!(self, now, out);
                    self.trims.add(&mut turn, waiter, book, streams);
                }
            }
            Request::Status => {
                let mut turn = turn!(self, now, out);
                let is_engine = turn.is_engine();
                let view = if is_engine { self.members.newest() } else { 0 };
                let gauges = self.gauges().into_iter();
                let gauges = gauges.map(|(name, value)| (name.to_owned(), value));
                let gauges = gauges.collect();
                turn.reply(waiter, Reply::Status { view, gauges });
            }
        }
        Ok(())
    }

    fn append(&mut self, now: Nanos, waiter: Waiter, record: Arc<Record>, out: &mut Out<Message>) {
        let mut turn = turn!(self, now, out);
        let mut record = record;
        if let Some(condition) = record.condition {
            let log = View::log_of(turn.members.config().shape, record.book);
            let own = self.indexes.get(&log);
            if let Some(tail) = own.and_then(|own| own.decided_early(&turn, record.book, condition))
            {
                // The defect ConditionDecidedEarly.
                if tail > condition.tail {
                    let progress = crate::Progress::default();
                    turn.reply(waiter, Reply::Refused { tail, progress });
                    return;
                }
                let condition = None;
                record = Arc::new(Record {
                    condition,
                    ..(*record).clone()
                });
            }
        }
        self.producer.append(&mut turn, waiter, record);
    }

    fn committed(
        &mut self,
        now: Nanos,
        from: Peer,
        term: Term,
        entries: &[Arc<Entry>],
        out: &mut Out<Message>,
    ) {
        let mut turn = turn!(self, now, out);
        if term.view > self.members.newest() {
            turn.ask_for_views();
            return;
        }
        let mut ordered = std::mem::take(&mut self.ordered);
        self.producer
            .committed(&mut turn, term, entries, &mut ordered);
        self.trims.committed(&mut turn, term, entries);
        if let Some(indexing) = self.indexes.get_mut(&term.log) {
            indexing.committed(&mut turn, from, term, entries);
        }
        self.answer(now, ordered, out);
        self.advance(now, term.log, out);
    }

    /// Answers what was ordered, except what an index must decide.
    fn answer(&mut self, now: Nanos, mut ordered: Vec<Ordered>, out: &mut Out<Message>) {
        let mut turn = turn!(self, now, out);
        let me = turn.members.me().node;
        for one in ordered.drain(..) {
            if one.record.condition.is_some() {
                let log = one.seq.term().log;
                let own = self.indexes.get(&log);
                self.decisions.add(&mut turn, &mut self.cache, own, one);
                continue;
            }
            let (seq, progress, record) = (one.seq, one.progress, one.record);
            let aux = None;
            self.cache.put(now, me, Found { seq, record, aux });
            if let Some(waiter) = one.waiter {
                turn.reply(waiter, Reply::Appended { seq, progress });
            }
        }
        self.ordered = ordered;
    }

    /// Lets an index go on, and whoever has waited for it.
    fn advance(&mut self, now: Nanos, log: LogId, out: &mut Out<Message>) {
        let mut turn = turn!(self, now, out);
        let Some(indexing) = self.indexes.get_mut(&log) else {
            return;
        };
        let before = indexing.index.progress();
        let woken = indexing.advance(&mut turn);
        if indexing.index.progress() == before {
            return;
        }
        self.decisions
            .advanced(&mut turn, &mut self.cache, indexing);
        let mut sources = Sources {
            indexes: &mut self.indexes,
            cache: &mut self.cache,
        };
        self.reads.wake(&mut turn, &mut sources, woken);
    }

    fn views(&mut self, now: Nanos, views: Vec<Arc<View>>, out: &mut Out<Message>) {
        let new = self.members.learn(views);
        if new.is_empty() {
            return;
        }
        let mut turn = turn!(self, now, out);
        let mut ordered = std::mem::take(&mut self.ordered);
        for view in &new {
            self.producer.begin(&mut turn, view, &mut ordered);
            self.trims.begin(&mut turn, view);
            for indexing in self.indexes.values_mut() {
                indexing.learn(view);
            }
        }
        // Indexes that it has to keep from now on, and those that others keep.
        if let Some(view) = self.members.current() {
            let me = self.members.me();
            for log in 0..view.shape.logs {
                if view.indexes(log).contains(&me) {
                    let new = || Indexing::new(&turn, log);
                    self.indexes.entry(log).or_insert_with(new);
                } else {
                    self.indexes.remove(&log);
                }
            }
        }
        self.answer(now, ordered, out);
        for log in self.indexes.keys().copied().collect::<Vec<_>>() {
            self.advance(now, log, out);
        }
        let mut turn = turn!(self, now, out);
        let mut sources = Sources {
            indexes: &mut self.indexes,
            cache: &mut self.cache,
        };
        self.reads.view_changed(&mut turn, &mut sources);
        self.decisions.tick(&mut turn, &self.indexes);
    }

    fn node_says(&mut self, now: Nanos, from: NodeId, message: Message, out: &mut Out<Message>) {
        let mut turn = turn!(self, now, out);
        let mut sources = Sources {
            indexes: &mut self.indexes,
            cache: &mut self.cache,
        };
        match message {
            Message::FetchRecords {
                shard,
                from: first,
                to,
            } => self.producer.give(&mut turn, from, shard, first, to),
            Message::Query { op, read } => {
                self.reads.query(&mut turn, &mut sources, from, op, read);
            }
            Message::Answer {
                op,
                found,
                progress,
            } => self
                .reads
                .answer(&mut turn, &mut sources, op, found, progress),
            Message::Ask { op, seq, .. } => {
                if let Some(indexing) = self.indexes.get_mut(&seq.term().log) {
                    indexing.ask(&mut turn, from, op, seq);
                }
            }
            Message::Verdict { op, taken } => {
                self.decisions
                    .verdict(&mut turn, &mut self.cache, op, taken);
            }
            Message::ReadDone { op, seq, found } if op == gather::PROBE => {
                // It was asked for a memo only.
                if let Ok(Found { aux: Some(aux), .. }) = found
                    && self.cache.engine(seq).is_some()
                {
                    self.cache.annotate(now, seq, aux);
                }
            }
            Message::ReadDone { op, seq, found } => {
                self.reads
                    .read_done(&mut turn, &mut sources, from, op, seq, found);
            }
            // What is meant for another role.
            _ => {}
        }
    }

    fn tick(&mut self, now: Nanos, out: &mut Out<Message>) {
        self.ticking = false;
        let mut turn = turn!(self, now, out);
        self.producer.tick(&mut turn);
        self.trims.tick(&mut turn);
        self.decisions.tick(&mut turn, &self.indexes);
        for indexing in self.indexes.values_mut() {
            indexing.tick(&mut turn);
        }
        let mut sources = Sources {
            indexes: &mut self.indexes,
            cache: &mut self.cache,
        };
        self.reads.tick(&mut turn, &mut sources);
        for log in self.indexes.keys().copied().collect::<Vec<_>>() {
            self.advance(now, log, out);
        }
    }

    fn is_busy(&self) -> bool {
        self.producer.is_busy()
            || self.decisions.is_busy()
            || self.reads.is_busy()
            || self.trims.is_busy()
            || self.indexes.values().any(Indexing::is_busy)
    }
}

/// Keeps a memo, and hands it on to the record's holders.
fn annotate(turn: &mut Turn<'_>, cache: &mut Cache, seq: crate::SeqNum, aux: Arc<[u8]>) {
    let term = seq.term();
    let mut holders: Vec<NodeId> = Vec::new();
    if let Some(view) = turn.members.current() {
        match cache.engine(seq) {
            Some(engine) => {
                let shard = Shard { term, engine };
                holders = view.keepers(shard).to_vec();
            }
            // Whose record it is nobody here knows: one of them.
            None => {
                let all = view.holders.get(&term.view).into_iter();
                holders.extend(all.flat_map(|of| of.values()).flatten());
                holders.sort_unstable();
                holders.dedup();
            }
        }
    }
    for holder in holders {
        let aux = Arc::clone(&aux);
        turn.send(holder, Message::Annotate { seq, aux });
    }
    cache.annotate(turn.now, seq, aux);
}

impl Node for Engine {
    type Message = Message;

    fn on_start(&mut self, _now: Nanos, out: &mut Out<Message>) {
        self.members.start(out);
        out.timer(self.members.config().timing.alive_every, IDLE);
    }

    fn on_message(&mut self, now: Nanos, from: Peer, message: Message, out: &mut Out<Message>) {
        match (message, from) {
            (Message::Request { op, request }, peer) => {
                let waiter = Waiter { peer, op };
                if let Err(failure) = self.request(now, waiter, request, out) {
                    turn!(self, now, out).fail(waiter, failure);
                }
            }
            (Message::Committed { term, entries }, _) => {
                self.committed(now, from, term, &entries, out);
            }
            (
                Message::Indexed {
                    shard,
                    from: first,
                    to,
                    items,
                },
                _,
            ) => {
                let log = shard.term.log;
                if let Some(indexing) = self.indexes.get_mut(&log) {
                    let mut turn = turn!(self, now, out);
                    indexing.items(&mut turn, from, shard, (first, to), items);
                    self.advance(now, log, out);
                }
            }
            (Message::Views { views }, Peer::Node(_)) => self.views(now, views, out),
            (message, Peer::Node(from)) => self.node_says(now, from, message, out),
            // Clients have nothing else to say.
            (_, Peer::Client(_)) => {}
        }
    }

    fn on_timer(&mut self, now: Nanos, timer: u64, out: &mut Out<Message>) {
        match timer {
            MEMBERSHIP => self.members.ring(out),
            TICK => self.tick(now, out),
            reads::WAKE => {
                let mut turn = turn!(self, now, out);
                let mut sources = Sources {
                    indexes: &mut self.indexes,
                    cache: &mut self.cache,
                };
                self.reads.ring(&mut turn, &mut sources);
            }
            IDLE => {
                let mut turn = turn!(self, now, out);
                for indexing in self.indexes.values_mut() {
                    indexing.idle(&mut turn);
                }
                out.timer(self.members.config().timing.alive_every, IDLE);
            }
            _ => {}
        }
    }

    fn on_persisted(&mut self, _now: Nanos, token: u64, out: &mut Out<Message>) {
        if token == MEMBERSHIP {
            self.members.persisted(out);
        }
    }

    fn on_read(&mut self, _: Nanos, _: u64, _: Option<Vec<u8>>, _: &mut Out<Message>) {
        // An engine reads nothing from its store.
    }

    fn on_turn_end(&mut self, now: Nanos, out: &mut Out<Message>) {
        let mut turn = turn!(self, now, out);
        self.producer.flush(&mut turn);
        if !self.ticking && self.is_busy() {
            self.ticking = true;
            out.timer(self.members.config().timing.again_after, TICK);
        }
    }

    fn on_gone(&mut self, client: u64) {
        let peer = Peer::Client(client);
        self.clients.gone(peer);
        self.producer.gone(peer);
        self.decisions.gone(peer);
        self.reads.gone(peer, &mut self.indexes);
        self.trims.gone(peer);
    }

    fn gauges(&self) -> Vec<(&'static str, u64)> {
        let (pending_bytes, ordered, resent) = self.producer.gauges();
        let (reading, read) = self.reads.gauges();
        let lens = self.indexes.values().map(|own| own.index.len());
        let (places, books) = lens.fold((0, 0), |sum, len| (sum.0 + len.0, sum.1 + len.1));
        let ready =
            |own: &&Indexing| own.index.is_current() && own.index.newest() == self.members.newest();
        let view = self.members.current();
        let members = |role: fn(&View) -> &Vec<Member>| view.map_or(0, |view| role(view).len());
        vec![
            ("view", u64::from(self.members.newest())),
            ("member", u64::from(self.members.is_member())),
            ("view_sequencers", members(|view| &view.sequencers) as u64),
            ("view_storages", members(|view| &view.storages) as u64),
            ("view_engines", members(|view| &view.engines) as u64),
            ("pending_bytes", pending_bytes),
            ("ordered", ordered),
            ("sent_again", resent),
            ("reading", reading),
            ("read", read),
            ("indexes", self.indexes.len() as u64),
            (
                "indexes_ready",
                self.indexes.values().filter(ready).count() as u64,
            ),
            ("index_places", places as u64),
            ("index_books", books as u64),
            ("cache_bytes", self.cache.bytes() as u64),
        ]
    }
}
