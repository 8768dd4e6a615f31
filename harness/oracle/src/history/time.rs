//! What follows from when things happened: the order of sessions and of real time as edges, the
//! guarantees of sessions, and how many transactions overlapped a conflicting one.
//!
//! Moments are closed: of two transactions that end and begin at the same moment none comes first.
//! Edges run through moments in time, so that there are as many as transactions, not as pairs.

use super::graph::{Edge, EdgeKind, NONE};
use super::order::Orders;
use super::{Anomaly, Findings, words};
use std::collections::BTreeMap;
use triptych_model::history::{History, MicroOp, NOBODY, TxStatus};

/// Beginnings and ends of transactions that had effects, in the order of time; of one moment the
/// beginnings first. Who is not known to have ended never does.
fn events(history: &History, which: &[u32]) -> Vec<(u64, bool, u32)> {
    let mut events = Vec::with_capacity(which.len() * 2);
    for &tx in which {
        let known = &history.transactions[tx as usize];
        events.push((known.begin, false, tx));
        if known.status == TxStatus::Committed {
            events.push((known.end, true, tx));
        }
    }
    events.sort_unstable();
    events
}

/// Adds edges from all that had ended to all that began later; `nodes` counts moments.
fn order(events: &[(u64, bool, u32)], kind: EdgeKind, nodes: &mut u32, edges: &mut Vec<Edge>) {
    let edge = |from, to| Edge {
        from,
        to,
        kind,
        key: NONE,
    };
    let mut moment = NONE;
    // Whether somebody began after this moment, so that later ends need another one.
    let mut used = true;
    for &(_, ended, tx) in events {
        if ended {
            if used {
                let next = *nodes;
                *nodes += 1;
                if moment != NONE {
                    edges.push(edge(moment, next));
                }
                (moment, used) = (next, false);
            }
            edges.push(edge(tx, moment));
        } else if moment != NONE {
            edges.push(edge(moment, tx));
            used = true;
        }
    }
}

/// The order of real time.
pub(super) fn real_time(
    history: &History,
    orders: &Orders,
    nodes: &mut u32,
    edges: &mut Vec<Edge>,
) {
    let alive: Vec<u32> = (0..history.transactions.len() as u32)
        .filter(|tx| orders.alive[*tx as usize])
        .collect();
    order(&events(history, &alive), EdgeKind::RealTime, nodes, edges);
}

/// The transactions of each session.
pub(super) fn sessions(history: &History, orders: &Orders) -> Vec<Vec<u32>> {
    let mut sessions: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (at, tx) in (0u32..).zip(&history.transactions) {
        if orders.alive[at as usize] && tx.session != NOBODY {
            sessions.entry(tx.session).or_default().push(at);
        }
    }
    sessions.into_values().collect()
}

/// The order of each session.
pub(super) fn session_order(
    history: &History,
    sessions: &[Vec<u32>],
    nodes: &mut u32,
    edges: &mut Vec<Edge>,
) {
    for session in sessions {
        order(&events(history, session), EdgeKind::Session, nodes, edges);
    }
}

/// The furthest that a session got with a key: the element, its place and the transaction.
#[derive(Clone, Copy)]
struct Far {
    element: u32,
    tx: u32,
}

/// How much the session guarantees were tried: one count for each of [`Anomaly::SESSION`].
pub(super) type Tried = [u64; 4];

/// Checks the four session guarantees, key by key. What concerns several keys shows as a cycle.
pub(super) fn guarantees(
    history: &History,
    orders: &Orders,
    sessions: &[Vec<u32>],
    findings: &mut Findings,
) -> Tried {
    let mut tried = [0; 4];
    let torn = findings.torn.clone();
    let place = |element: u32| orders.place[element as usize];
    let chain = |element: u32| orders.chain.get(element as usize).copied().unwrap_or(0);
    // Whether one stands before the other; unknown of different chains.
    let before = |a: u32, b: u32| chain(a) == chain(b) && place(a) < place(b);
    for session in sessions {
        let mut wrote: BTreeMap<u32, Far> = BTreeMap::new();
        let mut saw: BTreeMap<u32, Far> = BTreeMap::new();
        for (_, ended, tx) in events(history, session) {
            let known = &history.transactions[tx as usize];
            let far = |far: &mut BTreeMap<u32, Far>, key: u32, element: u32| {
                let new = Far { element, tx };
                let slot = far.entry(key).or_insert(new);
                if before(slot.element, element) {
                    *slot = new;
                }
            };
            for op in &known.ops {
                let (key, element, write) = match op {
                    MicroOp::Append { key, element } => (*key, *element, true),
                    MicroOp::Write { key, version } => (*key, *version, true),
                    _ if known.status != TxStatus::Committed => continue,
                    MicroOp::Read { key, saw } => {
                        let list = history.list(*key, saw);
                        let placed = |e: &&u32| place(**e) != NONE;
                        let last = list.iter().rev().find(placed);
                        (*key, last.copied().unwrap_or(NONE), false)
                    }
                    MicroOp::Get { key, version } => (*key, version.unwrap_or(NONE), false),
                };
                if torn.contains(&key) || element != NONE && place(element) == NONE {
                    continue;
                }
                if ended {
                    if write {
                        far(&mut wrote, key, element);
                    } else if element != NONE {
                        far(&mut saw, key, element);
                    }
                    continue;
                }
                let rules = if write { [2, 3] } else { [0, 1] };
                for (rule, past) in rules.into_iter().zip([&wrote, &saw]) {
                    let Some(past) = past.get(&key) else { continue };
                    tried[rule] += 1;
                    if element == NONE || before(element, past.element) {
                        let anomaly = Anomaly::SESSION[rule];
                        findings.add(anomaly, || {
                            let elements = (past.element, element);
                            words::session(history, anomaly, past.tx, tx, key, elements)
                        });
                    }
                }
            }
        }
    }
    tried
}

/// How many transactions of several operations overlapped another one that touched the same key,
/// where one of the two wrote it.
pub(super) fn conflicts(history: &History) -> u64 {
    let mut touched: Vec<(u32, u64, u64, u32, bool)> = Vec::new();
    for (at, tx) in (0u32..).zip(&history.transactions) {
        if tx.ops.len() > 1 {
            let end = match tx.status {
                TxStatus::Indeterminate => u64::MAX,
                _ => tx.end,
            };
            let ops = tx.ops.iter();
            touched.extend(ops.map(|op| (op.key(), tx.begin, end, at, op.adds().is_some())));
        }
    }
    touched.sort_unstable();
    let mut met = vec![false; history.transactions.len()];
    for same in touched.chunk_by(|a, b| a.0 == b.0) {
        sweep(same.iter().copied(), &mut met);
        // Backwards in time, so that the earlier of two is found as well.
        let mirrored = same.iter().map(|&(key, begin, end, tx, write)| {
            (key, u64::MAX - end, u64::MAX - begin, tx, write)
        });
        let mut mirrored: Vec<_> = mirrored.collect();
        mirrored.sort_unstable();
        sweep(mirrored.into_iter(), &mut met);
    }
    met.into_iter().filter(|met| *met).count() as u64
}

/// Marks who begins while an earlier conflicting one is still there. Two of different transactions
/// are remembered, because a transaction does not conflict with itself.
fn sweep(touched: impl Iterator<Item = (u32, u64, u64, u32, bool)>, met: &mut [bool]) {
    let (mut any, mut wrote) = ([(0u64, NONE); 2], [(0u64, NONE); 2]);
    for (_, begin, end, tx, write) in touched {
        let there = |known: &[(u64, u32); 2]| {
            let mut others = known
                .iter()
                .filter(|(_, other)| *other != tx && *other != NONE);
            others.any(|(end, _)| *end >= begin)
        };
        if there(&wrote) || (write && there(&any)) {
            met[tx as usize] = true;
        }
        keep(&mut any, (end, tx));
        if write {
            keep(&mut wrote, (end, tx));
        }
    }
}

/// Keeps the two latest ends of different transactions.
fn keep(known: &mut [(u64, u32); 2], new: (u64, u32)) {
    if known[0].1 == new.1 {
        known[0] = new.max(known[0]);
    } else if known[1].1 == NONE || new > known[1] || known[1].1 == new.1 {
        known[1] = new;
    }
    if known[0].1 == NONE || known[1].1 != NONE && known[1] > known[0] {
        known.swap(0, 1);
    }
}
