//! The sequencer as a node.

use super::disk;
use super::lead::Asked;
use super::metalog::{FULL, Metalog};
use super::pace::{Cut, Follower, Pace};
use crate::message::{Failure, Message, Reply, Request};
use crate::{Config, Level, LogId, MEMBERSHIP, Membership, Step, Term, View, ViewId};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use triptych_nodes::{Durability, Nanos, Node, NodeId, Out, Peer, Stored, Write};

/// The timer by which backups are asked again. Below it stand logs: the timers of their cuts.
const AGAIN: u64 = 1 << 16;
/// The timer by which missing entries of ended terms are asked for again.
const CATCH_UP: u64 = AGAIN + 1;

/// How many entries are sent again, or given to who fetches them, in one message.
const BATCH: u32 = 256;

/// What is waited for under a token.
#[derive(Debug, Default)]
struct Done {
    /// So many entries of a term.
    entries: Vec<(Term, u32)>,
    /// Promises not to go on in these views.
    seals: Vec<ViewId>,
}

/// A view that this sequencer has ended for itself.
#[derive(Debug, Default)]
struct Seal {
    durable: bool,
    /// Controllers who are to be told.
    asked: BTreeSet<NodeId>,
}

/// What has happened, for an operator.
#[derive(Debug, Default)]
struct Counts {
    cuts: u64,
    committed: u64,
    again: u64,
    served: u64,
}

/// A node that keeps metalogs.
pub struct Sequencer {
    membership: Membership,
    /// Whether the number of this life is durable: before that, nothing is said to anybody.
    born: bool,
    logs: BTreeMap<Term, Metalog>,
    /// Of each log of the newest view whose primary this is.
    paces: BTreeMap<LogId, Pace>,
    seals: BTreeMap<ViewId, Seal>,
    waits: BTreeMap<u64, Done>,
    token: u64,
    /// Whether the timer [`AGAIN`] is set.
    again: bool,
    /// Ended terms of which entries are missing here.
    missing: BTreeSet<Term>,
    /// Whether the timer [`CATCH_UP`] is set, and how often an answer brought nothing.
    catching: bool,
    tries: usize,
    told: Option<Nanos>,
    notices: Vec<String>,
    counts: Counts,

    // What this turn has brought, and is dealt with at its end.
    /// Terms with entries that are not written, from which number on.
    unwritten: BTreeMap<Term, u32>,
    writes: Vec<Write>,
    sealing: Vec<ViewId>,
    /// Terms of which the primary is to be told what is kept.
    owed: BTreeSet<Term>,
    committed: BTreeMap<NodeId, BTreeMap<Term, Vec<Arc<crate::Entry>>>>,
    /// Whether missing entries are to be asked for now.
    ask: bool,
}

impl Sequencer {
    /// The factory: a new life of a sequencer, with what it finds.
    pub fn recover(config: Rc<Config>, node: NodeId, stored: &dyn Stored) -> Self {
        let mut membership = Membership::recover(config, node, stored);
        let found = disk::recover(stored);
        membership.sealed = found.sealed.last().copied().unwrap_or(0);
        let seals = found.sealed.into_iter().map(|view| {
            let seal = Seal {
                durable: true,
                asked: BTreeSet::new(),
            };
            (view, seal)
        });
        Sequencer {
            membership,
            born: false,
            logs: found.logs,
            paces: BTreeMap::new(),
            seals: seals.collect(),
            waits: BTreeMap::new(),
            token: 0,
            again: false,
            missing: BTreeSet::new(),
            catching: false,
            tries: 0,
            told: None,
            notices: found.notices,
            counts: Counts::default(),
            unwritten: BTreeMap::new(),
            writes: Vec::new(),
            sealing: Vec::new(),
            owed: BTreeSet::new(),
            committed: BTreeMap::new(),
            ask: false,
        }
    }

    /// A metalog as it is kept here, for tests and tools.
    pub fn metalog(&self, term: Term) -> Option<&Metalog> {
        self.logs.get(&term)
    }

    fn again_after(&self) -> Nanos {
        self.membership.config().timing.again_after
    }

    /// Whether a message is about the newest view. If it is about one that is not known yet, the
    /// controllers are asked for it, not too often.
    fn is_current(&mut self, now: Nanos, view: ViewId, out: &mut Out<Message>) -> bool {
        let newest = self.membership.newest();
        if view > newest {
            let again = self.again_after();
            if self.told.is_none_or(|at| now >= at.saturating_add(again)) {
                self.told = Some(now);
                self.membership.tell(out);
            }
        }
        view == newest && view > 0
    }

    // Views.

    fn learn(&mut self, views: Vec<Arc<View>>) {
        let new = self.membership.learn(views);
        for view in &new {
            if let Some(before) = self.membership.view(view.id - 1).cloned() {
                self.end(&before, view);
            }
        }
        if let Some(view) = new.last() {
            self.begin(view);
        }
    }

    /// The logs of a view have ended, as the next one says.
    fn end(&mut self, view: &View, next: &View) {
        let me = self.membership.me().node;
        self.paces.clear();
        for (term, end) in view.terms().zip(&next.finals) {
            if !view.metas(term.log).iter().any(|meta| meta.node == me) {
                continue;
            }
            let log = self.logs.entry(term);
            let log = log.or_insert_with(|| Metalog::recovered(term, Vec::new(), 0, false));
            let ended = log.end(end);
            if log.is_missing() {
                self.missing.insert(term);
                self.ask = true;
            }
            let forget = ended.discarded.map(|number| disk::forget(term, number));
            self.writes.extend(forget);
            self.touch(term, ended.new);
        }
    }

    /// Entries of these numbers are new.
    fn touch(&mut self, term: Term, new: Range<u32>) {
        if !new.is_empty() {
            let from = self.unwritten.entry(term).or_insert(new.start);
            *from = new.start.min(*from);
        }
    }

    /// Takes its part in the newest view, if it names this life.
    fn begin(&mut self, view: &Arc<View>) {
        let me = self.membership.me();
        for term in view.terms() {
            let metas = view.metas(term.log);
            // What is here already was found on the disk, and is of an earlier life.
            if !metas.contains(&me) || self.logs.contains_key(&term) {
                continue;
            }
            let log = if metas[0] == me {
                let backups = metas[1..].iter().map(|meta| meta.node);
                self.paces.insert(term.log, Pace::new(backups));
                Metalog::primary(view, term, None)
            } else {
                None
            };
            let log = log.unwrap_or_else(|| Metalog::backup(term, None));
            self.logs.insert(term, log);
        }
        if self.seals.contains_key(&view.id) {
            self.seal(view.id);
        }
    }

    /// Promises not to go on in a view.
    fn seal(&mut self, id: ViewId) {
        let Some(view) = self.membership.view(id).cloned() else {
            return;
        };
        let me = self.membership.me().node;
        for term in view.terms() {
            if view.metas(term.log).iter().any(|meta| meta.node == me) {
                let log = self.logs.entry(term);
                let log = log.or_insert_with(|| Metalog::recovered(term, Vec::new(), 0, false));
                log.seal();
            }
        }
        if let Entry::Vacant(seal) = self.seals.entry(id) {
            seal.insert(Seal::default());
            self.sealing.push(id);
        }
        self.membership.sealed = self.membership.sealed.max(id);
    }

    fn on_seal(&mut self, now: Nanos, from: NodeId, id: ViewId, out: &mut Out<Message>) {
        self.is_current(now, id, out);
        if self.membership.view(id).is_none()
            || !self.membership.config().controllers.contains(&from)
        {
            return;
        }
        self.seal(id);
        let seal = self.seals.entry(id).or_default();
        seal.asked.insert(from);
        if seal.durable {
            self.tell_sealed(id, out);
        }
    }

    /// Tells the controllers who asked what is kept of a view that was sealed.
    fn tell_sealed(&mut self, id: ViewId, out: &mut Out<Message>) {
        let (Some(view), Some(seal)) = (self.membership.view(id), self.seals.get_mut(&id)) else {
            return;
        };
        let logs: Vec<_> = view
            .terms()
            .filter_map(|term| self.logs.get(&term)?.sealed())
            .collect();
        for controller in std::mem::take(&mut seal.asked) {
            let sealed = Message::Sealed {
                view: id,
                member: self.membership.me(),
                logs: logs.clone(),
            };
            out.send(controller, sealed);
        }
    }

    // The primary's part.

    fn on_stored(&mut self, from: NodeId, term: Term, below: &[(NodeId, u32)]) {
        let Some(log) = self.logs.get_mut(&term) else {
            return;
        };
        if !log.report(from, below) && log.is_ordered(below) && log.committed() > 0 {
            // It goes on saying so because it has missed the cut: now it sees what to fetch.
            let last = log.committed() - 1;
            let entry = log.entries(last..last + 1).to_vec();
            self.give(from, term, &entry);
        }
    }

    fn on_trim(&mut self, from: NodeId, term: Term, step: Step) {
        let Some(log) = self.logs.get_mut(&term) else {
            return;
        };
        match log.ask(step) {
            Asked::New => {
                let len = log.len();
                self.touch(term, len - 1..len);
            }
            Asked::Again(number) if number < log.committed() => {
                let entry = log.entries(number..number + 1).to_vec();
                self.give(from, term, &entry);
            }
            Asked::Again(_) | Asked::Refused => {}
        }
    }

    /// Cuts if it is time.
    fn cut(&mut self, now: Nanos, log: LogId, out: &mut Out<Message>) {
        let view = self.membership.newest();
        let term = Term { view, log };
        let (Some(pace), Some(metalog)) = (self.paces.get_mut(&log), self.logs.get_mut(&term))
        else {
            return;
        };
        let ready = metalog.can_cut();
        match pace.cut(now, ready, &self.membership.config().timing) {
            Cut::Now => {
                if let Some(entry) = metalog.cut() {
                    self.counts.cuts += 1;
                    self.touch(term, entry.number..entry.number + 1);
                }
            }
            Cut::Wait(span) => out.timer(span, u64::from(log)),
            Cut::No if metalog.is_full() && !metalog.is_sealed() => {
                out.notice(format!(
                    "log {log} of view {view} has come to {FULL}: the view must end"
                ));
                self.seal(view);
                self.membership.tell(out);
            }
            Cut::No => {}
        }
    }

    /// Sends backups what they were not sent yet; or, if they do not answer, once more.
    fn replicate(&mut self, now: Nanos, again: bool, out: &mut Out<Message>) {
        let view = self.membership.newest();
        let patience = self.membership.config().timing.again_after;
        let mut behind = false;
        for (&log, pace) in &mut self.paces {
            let term = Term { view, log };
            let Some(metalog) = self.logs.get(&term).filter(|log| !log.is_sealed()) else {
                continue;
            };
            let (len, committed) = (metalog.len(), metalog.committed());
            for (&backup, follower) in &mut pace.followers {
                let position = metalog.position(backup);
                let lacks = position < len || follower.told < committed;
                let late = again && lacks && now >= follower.at.saturating_add(patience);
                let range = if late {
                    self.counts.again += 1;
                    position..len.min(position.saturating_add(BATCH))
                } else if follower.sent < len {
                    follower.sent..len
                } else {
                    behind |= lacks;
                    continue;
                };
                behind = true;
                *follower = Follower {
                    sent: range.end.max(follower.sent),
                    told: committed,
                    at: now,
                };
                let entries = metalog.entries(range).to_vec();
                let accept = Message::Accept {
                    term,
                    entries,
                    committed,
                };
                out.send(backup, accept);
            }
        }
        if behind && !self.again {
            self.again = true;
            out.timer(patience, AGAIN);
        }
    }

    /// Entries of these numbers are committed: tells everybody whom they concern.
    fn distribute(&mut self, term: Term, range: Range<u32>) {
        let Some(view) = self.membership.view(term.view).cloned() else {
            return;
        };
        let entries = match self.logs.get(&term) {
            Some(log) if !range.is_empty() => log.entries(range).to_vec(),
            _ => return,
        };
        self.counts.committed += entries.len() as u64;
        let indexes = view.indexes(term.log);
        for member in view.storages.iter().chain(&indexes) {
            self.give(member.node, term, &entries);
        }
        for entry in &entries {
            let concerned: Vec<NodeId> = match &entry.step {
                Step::Cut { deltas, .. } => {
                    let engines = view.engines.iter().zip(deltas);
                    let engines = engines.filter(|&(_, &delta)| delta > 0);
                    engines.map(|(engine, _)| engine.node).collect()
                }
                Step::Trim(trim) | Step::Release { trim, .. } => {
                    let asked = view.engine(trim.by.0);
                    asked.map(|_| trim.by.0).into_iter().collect()
                }
            };
            for node in concerned {
                if !indexes.iter().any(|index| index.node == node) {
                    self.give(node, term, std::slice::from_ref(entry));
                }
            }
        }
    }

    fn give(&mut self, node: NodeId, term: Term, entries: &[Arc<crate::Entry>]) {
        let of = self.committed.entry(node).or_default();
        of.entry(term).or_default().extend(entries.iter().cloned());
    }

    // The backup's part.

    fn on_accept(
        &mut self,
        from: NodeId,
        term: Term,
        entries: &[Arc<crate::Entry>],
        committed: u32,
        out: &mut Out<Message>,
    ) {
        let Some(view) = self.membership.current() else {
            return;
        };
        let me = self.membership.me();
        if term.log >= view.shape.logs
            || view.primary(term.log) != from
            || !view.metas(term.log).contains(&me)
        {
            return;
        }
        let Some(log) = self.logs.get_mut(&term).filter(|log| !log.is_sealed()) else {
            return;
        };
        let before = log.len();
        if log.accept(entries, committed) {
            let len = log.len();
            self.touch(term, before..len);
        } else if !self.unwritten.contains_key(&term) {
            let entries = log.durable();
            out.send(from, Message::Accepted { term, entries });
        }
    }

    // Everybody's part.

    fn on_fetch(&mut self, from: NodeId, term: Term, number: u32, out: &mut Out<Message>) {
        let entries = self.logs.get(&term).map(|log| log.fetch(number, BATCH));
        let entries = entries.unwrap_or_default().to_vec();
        self.counts.served += entries.len() as u64;
        out.send(from, Message::Committed { term, entries });
    }

    /// Entries that were asked for have come.
    fn on_committed(&mut self, term: Term, entries: &[Arc<crate::Entry>]) {
        if !self.missing.contains(&term) {
            return;
        }
        let Some(log) = self.logs.get_mut(&term) else {
            return;
        };
        let new = log.learn(entries);
        let complete = !log.is_missing();
        if complete {
            self.missing.remove(&term);
        }
        self.ask |= !new.is_empty() || complete;
        self.touch(term, new);
    }

    /// Asks somebody for what is missing of ended terms: the other sequencers that kept it, and the
    /// storages, in turn.
    fn catch_up(&mut self, out: &mut Out<Message>) {
        let me = self.membership.me().node;
        let Some(&term) = self.missing.first() else {
            return;
        };
        let (Some(then), Some(today)) =
            (self.membership.view(term.view), self.membership.current())
        else {
            return;
        };
        let mut peers: Vec<NodeId> = Vec::new();
        for member in then.metas(term.log).iter().chain(&today.storages) {
            if member.node != me && !peers.contains(&member.node) {
                peers.push(member.node);
            }
        }
        if let (Some(&peer), Some(log)) = (
            peers.get(self.tries % peers.len().max(1)),
            self.logs.get(&term),
        ) {
            let from = log.len();
            out.send(peer, Message::FetchEntries { term, from });
        }
        if !self.catching {
            self.catching = true;
            out.timer(self.again_after(), CATCH_UP);
        }
    }

    /// Writes what is new, and says what may be said at once.
    fn write(&mut self, out: &mut Out<Message>) {
        let mut done = Done::default();
        let mut writes = std::mem::take(&mut self.writes);
        for (term, from) in std::mem::take(&mut self.unwritten) {
            if let Some(log) = self.logs.get(&term) {
                let (len, committed) = (log.len(), log.committed());
                let entries = log.entries(from..len).iter();
                writes.extend(entries.map(|entry| disk::keep(term, committed, entry)));
                done.entries.push((term, len));
            }
        }
        done.seals = std::mem::take(&mut self.sealing);
        writes.extend(done.seals.iter().map(|&view| disk::seal(view)));
        if writes.is_empty() {
            return;
        }
        match self.membership.config().level {
            Level::Memory => {
                out.persist(None, writes, Durability::Lazy);
                self.done(done, out);
            }
            Level::Synced => {
                self.token += 1;
                out.persist(Some(self.token), writes, Durability::Synced);
                self.waits.insert(self.token, done);
            }
        }
    }

    /// What was written is as durable as the level asks for.
    fn done(&mut self, done: Done, out: &mut Out<Message>) {
        for (term, entries) in done.entries {
            if let Some(log) = self.logs.get_mut(&term) {
                let committed = log.persisted(entries);
                if !log.is_primary() && !log.is_sealed() {
                    self.owed.insert(term);
                }
                self.distribute(term, committed);
            }
        }
        for id in done.seals {
            self.seals.entry(id).or_default().durable = true;
            self.tell_sealed(id, out);
        }
    }

    fn on_request(&self, op: u64, request: &Request, from: Peer, out: &mut Out<Message>) {
        let reply = match request {
            Request::Status => Reply::Status {
                view: self.membership.newest(),
                gauges: self.named_gauges(),
            },
            _ => Reply::Failed(Failure::Unavailable),
        };
        out.send(from, Message::Reply { op, reply });
    }

    fn named_gauges(&self) -> Vec<(String, u64)> {
        let gauges = self.gauges().into_iter();
        gauges
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}

impl Node for Sequencer {
    type Message = Message;

    fn on_start(&mut self, _now: Nanos, out: &mut Out<Message>) {
        out.notices.append(&mut self.notices);
        self.membership.start(out);
    }

    fn on_message(&mut self, now: Nanos, from: Peer, message: Message, out: &mut Out<Message>) {
        if !self.born {
            return;
        }
        let Peer::Node(node) = from else {
            if let Message::Request { op, request } = message {
                self.on_request(op, &request, from, out);
            }
            return;
        };
        match message {
            Message::Views { views } => self.learn(views),
            Message::Seal { view } => self.on_seal(now, node, view, out),
            Message::FetchEntries { term, from } => self.on_fetch(node, term, from, out),
            Message::Committed { term, entries } => self.on_committed(term, &entries),
            Message::Stored { term, below } if self.is_current(now, term.view, out) => {
                self.on_stored(node, term, &below);
            }
            Message::Trim { term, step } if self.is_current(now, term.view, out) => {
                self.on_trim(node, term, step);
            }
            Message::Accept {
                term,
                entries,
                committed,
            } if self.is_current(now, term.view, out) => {
                self.on_accept(node, term, &entries, committed, out);
            }
            Message::Accepted { term, entries } if self.is_current(now, term.view, out) => {
                if let Some(log) = self.logs.get_mut(&term) {
                    let committed = log.accepted(node, entries);
                    self.distribute(term, committed);
                }
            }
            Message::Request { op, request } => self.on_request(op, &request, from, out),
            // Everything else is for other roles, or about terms that are over.
            _ => {}
        }
    }

    fn on_timer(&mut self, now: Nanos, timer: u64, out: &mut Out<Message>) {
        match timer {
            MEMBERSHIP => self.membership.ring(out),
            AGAIN => {
                self.again = false;
                self.replicate(now, true, out);
            }
            CATCH_UP => {
                self.catching = false;
                self.tries += 1;
                self.ask = true;
            }
            // The timer of a cut: the end of the turn looks whether one is due.
            _ => {}
        }
    }

    fn on_persisted(&mut self, _now: Nanos, token: u64, out: &mut Out<Message>) {
        if token == MEMBERSHIP {
            self.born = true;
            self.membership.persisted(out);
        } else if let Some(done) = self.waits.remove(&token) {
            self.done(done, out);
        }
    }

    fn on_read(&mut self, _: Nanos, _: u64, _: Option<Vec<u8>>, _: &mut Out<Message>) {}

    fn on_turn_end(&mut self, now: Nanos, out: &mut Out<Message>) {
        let logs: Vec<LogId> = self.paces.keys().copied().collect();
        for log in logs {
            self.cut(now, log, out);
        }
        self.write(out);
        self.replicate(now, false, out);
        for term in std::mem::take(&mut self.owed) {
            let (view, log) = (self.membership.view(term.view), self.logs.get(&term));
            if let (Some(view), Some(log)) = (view, log) {
                let entries = log.durable();
                out.send(view.primary(term.log), Message::Accepted { term, entries });
            }
        }
        for (node, terms) in std::mem::take(&mut self.committed) {
            for (term, entries) in terms {
                out.send(node, Message::Committed { term, entries });
            }
        }
        if std::mem::take(&mut self.ask) {
            self.catch_up(out);
        }
    }

    fn gauges(&self) -> Vec<(&'static str, u64)> {
        let view = self.membership.newest();
        let current = || self.logs.values().filter(|log| log.term().view == view);
        let sum = |of: fn(&Metalog) -> u32| current().map(|log| u64::from(of(log))).sum();
        vec![
            ("view", u64::from(view)),
            ("life", u64::from(self.membership.me().life)),
            ("member", u64::from(self.membership.is_member())),
            ("sealed_view", u64::from(self.membership.sealed)),
            ("primary_of", self.paces.len() as u64),
            ("logs", current().count() as u64),
            ("entries", sum(Metalog::len)),
            ("entries_committed", sum(Metalog::committed)),
            ("terms_kept", self.logs.len() as u64),
            ("terms_missing", self.missing.len() as u64),
            ("cuts", self.counts.cuts),
            ("commits", self.counts.committed),
            ("accepts_again", self.counts.again),
            ("entries_served", self.counts.served),
        ]
    }
}
