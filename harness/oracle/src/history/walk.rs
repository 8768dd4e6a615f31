//! Goes through the transactions once: what each read says of the versions, and which
//! dependencies follow from it.
//!
//! Of the reads of one key by one transaction, the first tells what the transaction found; later
//! ones must be what it found and what it appended since. A dependency leads to the neighbouring
//! version only: those further away follow from the chain of writes.

use super::graph::{Edge, EdgeKind, NONE};
use super::order::Orders;
use super::words;
use super::{Anomaly, Findings};
use triptych_model::history::{History, KeyKind, MicroOp, Saw, TxStatus};

/// What a transaction knows of a key.
#[derive(Default)]
struct Known<'a> {
    key: u32,
    /// What it found there, before anything of its own.
    base: Option<&'a [u32]>,
    /// The last faultless element of that; [`NONE`] of an empty list.
    last: u32,
    /// Whether that was read before it wrote.
    read_first: bool,
    own: Vec<u32>,
}

pub(super) struct Walk<'a> {
    history: &'a History,
    orders: &'a Orders,
    findings: &'a mut Findings,
    edges: Vec<Edge>,
    /// Of a version: who read it and then wrote; the last entries are the keys' empty lists.
    updater: Vec<u32>,
    /// Of an element: the read that saw it last, to find it twice in one.
    seen_in: Vec<u32>,
    reads: u32,
}

impl<'a> Walk<'a> {
    /// The dependencies between transactions.
    pub(super) fn edges(
        history: &'a History,
        orders: &'a Orders,
        findings: &'a mut Findings,
    ) -> Vec<Edge> {
        let elements = history.elements as usize;
        let mut walk = Walk {
            history,
            orders,
            findings,
            edges: Vec::new(),
            updater: vec![NONE; elements + history.keys.len()],
            seen_in: vec![0; elements],
            reads: 0,
        };
        walk.write_edges();
        // Where the transaction at hand keeps what it knows of a key: (transaction, place).
        let mut places = vec![(NONE, 0usize); history.keys.len()];
        let mut known: Vec<Known<'a>> = Vec::new();
        for (at, tx) in (0u32..).zip(&history.transactions) {
            if tx.status != TxStatus::Committed {
                continue;
            }
            known.clear();
            for op in &tx.ops {
                let key = op.key();
                let place = &mut places[key as usize];
                if place.0 != at {
                    *place = (at, known.len());
                    known.push(Known {
                        key,
                        last: NONE,
                        ..Known::default()
                    });
                }
                walk.step(at, op, &mut known[place.1]);
            }
        }
        walk.edges
    }

    /// Between the writers of neighbouring versions.
    fn write_edges(&mut self) {
        let writer = |element: u32| self.orders.writer[element as usize];
        for (element, &after) in (0u32..).zip(&self.orders.after) {
            if after != NONE && writer(element) != writer(after) {
                self.edges.push(Edge {
                    from: writer(element),
                    to: writer(after),
                    kind: EdgeKind::Ww,
                    key: self.orders.key_of[element as usize],
                });
            }
        }
    }

    fn step(&mut self, at: u32, op: &'a MicroOp, known: &mut Known<'a>) {
        match op {
            MicroOp::Append { element, .. }
            | MicroOp::Write {
                version: element, ..
            } => {
                if known.own.is_empty() && known.read_first {
                    self.note_update(at, known);
                }
                if matches!(op, MicroOp::Write { .. }) {
                    known.own.clear();
                }
                known.own.push(*element);
            }
            MicroOp::Read { key, saw } => {
                let list = self.history.list(*key, saw);
                let whole = matches!(saw, Saw::Prefix(_));
                let keep = match self.history.keys[*key as usize].kind {
                    KeyKind::Window(keep) => keep as usize,
                    KeyKind::List | KeyKind::Register => usize::MAX,
                };
                self.read(at, known, list, whole, keep);
            }
            MicroOp::Get { version, .. } => {
                let list = version.as_ref().map_or(&[][..], std::slice::from_ref);
                if known.own.is_empty() {
                    self.read(at, known, list, false, usize::MAX);
                } else if list != known.own {
                    self.internal(at, known, list);
                }
            }
        }
    }

    /// Two that read the same version and wrote the next.
    fn note_update(&mut self, at: u32, known: &Known<'_>) {
        let version = match known.last {
            NONE => self.history.elements + known.key,
            last => last,
        };
        let updater = &mut self.updater[version as usize];
        if *updater == NONE {
            *updater = at;
            return;
        }
        let (history, other, last) = (self.history, *updater, known.last);
        self.findings.tear(known.key, Anomaly::LostUpdate, || {
            words::lost_update(history, other, at, known.key, last)
        });
    }

    fn internal(&mut self, at: u32, known: &Known<'_>, list: &[u32]) {
        let history = self.history;
        self.findings.add(Anomaly::Internal, || {
            words::internal(history, at, known.key, list, &known.own)
        });
    }

    fn read(&mut self, at: u32, known: &mut Known<'a>, list: &'a [u32], whole: bool, keep: usize) {
        let (history, key) = (self.history, known.key);
        let mine = known.own.len().min(keep);
        let own = &known.own[known.own.len() - mine..];
        if let Some(base) = known.base {
            let rest = list.len().checked_sub(mine);
            let found = rest.map(|rest| (&list[..rest], &list[rest..]));
            let kept = base.len().min(keep - mine);
            let expected = &base[base.len() - kept..];
            // Comparing the same part of the same list is free.
            let same = |list: &[u32]| std::ptr::eq(list, expected) || list == expected;
            if found.is_some_and(|(rest, tail)| tail == own && same(rest)) {
                return;
            }
            if own.iter().all(|element| list.contains(element)) {
                self.findings.add(Anomaly::NonRepeatable, || {
                    words::non_repeatable(history, at, key, base, list)
                });
            } else {
                self.internal(at, known, list);
            }
            return;
        }
        let base = match list.len().checked_sub(mine) {
            Some(rest) if list[rest..] == *own => &list[..rest],
            // Others wrote since; the read is one of their version.
            Some(_) if own.iter().all(|element| list.contains(element)) => list,
            _ => return self.internal(at, known, list),
        };
        if mine == keep {
            // Nothing is left of what it found.
            return;
        }
        known.base = Some(base);
        known.read_first = known.own.is_empty();
        known.last = self.found(at, key, base, whole);
    }

    /// What a transaction found at a key: dependencies on who wrote it and who wrote next. Returns
    /// the last element that should have been there.
    fn found(&mut self, at: u32, key: u32, base: &[u32], whole: bool) -> u32 {
        let (history, orders) = (self.history, self.orders);
        let faultless = whole && base.len() <= orders.sound[key as usize] as usize;
        let (last, fits) = if faultless {
            (base.last().copied().unwrap_or(NONE), true)
        } else {
            self.look_through(at, key, base)
        };
        if last == NONE {
            let first = orders.first[key as usize];
            if fits && first != NONE {
                self.edge(at, orders.writer[first as usize], EdgeKind::Rw, key);
            }
            return NONE;
        }
        let writer = orders.writer[last as usize];
        if writer == at {
            self.findings.add(Anomaly::Internal, || {
                words::too_early(history, at, key, last)
            });
            return last;
        }
        if orders.overwritten[last as usize]
            && history.transactions[writer as usize].status == TxStatus::Committed
        {
            self.findings.add(Anomaly::IntermediateRead, || {
                words::intermediate(history, writer, at, key, last)
            });
        }
        self.edge(writer, at, EdgeKind::Wr, key);
        let next = orders.next[last as usize];
        if fits && next != NONE {
            self.edge(at, orders.writer[next as usize], EdgeKind::Rw, key);
        }
        last
    }

    fn edge(&mut self, from: u32, to: u32, kind: EdgeKind, key: u32) {
        if from != to {
            self.edges.push(Edge {
                from,
                to,
                kind,
                key,
            });
        }
    }

    /// Looks at every element of a read. Returns the last one that should have been there, and
    /// whether they stand in the order of the versions.
    fn look_through(&mut self, at: u32, key: u32, list: &[u32]) -> (u32, bool) {
        let (history, orders) = (self.history, self.orders);
        let kind = history.keys[key as usize].kind;
        self.reads += 1;
        let (mut last, mut count, mut fits) = (NONE, 0, true);
        let mut fault = None;
        for &element in list {
            if !orders.belongs(key, element) {
                fault.get_or_insert((Anomaly::Garbage, element));
                continue;
            }
            let seen_in = std::mem::replace(&mut self.seen_in[element as usize], self.reads);
            if seen_in == self.reads {
                fault.get_or_insert((Anomaly::Duplicate, element));
                continue;
            }
            let writer = orders.writer[element as usize];
            if orders.undone(history, element) {
                if writer != at {
                    fault.get_or_insert((Anomaly::AbortedRead, element));
                }
                continue;
            }
            let place = orders.place[element as usize];
            fits &= match kind {
                KeyKind::List => place == count,
                // Neighbours were compared when the chains were made.
                KeyKind::Window(_) => place != NONE,
                KeyKind::Register => place != NONE,
            };
            count += 1;
            last = element;
        }
        if let Some((fault, element)) = fault {
            let writer = orders.writer[element as usize];
            self.findings.tear(key, fault, || {
                words::faulty_read(history, fault, writer, at, key, list, element)
            });
        }
        if !fits && !matches!(kind, KeyKind::Window(_)) {
            self.findings.tear(key, Anomaly::Incompatible, || {
                words::incompatible(history, at, key, list)
            });
        }
        (last, fits)
    }
}
