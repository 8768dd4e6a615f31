//! An engine on a desk: the test is everybody else, and delivers by hand.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use triptych_log::engine::{Bug, Engine};
use triptych_log::{
    Condition, Config, Direction, Entry, Final, Item, MEMBERSHIP, Member, Message, Progress, Read,
    Record, Reply, Request, SeqNum, Shape, Shard, Step, Tag, Term, View,
};
use triptych_nodes::{Key, Nanos, Node, NodeId, Out, Peer, Stored};

pub const ME: NodeId = NodeId(1000);
pub const OTHER: NodeId = NodeId(1001);
pub const PRIMARY: NodeId = NodeId(100);
pub const BACKUP: NodeId = NodeId(101);
pub const STORAGES: [NodeId; 2] = [NodeId(200), NodeId(201)];
pub const CLIENT: Peer = Peer::Client(7);
pub const MS: Nanos = 1_000_000;

struct Empty;

impl Stored for Empty {
    fn scan(&self, _: &[u8]) -> Box<dyn Iterator<Item = (Key, Vec<u8>)> + '_> {
        Box::new(std::iter::empty())
    }

    fn get(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// The engine, the time, and what it wants done.
pub struct Desk {
    pub engine: Engine,
    pub now: Nanos,
    pub out: Out<Message>,
    timers: BTreeMap<(Nanos, u64), u32>,
    pub config: Rc<Config>,
    op: u64,
}

impl Desk {
    /// A cluster of one log, two engines and two storages, the engine under test with or without an
    /// index, before any view.
    pub fn new(bug: Option<Bug>) -> Self {
        Self::with(bug, |_| {})
    }

    pub fn with(bug: Option<Bug>, change: impl FnOnce(&mut Config)) -> Self {
        let shape = Shape {
            logs: 1,
            metas: 2,
            copies: 2,
            indexes: 1,
        };
        let mut config = Config::of(1, 2, 2, 2, shape);
        change(&mut config);
        let config = Rc::new(config);
        let mut desk = Desk {
            engine: Engine::recover(Rc::clone(&config), ME, &Empty, bug),
            now: 0,
            out: Out::default(),
            timers: BTreeMap::new(),
            config,
            op: 0,
        };
        desk.engine.on_start(0, &mut desk.out);
        desk.engine.on_persisted(0, MEMBERSHIP, &mut desk.out);
        desk.turn_end();
        desk.out.sends.clear();
        desk
    }

    /// The first view, in which this engine indexes the log if it stands first.
    pub fn begin(&mut self, engines: &[NodeId]) {
        let view = self.view(1, engines, None);
        self.views(vec![view]);
        self.out.sends.clear();
    }

    pub fn view(&self, id: u16, engines: &[NodeId], end: Option<Final>) -> Arc<View> {
        let members = |nodes: &[NodeId]| {
            let member = |&node| Member { node, life: 1 };
            nodes.iter().map(member).collect()
        };
        let all = [ME, OTHER].map(|engine| (engine, STORAGES.to_vec()));
        let holders = (1..=id).map(|view| (view, all.iter().cloned().collect()));
        Arc::new(View {
            id,
            shape: self.config.shape,
            sequencers: members(&[PRIMARY, BACKUP]),
            storages: members(&STORAGES),
            engines: members(engines),
            finals: end.into_iter().collect(),
            holders: holders.collect(),
        })
    }

    pub fn views(&mut self, views: Vec<Arc<View>>) {
        self.hear(Peer::Node(NodeId(1)), Message::Views { views });
    }

    pub fn hear(&mut self, from: impl Into<Peer>, message: Message) {
        self.engine
            .on_message(self.now, from.into(), message, &mut self.out);
        self.turn_end();
    }

    fn turn_end(&mut self) {
        self.engine.on_turn_end(self.now, &mut self.out);
        for (after, timer) in self.out.timers.drain(..) {
            *self.timers.entry((self.now + after, timer)).or_default() += 1;
        }
    }

    /// Lets time pass; timers ring.
    pub fn wait(&mut self, span: Nanos) {
        let until = self.now + span;
        while let Some(first) = self.timers.first_entry()
            && first.key().0 <= until
        {
            let ((at, timer), count) = first.remove_entry();
            self.now = at;
            for _ in 0..count {
                self.engine.on_timer(at, timer, &mut self.out);
                self.turn_end();
            }
        }
        self.now = until;
    }

    /// A client asks; returns its number.
    pub fn ask(&mut self, request: Request) -> u64 {
        self.op += 1;
        let op = self.op;
        self.hear(CLIENT, Message::Request { op, request });
        op
    }

    pub fn append(&mut self, tags: &[Tag]) -> u64 {
        self.ask(Request::Append(record(tags, None)))
    }

    pub fn committed(&mut self, view: u16, entries: &[Arc<Entry>]) {
        let entries = entries.to_vec();
        let term = term(view);
        self.hear(PRIMARY, Message::Committed { term, entries });
    }

    /// A holder tells of records of an engine.
    pub fn indexed(&mut self, view: u16, engine: NodeId, from: u32, items: Vec<Item>) {
        let to = from + items.len() as u32;
        let indexed = Message::Indexed {
            shard: shard(view, engine),
            from,
            to,
            items: (from..).zip(items).collect(),
        };
        self.hear(STORAGES[0], indexed);
    }

    /// What was sent since the last call.
    pub fn sent(&mut self) -> Vec<(Peer, Message)> {
        self.out.sends.drain(..).collect()
    }

    /// The replies to clients among what was sent.
    pub fn replies(&mut self) -> Vec<(u64, Reply)> {
        let replies = self
            .sent()
            .into_iter()
            .filter_map(|(_, message)| match message {
                Message::Reply { op, reply } => Some((op, reply)),
                _ => None,
            });
        replies.collect()
    }

    /// The local ids and receivers of records that were sent.
    pub fn replicated(&mut self) -> Vec<(Peer, Vec<u32>)> {
        let sent = self.sent().into_iter();
        let records = sent.filter_map(|(to, message)| match message {
            Message::Replicate { records, .. } => {
                Some((to, records.into_iter().map(|(id, _)| id).collect()))
            }
            _ => None,
        });
        records.collect()
    }
}

pub fn term(view: u16) -> Term {
    Term { view, log: 0 }
}

pub fn shard(view: u16, engine: NodeId) -> Shard {
    let term = term(view);
    Shard { term, engine }
}

pub fn seq(view: u16, position: u32) -> SeqNum {
    SeqNum::new(term(view), position)
}

pub fn record(tags: &[Tag], condition: Option<Condition>) -> Arc<Record> {
    Arc::new(Record {
        book: 1,
        tags: tags.to_vec(),
        data: Arc::from(&b"data"[..]),
        condition,
    })
}

pub fn item(tags: &[Tag], condition: Option<Condition>) -> Item {
    Item {
        book: 1,
        tags: tags.to_vec(),
        condition,
    }
}

pub fn cut(number: u32, first: u32, starts: &[u32], deltas: &[u32]) -> Arc<Entry> {
    let step = Step::Cut {
        first,
        starts: starts.to_vec(),
        deltas: deltas.to_vec(),
    };
    Arc::new(Entry { number, step })
}

pub fn progress(view: u16, entries: u32) -> Progress {
    Progress { view, entries }
}

pub fn next(tag: Tag, bound: SeqNum, limit: u16, wait: Nanos, progress: Progress) -> Request {
    Request::Read(Read {
        book: 1,
        tag,
        bound,
        direction: Direction::Next,
        limit,
        wait,
        progress,
    })
}
