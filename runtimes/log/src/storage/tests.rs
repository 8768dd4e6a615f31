//! A storage alone, with everybody else played by the test.

mod damage;
mod model;
mod order;
mod receive;
mod repair;
mod serve;
mod trim;
mod views;

use super::{Bug, Storage};
use crate::{
    Config, Entry, Level, Member, Message, Missing, Record, SeqNum, Shape, Shard, Step, Tag, Term,
    Trim, View,
};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use triptych_nodes::Message as _;
use triptych_nodes::{Key, Nanos, Node, NodeId, Out, Peer, Persist, Read, Stored};
use triptych_world::MS;

const ME: NodeId = NodeId(200);
const OTHERS: [NodeId; 2] = [NodeId(201), NodeId(202)];
const PRIMARY: NodeId = NodeId(100);
const E0: NodeId = NodeId(1000);
const E1: NodeId = NodeId(1001);
const TERM: Term = Term { view: 1, log: 0 };
const BOOK: u64 = 7;

/// What is on a disk.
#[derive(Clone, Default)]
struct Map(BTreeMap<Key, Vec<u8>>);

impl Map {
    fn apply(&mut self, persist: &Persist) {
        for write in &persist.writes {
            match &write.value {
                Some(value) => self.0.insert(write.key.clone(), value.clone()),
                None => self.0.remove(&write.key),
            };
        }
    }

    fn count(&self, prefix: &[u8]) -> usize {
        self.scan(prefix).count()
    }
}

impl Stored for Map {
    fn scan(&self, prefix: &[u8]) -> Box<dyn Iterator<Item = (Key, Vec<u8>)> + '_> {
        let prefix = prefix.to_vec();
        let all = self
            .0
            .iter()
            .filter(move |(key, _)| key.starts_with(&prefix));
        Box::new(all.map(|(key, value)| (key.clone(), value.clone())))
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(key).cloned()
    }
}

/// A storage, its disk, and the clock.
struct Rig {
    config: Rc<Config>,
    bug: Option<Bug>,
    node: Storage,
    now: Nanos,
    /// What a read sees; what survives a crash; what is on its way from there to there.
    disk: Map,
    synced: Map,
    writing: Vec<Persist>,
    timers: Vec<(Nanos, u64)>,
    sent: Vec<(Peer, Message)>,
    notices: Vec<String>,
    persists: usize,
}

fn config(level: Level) -> Config {
    let shape = Shape {
        logs: 1,
        metas: 1,
        copies: 3,
        indexes: 2,
    };
    let mut config = Config::of(1, 1, 3, 2, shape);
    config.level = level;
    config
}

impl Rig {
    fn new(level: Level, bug: Option<Bug>) -> Self {
        Self::with(config(level), bug)
    }

    fn with(config: Config, bug: Option<Bug>) -> Self {
        let config = Rc::new(config);
        let disk = Map::default();
        let mut rig = Rig {
            node: Storage::recover(Rc::clone(&config), ME, &disk, bug),
            config,
            bug,
            now: 0,
            disk,
            synced: Map::default(),
            writing: Vec::new(),
            timers: Vec::new(),
            sent: Vec::new(),
            notices: Vec::new(),
            persists: 0,
        };
        rig.start();
        rig
    }

    /// A storage in view 1, with both engines.
    fn member(level: Level, bug: Option<Bug>) -> Self {
        let mut rig = Self::new(level, bug);
        rig.views(vec![first_view(1)]);
        rig
    }

    fn start(&mut self) {
        self.call(|node, now, out| node.on_start(now, out));
        self.sync();
        self.sent.clear();
    }

    /// One turn, and those that its reads cause.
    fn call(&mut self, what: impl FnOnce(&mut Storage, Nanos, &mut Out<Message>)) {
        let mut out = Out::default();
        what(&mut self.node, self.now, &mut out);
        let mut reads = self.take(out);
        while let Some(read) = reads.pop_front() {
            let (value, mut out) = (self.disk.get(&read.key), Out::default());
            self.node.on_read(self.now, read.token, value, &mut out);
            reads.extend(self.take(out));
        }
    }

    /// Ends a turn, and does what the node wants; returns what it wants to read.
    fn take(&mut self, mut out: Out<Message>) -> VecDeque<Read> {
        self.node.on_turn_end(self.now, &mut out);
        let timers = out.timers.into_iter();
        self.timers
            .extend(timers.map(|(after, timer)| (self.now + after, timer)));
        self.sent.append(&mut out.sends);
        self.notices.append(&mut out.notices);
        self.persists += out.persists.len();
        for persist in out.persists {
            self.disk.apply(&persist);
            self.writing.push(persist);
        }
        out.reads.into()
    }

    /// The disk has written everything.
    fn sync(&mut self) {
        for persist in std::mem::take(&mut self.writing) {
            self.synced.apply(&persist);
            if let Some(token) = persist.token {
                self.call(|node, now, out| node.on_persisted(now, token, out));
            }
        }
    }

    /// The node loses its memory, and the disk what is not synced; then it starts again.
    fn crash(&mut self) {
        self.disk = self.synced.clone();
        self.restart();
    }

    /// The node loses its memory, and nothing else.
    fn restart(&mut self) {
        self.writing.clear();
        self.timers.clear();
        self.sent.clear();
        self.synced = self.disk.clone();
        self.node = Storage::recover(Rc::clone(&self.config), ME, &self.disk, self.bug);
        self.start();
    }

    fn tell(&mut self, from: impl Into<Peer>, message: Message) {
        let from = from.into();
        self.call(|node, now, out| node.on_message(now, from, message, out));
    }

    /// Time passes.
    fn pass(&mut self, span: Nanos) {
        let end = self.now + span;
        loop {
            let next = (0..self.timers.len()).min_by_key(|&at| (self.timers[at].0, at));
            let Some(at) = next.filter(|&at| self.timers[at].0 <= end) else {
                break;
            };
            let (when, timer) = self.timers.remove(at);
            self.now = when.max(self.now);
            self.call(|node, now, out| node.on_timer(now, timer, out));
        }
        self.now = end;
    }

    fn views(&mut self, views: Vec<Arc<View>>) {
        self.tell(NodeId(1), Message::Views { views });
    }

    fn replicate(&mut self, engine: NodeId, locals: impl IntoIterator<Item = u32>) {
        let records = locals.into_iter().map(|n| (n, record(engine, n))).collect();
        self.replicate_these(engine, records);
    }

    fn replicate_these(&mut self, engine: NodeId, records: Vec<(u32, Arc<Record>)>) {
        let (shard, gone) = (Shard { term: TERM, engine }, Vec::new());
        let message = Message::Replicate {
            shard,
            records,
            gone,
        };
        self.tell(engine, message);
    }

    fn commit(&mut self, entries: &[Arc<Entry>]) {
        let (term, entries) = (TERM, entries.to_vec());
        self.tell(PRIMARY, Message::Committed { term, entries });
    }

    /// What a read of a place gives; none if there is no answer yet.
    fn read(&mut self, seq: SeqNum) -> Option<Result<Arc<Record>, Missing>> {
        let before = std::mem::take(&mut self.sent);
        self.tell(E0, Message::ReadAt { op: 1, seq });
        let mut answer = None;
        for (to, message) in std::mem::replace(&mut self.sent, before) {
            match message {
                Message::ReadDone { found, seq: of, .. } => {
                    assert_eq!((to, of), (E0.into(), seq));
                    answer = Some(found.map(|found| found.record));
                }
                other => self.sent.push((to, other)),
            }
        }
        answer
    }

    /// What was sent since this was last asked.
    fn sent(&mut self) -> Vec<(Peer, Message)> {
        std::mem::take(&mut self.sent)
    }

    /// The newest report to the primary since this was last asked.
    fn reported(&mut self) -> Option<Vec<(NodeId, u32)>> {
        let sent = self.sent().into_iter().rev();
        let mut reports = sent.filter_map(|(to, message)| match message {
            Message::Stored { below, .. } => {
                assert_eq!(to, PRIMARY.into());
                Some(below)
            }
            _ => None,
        });
        reports.next()
    }

    /// Who was asked for which records since this was last asked.
    fn fetches(&mut self) -> Vec<(Peer, NodeId, u32, u32)> {
        let sent = self.sent().into_iter();
        let fetches = sent.filter_map(|(peer, message)| match message {
            Message::FetchRecords { shard, from, to } => Some((peer, shard.engine, from, to)),
            _ => None,
        });
        fetches.collect()
    }

    fn gauge(&self, name: &str) -> u64 {
        let gauges = self.node.gauges();
        let gauge = gauges.into_iter().find(|&(known, _)| known == name);
        gauge.expect("the storage has the gauge").1
    }
}

fn member(node: NodeId, life: u32) -> Member {
    Member { node, life }
}

/// The first view: everybody keeps everything. In it this node lives its life `life`.
fn first_view(life: u32) -> Arc<View> {
    let mut view = View {
        id: 1,
        shape: config(Level::Memory).shape,
        sequencers: vec![member(PRIMARY, 1)],
        storages: vec![member(ME, life), member(OTHERS[0], 1), member(OTHERS[1], 1)],
        engines: vec![member(E0, 1), member(E1, 1)],
        finals: Vec::new(),
        holders: BTreeMap::new(),
    };
    keep(&mut view, &[ME, OTHERS[0], OTHERS[1]]);
    Arc::new(view)
}

/// Has nodes keep everything of a view and of those before it.
fn keep(view: &mut View, nodes: &[NodeId]) {
    let engines: BTreeMap<_, _> = [E0, E1].map(|engine| (engine, nodes.to_vec())).into();
    view.holders = (1..=view.id).map(|id| (id, engines.clone())).collect();
}

/// The view after one, which ended with these entries.
fn next_view(before: &View, life: u32, entries: u32, tail: &[Arc<Entry>]) -> Arc<View> {
    let mut view = before.clone();
    view.id += 1;
    view.storages[0].life = life;
    let tail = tail.to_vec();
    view.finals = vec![crate::Final { entries, tail }];
    keep(&mut view, &[ME, OTHERS[0], OTHERS[1]]);
    Arc::new(view)
}

/// The record that an engine appends under a local id.
fn record(engine: NodeId, local: u32) -> Arc<Record> {
    tagged(engine, local, &[1 + u64::from(local % 3)])
}

fn tagged(engine: NodeId, local: u32, tags: &[Tag]) -> Arc<Record> {
    Arc::new(Record {
        book: BOOK,
        tags: tags.to_vec(),
        data: format!("{engine}/{local}").into_bytes().into(),
        condition: None,
    })
}

fn entry(number: u32, step: Step) -> Arc<Entry> {
    Arc::new(Entry { number, step })
}

fn cut(number: u32, first: u32, starts: [u32; 2], deltas: [u32; 2]) -> Arc<Entry> {
    let (starts, deltas) = (starts.to_vec(), deltas.to_vec());
    let step = Step::Cut {
        first,
        starts,
        deltas,
    };
    entry(number, step)
}

fn trim(streams: &[(Tag, SeqNum)]) -> Trim {
    Trim {
        book: BOOK,
        streams: streams.to_vec(),
        by: (E0, 1),
    }
}

fn release(number: u32, streams: &[(Tag, SeqNum)], refused: &[SeqNum]) -> Arc<Entry> {
    let (trim, refused) = (trim(streams), refused.to_vec());
    entry(number, Step::Release { trim, refused })
}

fn at(position: u32) -> SeqNum {
    SeqNum::new(TERM, position)
}
