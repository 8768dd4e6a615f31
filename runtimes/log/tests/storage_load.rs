//! A storage under load: many records through one node, with nobody but the test around it. Says how
//! much time that takes (`--nocapture`), and checks that all of it was written, ordered and told.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use triptych_log::storage::Storage;
use triptych_log::{
    Config, Entry, Level, Member, Message, Record, SeqNum, Shape, Shard, Step, Term, View,
};
use triptych_nodes::{Key, Node, NodeId, Out, Stored};

const ME: NodeId = NodeId(200);
const TERM: Term = Term { view: 1, log: 0 };
const ENGINES: u16 = 8;
const BATCH: u32 = 32;
const ROUNDS: u32 = 500;

struct Empty;

impl Stored for Empty {
    fn scan(&self, _: &[u8]) -> Box<dyn Iterator<Item = (Key, Vec<u8>)> + '_> {
        Box::new(std::iter::empty())
    }

    fn get(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// How many records came out of a node, to the disk and to an index; and what it took.
#[derive(Default)]
struct Seen {
    written: usize,
    told: usize,
    spent: Duration,
}

fn turn(
    node: &mut Storage,
    seen: &mut Seen,
    now: u64,
    call: impl FnOnce(&mut Storage, &mut Out<Message>),
) {
    let mut out = Out::default();
    let begun = Instant::now();
    call(node, &mut out);
    node.on_turn_end(now, &mut out);
    seen.spent += begun.elapsed();
    let mut tokens: Vec<u64> = Vec::new();
    for persist in &out.persists {
        let records = persist.writes.iter().filter(|write| write.key[0] == b'r');
        seen.written += records.count();
        tokens.extend(persist.token);
    }
    for (_, message) in &out.sends {
        if let Message::Indexed { items, .. } = message {
            seen.told += items.len();
        }
    }
    for token in tokens {
        let mut out = Out::default();
        node.on_persisted(now, token, &mut out);
        node.on_turn_end(now, &mut out);
        assert!(out.persists.is_empty(), "nothing waited for this");
    }
}

fn view(shape: Shape) -> Arc<View> {
    let member = |node| Member {
        node: NodeId(node),
        life: 1,
    };
    let engines: Vec<Member> = (1000..1000 + ENGINES).map(member).collect();
    let holders = engines.iter().map(|engine| (engine.node, vec![ME]));
    Arc::new(View {
        id: 1,
        shape,
        sequencers: vec![member(100)],
        storages: vec![member(200)],
        holders: BTreeMap::from([(1, holders.collect())]),
        engines,
        finals: Vec::new(),
    })
}

fn record(n: u32) -> Arc<Record> {
    Arc::new(Record {
        book: u64::from(n % 100),
        tags: vec![u64::from(n) + 1],
        data: [n as u8; 64].as_slice().into(),
        condition: None,
    })
}

fn load(level: Level) {
    let shape = Shape {
        logs: 1,
        metas: 1,
        copies: 1,
        indexes: 1,
    };
    let mut config = Config::of(1, 1, 1, ENGINES, shape);
    config.level = level;
    let mut node = Storage::recover(Rc::new(config), ME, &Empty, None);
    let mut seen = Seen::default();
    turn(&mut node, &mut seen, 0, |node, out| node.on_start(0, out));
    let views = vec![view(shape)];
    turn(&mut node, &mut seen, 0, |node, out| {
        node.on_message(0, NodeId(1).into(), Message::Views { views }, out);
    });

    for round in 0..ROUNDS {
        let (now, first) = (u64::from(round) * 1_000_000, round * BATCH);
        for engine in (1000..1000 + ENGINES).map(NodeId) {
            let locals = first..first + BATCH;
            let records = locals
                .map(|n| (n, record(n + u32::from(engine.0))))
                .collect();
            let message = Message::Replicate {
                shard: Shard { term: TERM, engine },
                records,
                gone: Vec::new(),
                releases: triptych_log::Progress::default(),
            };
            turn(&mut node, &mut seen, now, |node, out| {
                node.on_message(now, engine.into(), message, out);
            });
        }
        let step = Step::Cut {
            first: first * u32::from(ENGINES),
            starts: vec![first; ENGINES.into()],
            deltas: vec![BATCH; ENGINES.into()],
        };
        let number = round;
        let message = Message::Committed {
            term: TERM,
            entries: vec![Arc::new(Entry { number, step })],
        };
        turn(&mut node, &mut seen, now, |node, out| {
            node.on_message(now, NodeId(100).into(), message, out);
        });
    }
    let count = ROUNDS * BATCH * u32::from(ENGINES);
    let each = seen.spent.as_nanos() / u128::from(count);
    println!("{level:?}: {each} ns for each of {count} records");
    // What need not survive a restart stays in memory while there is room.
    let written = match level {
        Level::Memory => 0,
        Level::Synced => count as usize,
    };
    assert_eq!((seen.written, seen.told), (written, count as usize));
    let gauges: BTreeMap<_, _> = node.gauges().into_iter().collect();
    assert_eq!(
        (gauges["records"], gauges["pending_bytes"]),
        (count.into(), 0)
    );

    // The last record of the last engine of the last cut.
    let (op, seq) = (1, SeqNum::new(TERM, count - 1));
    let mut out = Out::default();
    let message = Message::ReadAt { op, seq };
    node.on_message(0, NodeId(1000).into(), message, &mut out);
    let Some((_, Message::ReadDone { found, .. })) = out.sends.pop() else {
        panic!("no answer");
    };
    let last = record(ROUNDS * BATCH - 1 + 1000 + u32::from(ENGINES) - 1);
    assert_eq!(found.map(|found| found.record), Ok(last));
}

#[test]
fn all_of_a_load_is_kept_ordered_and_told() {
    load(Level::Memory);
    load(Level::Synced);
}
