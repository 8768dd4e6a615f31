//! Histories to test and measure the checker with: valid by construction, and with one planted
//! anomaly.
//!
//! A valid one is a serial execution of random transactions whose moments are spread afterwards, so
//! that neighbours in the serial order overlap: each is open around its own turn. Reads repeat, see
//! own writes and see nothing yet; some transactions abort, some have an unknown end.

use super::{Anomaly, Family};
use std::collections::BTreeMap;
use triptych_model::history::{History, Key, KeyKind, MicroOp, Saw, Transaction, TxStatus};
use triptych_model::{Name, Random};

/// What a sample is like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// How many transactions.
    pub transactions: u32,
    /// How many keys are in use at a time.
    pub keys: u32,
    /// After how many elements a key is given up for a new one.
    pub length: u32,
    /// How many logical clients there are.
    pub sessions: u32,
    /// What the keys hold.
    pub kind: KeyKind,
    /// Whether some transactions abort or have an unknown end.
    pub failures: bool,
}

impl Shape {
    /// A small history with everything in it.
    pub fn small(transactions: u32) -> Self {
        Shape {
            transactions,
            keys: 3,
            length: 1_000,
            sessions: 4,
            kind: KeyKind::List,
            failures: true,
        }
    }
}

/// How far a turn is from the next, and how long a transaction is open around its own.
const TURN: u64 = 10;
const OPEN: u64 = 35;

struct Maker {
    random: Random,
    history: History,
    /// The keys in use.
    current: Vec<u32>,
    lists: Vec<Vec<u32>>,
}

impl Maker {
    fn key(&mut self, kind: KeyKind) -> u32 {
        let key = self.history.keys.len() as u32;
        self.history.keys.push(Key {
            name: Name::from(format!("k{key}")),
            kind,
            order: None,
        });
        self.lists.push(Vec::new());
        key
    }

    fn element(&mut self) -> u32 {
        self.history.elements += 1;
        self.history.elements - 1
    }

    fn read(&mut self, key: u32, list: &[u32]) -> MicroOp {
        match self.history.keys[key as usize].kind {
            KeyKind::Register => MicroOp::Get {
                key,
                version: list.last().copied(),
            },
            KeyKind::Window(keep) => {
                let from = list.len().saturating_sub(keep as usize);
                let saw = Saw::List(list[from..].to_vec());
                MicroOp::Read { key, saw }
            }
            KeyKind::List => MicroOp::Read {
                key,
                saw: Saw::List(list.to_vec()),
            },
        }
    }

    fn write(&mut self, key: u32, element: u32) -> MicroOp {
        match self.history.keys[key as usize].kind {
            KeyKind::Register => MicroOp::Write {
                key,
                version: element,
            },
            KeyKind::List | KeyKind::Window(_) => MicroOp::Append { key, element },
        }
    }

    /// One transaction, at its turn.
    fn transaction(&mut self, at: u32, shape: &Shape) {
        let turn = OPEN + u64::from(at) * TURN;
        let begin = turn - self.random.below(OPEN);
        let end = turn + self.random.below(OPEN);
        let draw = if shape.failures {
            self.random.below(20)
        } else {
            19
        };
        let (status, effects) = match draw {
            0 | 1 => (TxStatus::Aborted, false),
            2 => (TxStatus::Indeterminate, false),
            3 => (TxStatus::Indeterminate, true),
            _ => (TxStatus::Committed, true),
        };
        let mut own: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let mut ops = Vec::new();
        for _ in 0..1 + self.random.below(4) {
            let slot = self.random.below(self.current.len() as u64) as usize;
            let key = self.current[slot];
            let list = own
                .remove(&key)
                .unwrap_or_else(|| self.lists[key as usize].clone());
            let mut list = list;
            if self.random.chance(0.5) {
                ops.push(self.read(key, &list));
            } else {
                let element = self.element();
                ops.push(self.write(key, element));
                list.push(element);
            }
            own.insert(key, list);
        }
        if effects {
            for (key, list) in own {
                if list.len() >= shape.length as usize
                    && let Some(slot) = self.current.iter().position(|known| *known == key)
                {
                    self.current[slot] = self.key(shape.kind);
                }
                self.lists[key as usize] = list;
            }
        }
        let session = self.random.below(u64::from(shape.sessions)) as u32;
        self.history.transactions.push(Transaction {
            id: Name::from(format!("t{at}")),
            request: u64::from(at),
            session,
            begin,
            end,
            status,
            ops,
        });
    }
}

/// A history of this shape that is strictly serializable.
pub fn valid(shape: &Shape, seed: u64) -> History {
    let mut maker = Maker {
        random: Random::new(seed),
        history: History::default(),
        current: Vec::new(),
        lists: Vec::new(),
    };
    maker.current = (0..shape.keys).map(|_| maker.key(shape.kind)).collect();
    (0..shape.transactions).for_each(|at| maker.transaction(at, shape));
    for (key, list) in maker.history.keys.iter_mut().zip(maker.lists) {
        let from = match key.kind {
            KeyKind::Window(keep) => list.len().saturating_sub(keep as usize),
            KeyKind::List | KeyKind::Register => 0,
        };
        key.order = Some(list[from..].to_vec());
    }
    maker.history
}

/// The anomalies that [`planted`] can plant.
pub const PLANTED: [Anomaly; 17] = [
    Anomaly::Garbage,
    Anomaly::Duplicate,
    Anomaly::Incompatible,
    Anomaly::LostWrite,
    Anomaly::Internal,
    Anomaly::Cycle(Family::G0),
    Anomaly::AbortedRead,
    Anomaly::IntermediateRead,
    Anomaly::Cycle(Family::G1c),
    Anomaly::LostUpdate,
    Anomaly::NonRepeatable,
    Anomaly::Cycle(Family::GSingle),
    Anomaly::Cycle(Family::G2Item),
    Anomaly::RealTimeCycle(Family::GSingle),
    Anomaly::ReadYourWrites,
    Anomaly::MonotonicReads,
    Anomaly::SessionCycle(Family::GSingle),
];

/// A valid history with one anomaly on two keys of its own, none for a kind that cannot be planted.
pub fn planted(shape: &Shape, anomaly: Anomaly, seed: u64) -> Option<History> {
    let mut history = valid(shape, seed);
    let mut random = Random::new(seed ^ 0x9e37);
    let from = history.elements;
    let (a, b, c, d) = (from, from + 1, from + 2, from + 3);
    history.elements += 4;
    let (x, y) = (history.keys.len() as u32, history.keys.len() as u32 + 1);
    let append = |key, element| MicroOp::Append { key, element };
    let read = |key, list: &[u32]| MicroOp::Read {
        key,
        saw: Saw::List(list.to_vec()),
    };
    // Operations of each transaction, then the final orders of the two keys.
    let (plan, orders): (Vec<Vec<MicroOp>>, [Vec<u32>; 2]) = match anomaly {
        Anomaly::Garbage => (
            vec![vec![append(x, a)], vec![read(x, &[a, d])]],
            [vec![a], vec![]],
        ),
        Anomaly::Duplicate => (
            vec![
                vec![append(x, a)],
                vec![append(x, b)],
                vec![read(x, &[a, b, a])],
            ],
            [vec![a, b], vec![]],
        ),
        Anomaly::Incompatible => (
            vec![
                vec![append(x, a)],
                vec![append(x, b)],
                vec![read(x, &[b, a])],
            ],
            [vec![a, b], vec![]],
        ),
        Anomaly::LostWrite => (
            vec![vec![append(x, a)], vec![append(x, b)]],
            [vec![b], vec![]],
        ),
        Anomaly::Internal => (
            vec![vec![append(x, a)], vec![append(x, b), read(x, &[a])]],
            [vec![a, b], vec![]],
        ),
        Anomaly::Cycle(Family::G0) => (
            vec![
                vec![append(x, a), append(y, b)],
                vec![append(x, c), append(y, d)],
            ],
            [vec![a, c], vec![d, b]],
        ),
        Anomaly::AbortedRead => (
            vec![
                vec![append(x, a)],
                vec![append(x, b)],
                vec![read(x, &[a, b])],
            ],
            [vec![a], vec![]],
        ),
        Anomaly::IntermediateRead => (
            vec![vec![append(x, a), append(x, b)], vec![read(x, &[a])]],
            [vec![a, b], vec![]],
        ),
        Anomaly::Cycle(Family::G1c) => (
            vec![
                vec![append(x, a), read(y, &[b])],
                vec![append(y, b), read(x, &[a])],
            ],
            [vec![a], vec![b]],
        ),
        Anomaly::LostUpdate => (
            vec![
                vec![append(x, a)],
                vec![read(x, &[a]), append(x, b)],
                vec![read(x, &[a]), append(x, c)],
            ],
            [vec![a, b, c], vec![]],
        ),
        Anomaly::NonRepeatable => (
            vec![
                vec![append(x, a)],
                vec![append(x, b)],
                vec![read(x, &[a]), read(x, &[a, b])],
            ],
            [vec![a, b], vec![]],
        ),
        Anomaly::Cycle(Family::GSingle) => (
            vec![
                vec![append(x, a), append(y, b)],
                vec![read(x, &[]), read(y, &[b])],
            ],
            [vec![a], vec![b]],
        ),
        Anomaly::Cycle(Family::G2Item) => (
            vec![
                vec![read(x, &[]), append(y, b)],
                vec![read(y, &[]), append(x, a)],
            ],
            [vec![a], vec![b]],
        ),
        Anomaly::RealTimeCycle(Family::GSingle)
        | Anomaly::ReadYourWrites
        | Anomaly::SessionCycle(Family::GSingle) => (
            vec![vec![append(x, a)], vec![read(x, &[])]],
            [vec![a], vec![]],
        ),
        Anomaly::MonotonicReads => (
            vec![vec![append(x, a)], vec![read(x, &[a])], vec![read(x, &[])]],
            [vec![a], vec![]],
        ),
        _ => return None,
    };
    for (key, order) in [x, y].into_iter().zip(orders) {
        history.keys.push(Key {
            name: Name::from(format!("k{key}")),
            kind: KeyKind::List,
            order: Some(order),
        });
    }
    // Those that need an order of time run one after another at the end, the others all at once
    // somewhere in the middle.
    let timed = anomaly == Anomaly::RealTimeCycle(Family::GSingle)
        || Anomaly::SESSION.contains(&anomaly)
        || anomaly == Anomaly::SessionCycle(Family::GSingle);
    let latest = history
        .transactions
        .iter()
        .map(|tx| tx.end)
        .max()
        .unwrap_or(0);
    let start = random.below(latest + 1);
    let count = plan.len();
    for (n, ops) in plan.into_iter().enumerate() {
        let n = n as u64;
        let aborted = anomaly == Anomaly::AbortedRead && n == 1;
        // Sessions that nobody else has; one for all where it matters.
        let session =
            if Anomaly::SESSION.contains(&anomaly) || matches!(anomaly, Anomaly::SessionCycle(_)) {
                shape.sessions
            } else {
                shape.sessions + n as u32
            };
        let (begin, end) = if timed {
            (latest + 10 * n + 1, latest + 10 * n + 5)
        } else {
            (start, start + 5)
        };
        history.transactions.push(Transaction {
            id: Name::from(format!("p{n}")),
            request: (history.transactions.len()) as u64,
            session,
            begin,
            end,
            status: if aborted {
                TxStatus::Aborted
            } else {
                TxStatus::Committed
            },
            ops,
        });
    }
    // Where they stand in the history must not matter.
    for _ in 0..count {
        let len = history.transactions.len() as u64;
        let (i, j) = (random.below(len) as usize, random.below(len) as usize);
        history.transactions.swap(i, j);
    }
    Some(history)
}
