//! Two engines in a network that loses, doubles and delays, with one peer that plays all other nodes
//! and never forgets: whatever happens on the way, every append gets its place once, every read is
//! answered with exactly the prefix that it says, and views come and go.

#[allow(dead_code, unreachable_pub)]
mod engine_desk;

use engine_desk::{Desk, ME, MS, OTHER, PRIMARY, record, seq, shard, term};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use triptych_log::engine::{Bug, Engine};
use triptych_log::{
    Condition, Direction, EVERY, Entry, Final, Found, Item, Message, Progress, Read, Record, Reply,
    Request, SeqNum, Shard, Step, View,
};
use triptych_nodes::{Key, Nanos, Node, NodeId, Out, Peer, Stored};
use triptych_world::mix;

struct Empty;

impl Stored for Empty {
    fn scan(&self, _: &[u8]) -> Box<dyn Iterator<Item = (Key, Vec<u8>)> + '_> {
        Box::new(std::iter::empty())
    }

    fn get(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

enum Event {
    Message(Peer, Message),
    Timer(u64),
}

/// The engines, the network, and what everybody else has.
struct Network {
    seed: u64,
    drawn: u64,
    now: Nanos,
    engines: BTreeMap<NodeId, (Engine, Out<Message>)>,
    events: BTreeMap<(Nanos, u64), (NodeId, Event)>,
    views: Vec<Arc<View>>,
    entries: Vec<Vec<Arc<Entry>>>,
    records: BTreeMap<Shard, BTreeMap<u32, Arc<Record>>>,
    ordered: BTreeMap<Shard, u32>,
    /// All records in order, and how many there were after so many entries.
    log: Vec<(SeqNum, Arc<Record>)>,
    after: BTreeMap<Progress, usize>,
    replies: BTreeMap<u64, Reply>,
}

impl Network {
    fn new(seed: u64, bug: Option<Bug>) -> Self {
        let desk = Desk::new(bug);
        let recover = |node| {
            let config = std::rc::Rc::clone(&desk.config);
            (
                node,
                (Engine::recover(config, node, &Empty, bug), Out::default()),
            )
        };
        let mut network = Network {
            seed,
            drawn: 0,
            now: 0,
            engines: [ME, OTHER].map(recover).into(),
            events: BTreeMap::new(),
            views: Vec::new(),
            entries: Vec::new(),
            records: BTreeMap::new(),
            ordered: BTreeMap::new(),
            log: Vec::new(),
            after: BTreeMap::new(),
            replies: BTreeMap::new(),
        };
        for node in [ME, OTHER] {
            let (engine, out) = network.engines.get_mut(&node).unwrap();
            engine.on_start(0, out);
            engine.on_persisted(0, triptych_log::MEMBERSHIP, out);
            network.carry(node);
        }
        network
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.drawn += 1;
        mix(self.seed, self.drawn) % below
    }

    /// Of five messages one is lost, and one comes twice.
    fn send(&mut self, to: NodeId, from: Peer, message: &Message) {
        let copies = [0, 1, 1, 1, 2][self.draw(5) as usize];
        for _ in 0..copies {
            let at = self.now + 50_000 + self.draw(400_000);
            let event = Event::Message(from, message.clone());
            self.at(at, to, event);
        }
    }

    fn at(&mut self, at: Nanos, node: NodeId, event: Event) {
        self.drawn += 1;
        self.events.insert((at, self.drawn), (node, event));
    }

    /// Carries out what an engine wants.
    fn carry(&mut self, node: NodeId) {
        let (engine, out) = self.engines.get_mut(&node).unwrap();
        engine.on_turn_end(self.now, out);
        let (sends, timers) = (
            std::mem::take(&mut out.sends),
            std::mem::take(&mut out.timers),
        );
        for (after, timer) in timers {
            self.at(self.now + after, node, Event::Timer(timer));
        }
        for (to, message) in sends {
            match (to, message) {
                (Peer::Client(_), Message::Reply { op, reply }) => {
                    let before = self.replies.insert(op, reply);
                    assert_eq!(before, None, "answered twice");
                }
                (Peer::Node(to), message) if self.engines.contains_key(&to) => {
                    self.send(to, node.into(), &message);
                }
                (Peer::Node(to), message) => {
                    // To the peer things are lost too.
                    if self.draw(5) > 0 {
                        self.peer(node, to, message);
                    }
                }
                (to, message) => panic!("{to}: {message:?}"),
            }
        }
    }

    /// What all other nodes do.
    fn peer(&mut self, from: NodeId, me: NodeId, message: Message) {
        let answer = match message {
            Message::Alive { view, .. } => {
                let views = self.views[usize::from(view).min(self.views.len())..].to_vec();
                Message::Views { views }
            }
            Message::Replicate { shard, records, .. } => {
                let all = self.records.entry(shard).or_default();
                for (id, record) in records {
                    let known = all.entry(id).or_insert_with(|| Arc::clone(&record));
                    assert_eq!(*known, record, "a local id has one record");
                }
                return;
            }
            Message::FetchEntries { term, from } => {
                let at = usize::from(term.view) - 1;
                let rest = self.entries[at].iter().skip(from as usize);
                let entries = rest.take(16).cloned().collect();
                Message::Committed { term, entries }
            }
            Message::FetchIndex { shard, from, to } => {
                let to = to.min(from + 5).min(self.ordered[&shard]);
                self.indexed(shard, from, to)
            }
            Message::ReadAt { op, seq } => {
                let record = self.log.iter().find(|one| one.0 == seq);
                let record = Arc::clone(&record.unwrap().1);
                let aux = None;
                let found = Ok(Found { seq, record, aux });
                Message::ReadDone { op, seq, found }
            }
            _ => return,
        };
        self.send(from, me.into(), &answer);
    }

    fn indexed(&self, shard: Shard, from: u32, to: u32) -> Message {
        let records = self.records.get(&shard).into_iter();
        let records = records.flat_map(|all| all.range(from..to.max(from)));
        let item = |(&id, record): (&u32, &Arc<Record>)| {
            let Record {
                book,
                tags,
                condition,
                ..
            } = (**record).clone();
            let item = Item {
                book,
                tags,
                condition,
            };
            (id, item)
        };
        Message::Indexed {
            shard,
            from,
            to,
            items: records.map(item).collect(),
        }
    }

    fn view(&self) -> u16 {
        self.views.len() as u16
    }

    /// Orders what is there.
    fn cut(&mut self, tell: bool) {
        let view = self.view();
        let engines: Vec<_> = self.views[usize::from(view) - 1]
            .engines
            .iter()
            .map(|member| member.node)
            .collect();
        let of_view = self.log.iter().filter(|one| one.0.term() == term(view));
        let first = of_view.count() as u32;
        let (mut starts, mut deltas, mut position) = (Vec::new(), Vec::new(), first);
        let mut told = Vec::new();
        for engine in engines {
            let shard = shard(view, engine);
            let start = *self.ordered.entry(shard).or_default();
            let mut end = start;
            while let Some(record) = self.records.get(&shard).and_then(|all| all.get(&end)) {
                self.log.push((seq(view, position), Arc::clone(record)));
                (end, position) = (end + 1, position + 1);
            }
            self.ordered.insert(shard, end);
            starts.push(start);
            deltas.push(end - start);
            told.push(self.indexed(shard, start, end));
        }
        if position == first {
            return;
        }
        let entries = &mut self.entries[usize::from(view) - 1];
        let number = entries.len() as u32;
        let step = Step::Cut {
            first,
            starts,
            deltas,
        };
        let entry = Arc::new(Entry { number, step });
        entries.push(Arc::clone(&entry));
        let entries = number + 1;
        self.after
            .insert(Progress { view, entries }, self.log.len());
        if tell {
            let (term, entries) = (term(view), vec![entry]);
            told.push(Message::Committed { term, entries });
            for message in told {
                for node in [ME, OTHER] {
                    self.send(node, PRIMARY.into(), &message);
                }
            }
        }
    }

    /// The next view: perhaps with a last cut that nobody was told of.
    fn change_view(&mut self) {
        let end = self.entries.last().map(|entries| Final {
            entries: entries.len() as u32,
            tail: entries.iter().rev().take(2).rev().cloned().collect(),
        });
        let id = self.view() + 1;
        let engines = if id.is_multiple_of(2) {
            [ME, OTHER]
        } else {
            [OTHER, ME]
        };
        let view = Desk::new(None).view(id, &engines, end);
        self.views.push(view);
        self.entries.push(Vec::new());
        let progress = Progress {
            view: id,
            entries: 0,
        };
        self.after.insert(progress, self.log.len());
        let views = self.views.clone();
        for node in [ME, OTHER] {
            let views = views.clone();
            self.send(node, Peer::Node(NodeId(1)), &Message::Views { views });
        }
    }

    fn ask(&mut self, node: NodeId, op: u64, request: Request) {
        let (engine, out) = self.engines.get_mut(&node).unwrap();
        let request = Message::Request { op, request };
        engine.on_message(self.now, Peer::Client(1), request, out);
        self.carry(node);
    }

    fn run(&mut self, until: Nanos) {
        while let Some(first) = self.events.first_entry()
            && first.key().0 <= until
        {
            self.now = first.key().0;
            let (node, event) = first.remove();
            let (engine, out) = self.engines.get_mut(&node).unwrap();
            match event {
                Event::Message(from, message) => engine.on_message(self.now, from, message, out),
                Event::Timer(timer) => engine.on_timer(self.now, timer, out),
            }
            self.carry(node);
        }
        self.now = until;
    }

    /// The places of a stream after so many entries, conditions decided.
    fn stream(&self, tag: u64, progress: Progress) -> Vec<SeqNum> {
        let mut places = Vec::new();
        let mut taken: Vec<(SeqNum, &Record)> = Vec::new();
        for (seq, record) in &self.log[..self.after[&progress]] {
            let refused = record.condition.is_some_and(|on| {
                let tagged = |one: &&(SeqNum, &Record)| one.1.tags.contains(&on.tag);
                let newest = taken.iter().rev().find(tagged);
                newest.is_some_and(|newest| newest.0 > on.tail)
            });
            if !refused {
                taken.push((*seq, record));
                if tag == EVERY || record.tags.contains(&tag) {
                    places.push(*seq);
                }
            }
        }
        places
    }
}

/// Appends and reads through both engines over some views; says what is wrong.
fn run(seed: u64, bug: Option<Bug>) -> Result<(), String> {
    let mut network = Network::new(seed, bug);
    network.change_view();
    let mut appends: BTreeMap<u64, Arc<Record>> = BTreeMap::new();
    let mut reads: BTreeMap<u64, Read> = BTreeMap::new();
    let mut seen = Progress::default();
    for op in 0..120_u64 {
        let node = [ME, OTHER][network.draw(2) as usize];
        let tag = 1 + network.draw(3);
        match network.draw(10) {
            0..5 => {
                let condition = (network.draw(4) == 0).then(|| Condition {
                    tag,
                    tail: network.log.last().map_or(SeqNum::ZERO, |last| last.0),
                });
                // Each is different, so that it is known again.
                let data = op.to_be_bytes()[..].into();
                let record = Arc::new(Record {
                    data,
                    ..(*record(&[tag], condition)).clone()
                });
                appends.insert(op, Arc::clone(&record));
                network.ask(node, op, Request::Append(record));
            }
            5..9 => {
                let read = Read {
                    book: 1,
                    tag: tag - 1,
                    bound: SeqNum::ZERO,
                    direction: Direction::Next,
                    limit: 1_000,
                    wait: 0,
                    progress: seen,
                };
                reads.insert(op, read);
                network.ask(node, op, Request::Read(read));
            }
            _ if network.draw(2) == 0 => {
                network.cut(false);
                network.change_view();
            }
            _ => {}
        }
        network.cut(true);
        let until = network.now + network.draw(MS);
        network.run(until);
        for reply in network.replies.values() {
            if let Reply::Appended { progress, .. } | Reply::Records { progress, .. } = reply {
                seen = seen.max(*progress);
            }
        }
    }
    // Nothing waits for ever.
    for _ in 0..3_000 {
        network.cut(true);
        network.run(network.now + MS);
    }
    let mut places = BTreeSet::new();
    for (op, record) in &appends {
        match network.replies.get(op) {
            Some(Reply::Appended { seq, progress }) => {
                let there = network
                    .log
                    .iter()
                    .any(|one| one == &(*seq, Arc::clone(record)));
                if !there || !places.insert(*seq) {
                    return Err(format!("append {op} is not at {seq}"));
                }
                let stream = network.stream(record.tags[0], *progress);
                if !stream.contains(seq) {
                    return Err(format!("append {op} at {seq} is not in its stream"));
                }
            }
            Some(Reply::Refused { .. }) => {
                let there = network.log.iter().find(|one| one.1 == *record);
                let (seq, _) = there.ok_or(format!("append {op} was not ordered"))?;
                let last = network.after.keys().next_back().copied().unwrap();
                if network.stream(record.tags[0], last).contains(seq) {
                    return Err(format!("append {op} was not refused"));
                }
            }
            other => return Err(format!("append {op}: {other:?}")),
        }
        let copies = network.log.iter().filter(|one| one.1 == *record);
        if copies.count() != 1 {
            return Err(format!("append {op} stands more than once"));
        }
    }
    for (op, read) in &reads {
        let Some(Reply::Records { records, progress }) = network.replies.get(op) else {
            return Err(format!("read {op}: {:?}", network.replies.get(op)));
        };
        let found: Vec<_> = records.iter().map(|found| found.seq).collect();
        if *progress < read.progress || found != network.stream(read.tag, *progress) {
            return Err(format!("read {op} at {progress:?} is no prefix"));
        }
    }
    Ok(())
}

#[test]
fn whatever_is_lost_everything_is_answered_and_right() {
    for seed in 0..60 {
        assert_eq!(run(seed, None), Ok(()), "seed {seed}");
    }
}

#[test]
fn seeded_defects_are_seen_in_the_network() {
    let bugs = [
        Bug::ReadAhead,
        Bug::ApplyWithoutItems,
        Bug::SkipView,
        Bug::ConditionIgnored,
        Bug::ConditionDecidedEarly,
        Bug::DiscardOrdered,
        Bug::LocalIdReuse,
        Bug::ProgressTooLow,
        Bug::RefusedVisible,
    ];
    for bug in bugs {
        let seen = (0..60).any(|seed| run(seed, Some(bug)).is_err());
        assert!(seen, "{bug:?}");
    }
}
