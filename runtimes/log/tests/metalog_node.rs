//! The sequencer as a node, called directly: what it says, when, and to whom.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use triptych_log::{
    Config, Entry, Final, Level, MEMBERSHIP, Member, Message, Sequencer, Shape, Step, Term, Trim,
    View,
};
use triptych_nodes::{Durability, Key, Node, NodeId, Out, Stored};

const TERM: Term = Term { view: 1, log: 0 };
const NEXT: Term = Term { view: 2, log: 0 };
const PRIMARY: NodeId = NodeId(100);
const BACKUP: NodeId = NodeId(101);
const CONTROLLER: NodeId = NodeId(1);

#[derive(Default)]
struct Disk(BTreeMap<Key, Vec<u8>>);

impl Stored for Disk {
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

fn config(level: Level) -> Rc<Config> {
    let shape = Shape {
        logs: 1,
        metas: 3,
        copies: 2,
        indexes: 1,
    };
    Rc::new(Config {
        level,
        ..Config::of(1, 3, 2, 3, shape)
    })
}

fn members(nodes: &[NodeId]) -> Vec<Member> {
    let member = |&node| Member { node, life: 1 };
    nodes.iter().map(member).collect()
}

fn view(config: &Config, id: u16, finals: Vec<Final>) -> Arc<View> {
    let storages = members(&config.storages);
    let engines = members(&config.engines);
    let holders = engines.iter().enumerate();
    let holders = holders.map(|(at, engine)| (engine.node, View::assign(&storages, at, 2)));
    Arc::new(View {
        id,
        shape: config.shape,
        sequencers: members(&config.sequencers),
        holders: BTreeMap::from([(id, holders.collect())]),
        storages,
        engines,
        finals,
    })
}

/// A node, its disk, and the time.
struct Bench {
    node: Sequencer,
    config: Rc<Config>,
    disk: Disk,
    now: u64,
    /// Tokens of what was written and is not durable.
    tokens: Vec<u64>,
    timers: Vec<(u64, u64)>,
}

impl Bench {
    /// A sequencer that knows the first view.
    fn new(me: NodeId, level: Level) -> Self {
        let config = config(level);
        let mut bench = Bench {
            node: Sequencer::recover(Rc::clone(&config), me, &Disk::default()),
            config,
            disk: Disk::default(),
            now: 1_000_000,
            tokens: Vec::new(),
            timers: Vec::new(),
        };
        bench.born();
        let views = vec![view(&bench.config, 1, Vec::new())];
        assert!(bench.hear(CONTROLLER, Message::Views { views }).is_empty());
        bench
    }

    fn born(&mut self) {
        let sent = self.turn(|node, now, out| node.on_start(now, out));
        assert!(
            sent.is_empty(),
            "nothing is said before the life is durable"
        );
        assert_eq!(self.tokens, [MEMBERSHIP]);
        let sent = self.durable();
        assert!(matches!(sent[..], [(CONTROLLER, Message::Alive { .. })]));
    }

    fn turn(
        &mut self,
        call: impl FnOnce(&mut Sequencer, u64, &mut Out<Message>),
    ) -> Vec<(NodeId, Message)> {
        let mut out = Out::default();
        call(&mut self.node, self.now, &mut out);
        self.node.on_turn_end(self.now, &mut out);
        for persist in out.persists {
            for write in persist.writes {
                match write.value {
                    Some(value) => drop(self.disk.0.insert(write.key, value)),
                    None => drop(self.disk.0.remove(&write.key)),
                }
            }
            let synced = persist.durability == Durability::Synced;
            assert_eq!(synced, persist.token.is_some());
            self.tokens.extend(persist.token);
        }
        let timers = out.timers.into_iter();
        self.timers
            .extend(timers.map(|(span, timer)| (self.now + span, timer)));
        let sends = out.sends.into_iter();
        let sends = sends.map(|(to, message)| match to {
            triptych_nodes::Peer::Node(node) => (node, message),
            triptych_nodes::Peer::Client(_) => panic!("no client has asked"),
        });
        sends.collect()
    }

    fn hear(&mut self, from: NodeId, message: Message) -> Vec<(NodeId, Message)> {
        self.turn(|node, now, out| node.on_message(now, from.into(), message, out))
    }

    /// Everything that was written is durable.
    fn durable(&mut self) -> Vec<(NodeId, Message)> {
        let tokens = std::mem::take(&mut self.tokens);
        let mut sent = Vec::new();
        for token in tokens {
            sent.extend(self.turn(|node, now, out| node.on_persisted(now, token, out)));
        }
        sent
    }

    /// Time passes, and timers ring.
    fn pass(&mut self, span: u64) -> Vec<(NodeId, Message)> {
        let end = self.now + span;
        let mut sent = Vec::new();
        while let Some(at) = (0..self.timers.len()).min_by_key(|&at| self.timers[at]) {
            if self.timers[at].0 > end {
                break;
            }
            let (when, timer) = self.timers.remove(at);
            self.now = when;
            sent.extend(self.turn(|node, now, out| node.on_timer(now, timer, out)));
        }
        self.now = end;
        sent
    }

    /// Both storages say that they have so many records of the first engine.
    fn stored(&mut self, below: u32) -> Vec<(NodeId, Message)> {
        let mut sent = Vec::new();
        for storage in self.config.storages.clone() {
            let term = TERM;
            let below = vec![(NodeId(1000), below)];
            sent.extend(self.hear(storage, Message::Stored { term, below }));
        }
        sent
    }
}

fn cut(number: u32) -> Arc<Entry> {
    Arc::new(Entry {
        number,
        step: Step::Cut {
            first: number,
            starts: vec![number, 0, 0],
            deltas: vec![1, 0, 0],
        },
    })
}

fn accept(entries: std::ops::Range<u32>, committed: u32) -> Message {
    Message::Accept {
        term: TERM,
        entries: entries.map(cut).collect(),
        committed,
    }
}

fn accepted(entries: u32) -> Message {
    Message::Accepted {
        term: TERM,
        entries,
    }
}

fn to(sent: &[(NodeId, Message)]) -> Vec<u16> {
    sent.iter().map(|(node, _)| node.0).collect()
}

#[test]
fn an_idle_primary_cuts_at_once_and_tells_whom_it_concerns_when_a_quorum_has_it() {
    let mut bench = Bench::new(PRIMARY, Level::Memory);
    let sent = bench.stored(1);
    let backups = [(BACKUP, accept(0..1, 0)), (NodeId(102), accept(0..1, 0))];
    assert_eq!(sent, backups);
    let sent = bench.hear(BACKUP, accepted(1));
    // Both storages, the index of log 0, which is the engine whose record it is.
    assert_eq!(to(&sent), [200, 201, 1000]);
    let committed = Message::Committed {
        term: TERM,
        entries: vec![cut(0)],
    };
    assert!(sent.iter().all(|(_, message)| *message == committed));
    assert!(bench.hear(NodeId(102), accepted(1)).is_empty());
    // The next one waits for its time.
    assert!(bench.stored(2).is_empty());
    let every = bench.config.timing.cut_every;
    assert_eq!(to(&bench.pass(every)), [101, 102]);
}

#[test]
fn with_syncs_neither_primary_nor_backup_counts_what_is_not_durable() {
    let mut bench = Bench::new(PRIMARY, Level::Synced);
    assert_eq!(
        to(&bench.stored(1)),
        [101, 102],
        "backups write at the same time"
    );
    assert!(bench.hear(BACKUP, accepted(1)).is_empty());
    assert_eq!(to(&bench.durable()), [200, 201, 1000]);

    let mut bench = Bench::new(BACKUP, Level::Synced);
    assert!(bench.hear(PRIMARY, accept(0..2, 0)).is_empty());
    assert!(bench.hear(PRIMARY, accept(2..3, 0)).is_empty());
    let sent = bench.durable();
    assert_eq!(sent, [(PRIMARY, accepted(2)), (PRIMARY, accepted(3))]);
    // What comes again is answered, and what leaves a gap, so that the primary knows.
    assert_eq!(
        bench.hear(PRIMARY, accept(0..2, 0)),
        [(PRIMARY, accepted(3))]
    );
    assert_eq!(
        bench.hear(PRIMARY, accept(5..6, 0)),
        [(PRIMARY, accepted(3))]
    );
}

#[test]
fn what_is_not_acknowledged_is_sent_again() {
    let mut bench = Bench::new(PRIMARY, Level::Memory);
    bench.stored(1);
    bench.hear(BACKUP, accepted(1));
    let again = bench.config.timing.again_after;
    // One lacks the entry; the other has not heard that it is committed.
    let sent = bench.pass(2 * again - 1);
    let of = |node| sent.iter().filter(move |(to, _)| *to == node);
    let of = |node| {
        of(node)
            .map(|(_, message)| message.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(of(BACKUP), [accept(0..0, 1)]);
    assert_eq!(of(NodeId(102)), [accept(0..1, 1)]);
    bench.hear(NodeId(102), accepted(1));
    let alive = |(_, message): &(NodeId, Message)| matches!(message, Message::Alive { .. });
    assert!(bench.pass(20 * again).iter().all(alive), "then it is quiet");
}

#[test]
fn a_trim_is_appended_once_and_told_to_who_asked() {
    let mut bench = Bench::new(PRIMARY, Level::Memory);
    let trim = Trim {
        book: 1,
        streams: Vec::new(),
        by: (NodeId(1002), 1 << 32),
    };
    let step = Step::Trim(trim);
    let ask = || Message::Trim {
        term: TERM,
        step: step.clone(),
    };
    assert_eq!(to(&bench.hear(NodeId(1002), ask())), [101, 102]);
    assert!(
        bench.hear(NodeId(1002), ask()).is_empty(),
        "not committed yet"
    );
    let sent = bench.hear(BACKUP, accepted(1));
    assert_eq!(to(&sent), [200, 201, 1000, 1002]);
    // The engine has missed it, and asks again.
    assert_eq!(bench.hear(NodeId(1002), ask()), [sent[3].clone()]);
}

#[test]
fn a_storage_that_has_missed_a_cut_is_told() {
    let mut bench = Bench::new(PRIMARY, Level::Memory);
    bench.stored(1);
    let report = |below| Message::Stored {
        term: TERM,
        below: vec![(NodeId(1000), below)],
    };
    assert!(
        bench.hear(NodeId(200), report(1)).is_empty(),
        "not committed yet"
    );
    let sent = bench.hear(BACKUP, accepted(1));
    assert_eq!(bench.hear(NodeId(200), report(1)), sent[..1]);
}

#[test]
fn a_seal_is_answered_when_it_is_durable_and_ends_the_metalog() {
    for level in [Level::Memory, Level::Synced] {
        let mut bench = Bench::new(BACKUP, level);
        bench.hear(PRIMARY, accept(0..2, 1));
        assert!(
            bench
                .hear(NodeId(200), Message::Seal { view: 1 })
                .is_empty()
        );
        let mut sent = bench.hear(CONTROLLER, Message::Seal { view: 1 });
        if level == Level::Synced {
            assert!(sent.is_empty());
            sent = bench.durable();
            // The entries were written before, and their primary is not told any more.
        }
        let [(CONTROLLER, Message::Sealed { view: 1, logs, .. })] = &sent[..] else {
            panic!("{sent:?}");
        };
        assert_eq!((logs[0].entries, logs[0].committed), (2, 1));
        assert_eq!(logs[0].tail, [cut(0), cut(1)]);
        assert!(bench.hear(PRIMARY, accept(2..3, 2)).is_empty());
        assert_eq!(bench.hear(CONTROLLER, Message::Seal { view: 1 }), sent);
    }
}

#[test]
fn a_restarted_sequencer_serves_what_it_had_and_takes_no_more() {
    let mut bench = Bench::new(BACKUP, Level::Synced);
    bench.hear(PRIMARY, accept(0..2, 1));
    bench.durable();
    let config = Rc::clone(&bench.config);
    bench.node = Sequencer::recover(Rc::clone(&config), BACKUP, &bench.disk);
    bench.timers.clear();
    bench.born();
    // It does not know the view, and asks the controllers; but not every time.
    let sent = bench.hear(PRIMARY, accept(2..3, 2));
    assert!(
        matches!(sent[..], [(CONTROLLER, Message::Alive { view: 0, .. })]),
        "{sent:?}"
    );
    assert!(bench.hear(PRIMARY, accept(2..3, 2)).is_empty());
    let views = vec![view(&config, 1, Vec::new())];
    bench.hear(CONTROLLER, Message::Views { views });
    assert!(
        bench.hear(PRIMARY, accept(2..3, 2)).is_empty(),
        "the view names another life"
    );
    let fetch = |term, from| Message::FetchEntries { term, from };
    let committed = |term, entries: std::ops::Range<u32>| Message::Committed {
        term,
        entries: entries.map(cut).collect(),
    };
    let engine = NodeId(1001);
    let found = bench.hear(engine, fetch(TERM, 0));
    assert_eq!(
        found,
        [(engine, committed(TERM, 0..1))],
        "what it knows to be committed"
    );
    bench.hear(CONTROLLER, Message::Seal { view: 1 });
    let sent = bench.durable();
    let [(_, Message::Sealed { member, logs, .. })] = &sent[..] else {
        panic!("{sent:?}");
    };
    assert_eq!((member.life, logs[0].entries), (2, 2));
    // When the view has ended it asks for what it lacks, one after the other, and serves all.
    let end = Final {
        entries: 5,
        tail: vec![cut(4)],
    };
    let views = vec![view(&config, 2, vec![end])];
    let sent = bench.hear(CONTROLLER, Message::Views { views });
    assert_eq!(sent, [(PRIMARY, fetch(TERM, 2))]);
    let again = bench.config.timing.again_after;
    let sent = bench.pass(again);
    assert_eq!(sent, [(NodeId(102), fetch(TERM, 2))]);
    let sent = bench.hear(NodeId(102), committed(TERM, 2..4));
    assert_eq!(sent, [(NodeId(102), fetch(TERM, 4))]);
    assert!(bench.hear(NodeId(102), committed(TERM, 4..5)).is_empty());
    let found = bench.hear(engine, fetch(TERM, 3));
    assert_eq!(found, [(engine, committed(TERM, 3..5))]);
    assert_eq!(
        bench.hear(engine, fetch(NEXT, 0)),
        [(engine, committed(NEXT, 0..0))]
    );
}

#[test]
fn nothing_that_peers_say_makes_it_fall() {
    let far = Term {
        view: u16::MAX,
        log: u16::MAX,
    };
    for me in [PRIMARY, BACKUP, NodeId(102)] {
        let mut bench = Bench::new(me, Level::Memory);
        for term in [
            TERM,
            NEXT,
            far,
            Term { view: 0, log: 0 },
            Term { view: 1, log: 7 },
        ] {
            let wrong = Arc::new(Entry {
                number: u32::MAX,
                step: Step::Cut {
                    first: u32::MAX,
                    starts: vec![u32::MAX],
                    deltas: Vec::new(),
                },
            });
            let messages = [
                Message::Accept {
                    term,
                    entries: vec![Arc::clone(&wrong)],
                    committed: u32::MAX,
                },
                Message::Accepted {
                    term,
                    entries: u32::MAX,
                },
                Message::Stored {
                    term,
                    below: vec![(NodeId(1000), u32::MAX), (NodeId(9), 1)],
                },
                Message::Trim {
                    term,
                    step: wrong.step.clone(),
                },
                Message::FetchEntries {
                    term,
                    from: u32::MAX,
                },
                Message::Committed {
                    term,
                    entries: vec![wrong],
                },
                Message::Seal { view: term.view },
            ];
            for message in messages {
                for from in [PRIMARY, BACKUP, CONTROLLER, NodeId(200), NodeId(7)] {
                    bench.hear(from, message.clone());
                }
            }
        }
        let log = bench.node.metalog(TERM).expect("all three keep it");
        assert!(log.is_empty(), "{log:?}");
    }
}
