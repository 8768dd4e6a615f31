//! In which order the versions of every key were made, and by whom.
//!
//! Of a list the final state tells it: it holds every element in the order of the appends. Of a
//! window only the end of the list is left, but reads at different times overlap, and where they do
//! they can be chained; between chains nothing is known. Elements that nobody wrote, that are there
//! twice or that an aborted transaction left are reported and then passed over.

use super::graph::NONE;
use super::words;
use super::{Anomaly, Findings, Refusal};
use triptych_model::history::{History, KeyKind, MicroOp, Saw, TxStatus};

/// What is known of the versions.
pub(super) struct Orders {
    /// Of an element: who wrote it.
    pub(super) writer: Vec<u32>,
    /// Of an element: its key.
    pub(super) key_of: Vec<u32>,
    /// Of an element: its place in the order of its key, or [`NONE`].
    pub(super) place: Vec<u32>,
    /// Of an element of a window: which chain it is in; places of two chains cannot be compared.
    pub(super) chain: Vec<u32>,
    /// Of an element: the next one that another transaction wrote.
    pub(super) next: Vec<u32>,
    /// Of an element: the next one at all.
    pub(super) after: Vec<u32>,
    /// Of an element: whether its transaction wrote this key again later.
    pub(super) overwritten: Vec<bool>,
    /// Of a key: its first element, if it is known.
    pub(super) first: Vec<u32>,
    /// Of a key: how many elements of its final order are faultless from the start.
    pub(super) sound: Vec<u32>,
    /// Of a transaction: whether it had effects.
    pub(super) alive: Vec<bool>,
}

impl Orders {
    pub(super) fn of(history: &History, findings: &mut Findings) -> Result<Orders, Refusal> {
        let mut orders = Orders::validated(history, findings)?;
        orders.mark_alive(history);
        for (key, known) in (0..).zip(&history.keys) {
            let order = known.order.as_deref().unwrap_or(&[]);
            let clean = orders.clean(history, key, order, findings);
            match known.kind {
                KeyKind::Window(_) => {}
                KeyKind::List | KeyKind::Register => orders.place_all(key, &clean, 0),
            }
        }
        orders.chain_windows(history, findings);
        orders.link_others();
        orders.note_lost(history, findings);
        Ok(orders)
    }

    /// Finds every writer, and refuses a history that nothing can be concluded from.
    fn validated(history: &History, findings: &mut Findings) -> Result<Orders, Refusal> {
        if let Some(why) = &history.truncated {
            return Err(Refusal::Truncated(why.clone()));
        }
        let malformed = |why: String| Err(Refusal::Malformed(why));
        let count = history.elements as usize;
        let mut orders = Orders {
            writer: vec![NONE; count],
            key_of: vec![NONE; count],
            place: vec![NONE; count],
            chain: Vec::new(),
            next: vec![NONE; count],
            after: vec![NONE; count],
            overwritten: vec![false; count],
            first: vec![NONE; history.keys.len()],
            sound: vec![0; history.keys.len()],
            alive: vec![false; history.transactions.len()],
        };
        for key in &history.keys {
            let Some(order) = &key.order else {
                return Err(Refusal::NoFinalState(key.name.to_string()));
            };
            if let Some(element) = order.iter().find(|element| **element >= history.elements) {
                return malformed(format!("{} ends with element {element}", key.name));
            }
        }
        // The last write of each key by the transaction at hand: (transaction, element).
        let mut latest = vec![(NONE, NONE); history.keys.len()];
        for (at, tx) in (0u32..).zip(&history.transactions) {
            if tx.status == TxStatus::Committed && tx.end < tx.begin {
                return malformed(format!("{} ends before it begins", tx.id));
            }
            for op in &tx.ops {
                let Some(key) = history.keys.get(op.key() as usize) else {
                    return malformed(format!("{} names key {}", tx.id, op.key()));
                };
                if let Err(why) = fits(history, op) {
                    return malformed(format!("{}: {why} of {}", tx.id, key.name));
                }
                let Some(element) = op.adds() else { continue };
                let slot = element as usize;
                if orders.key_of[slot] != NONE && orders.key_of[slot] != op.key() {
                    return malformed(format!("element {element} is of two keys"));
                }
                orders.key_of[slot] = op.key();
                let known = orders.writer[slot];
                if known == NONE {
                    orders.writer[slot] = at;
                } else {
                    let status = |tx: u32| history.transactions[tx as usize].status;
                    if status(known) == TxStatus::Committed && tx.status == TxStatus::Committed {
                        findings.tear(op.key(), Anomaly::Duplicate, || {
                            words::written_twice(history, known, at, op.key(), element)
                        });
                    } else if status(known) != TxStatus::Committed {
                        // Of several tries the one that is known to have worked.
                        orders.writer[slot] = at;
                    }
                }
                let latest = &mut latest[op.key() as usize];
                if latest.0 == at {
                    orders.overwritten[latest.1 as usize] = true;
                }
                *latest = (at, element);
            }
        }
        Ok(orders)
    }

    /// A transaction had effects if it says so, or if somebody else saw one.
    fn mark_alive(&mut self, history: &History) {
        for (at, tx) in history.transactions.iter().enumerate() {
            self.alive[at] = tx.status == TxStatus::Committed;
        }
        let finals = history
            .keys
            .iter()
            .flat_map(|key| key.order.iter().flatten());
        let committed = history
            .transactions
            .iter()
            .filter(|tx| tx.status == TxStatus::Committed);
        let seen = committed.flat_map(|tx| &tx.ops).flat_map(|op| match op {
            MicroOp::Read {
                saw: Saw::List(list),
                ..
            } => list.as_slice(),
            MicroOp::Get {
                version: Some(version),
                ..
            } => std::slice::from_ref(version),
            _ => &[],
        });
        for element in finals.chain(seen) {
            if let Some(&writer) = self.writer.get(*element as usize)
                && writer != NONE
                && history.transactions[writer as usize].status == TxStatus::Indeterminate
            {
                self.alive[writer as usize] = true;
            }
        }
    }

    /// Whether an element belongs where it was found: somebody wrote it there.
    pub(super) fn belongs(&self, key: u32, element: u32) -> bool {
        self.key_of.get(element as usize) == Some(&key)
    }

    /// Whether what wrote it was undone.
    pub(super) fn undone(&self, history: &History, element: u32) -> bool {
        let writer = self.writer[element as usize];
        writer != NONE && history.transactions[writer as usize].status == TxStatus::Aborted
    }

    /// The final order without what should not be in it, which is reported.
    fn clean(
        &mut self,
        history: &History,
        key: u32,
        order: &[u32],
        findings: &mut Findings,
    ) -> Vec<u32> {
        let mut clean = Vec::with_capacity(order.len());
        let mut sound = order.len();
        for (at, &element) in order.iter().enumerate() {
            let fault = if !self.belongs(key, element) {
                Anomaly::Garbage
            } else if self.undone(history, element) {
                Anomaly::AbortedRead
            } else if self.place[element as usize] != NONE {
                Anomaly::Duplicate
            } else {
                // A mark that it is there; the place itself comes later.
                self.place[element as usize] = 0;
                clean.push(element);
                continue;
            };
            sound = sound.min(at);
            let writer = self.writer[element as usize];
            findings.tear(key, fault, || {
                words::in_final_state(history, fault, writer, key, element)
            });
        }
        clean
            .iter()
            .for_each(|element| self.place[*element as usize] = NONE);
        self.sound[key as usize] = sound as u32;
        clean
    }

    fn place_all(&mut self, key: u32, clean: &[u32], chain: u32) {
        for (place, &element) in (0u32..).zip(clean) {
            self.place[element as usize] = place;
            if let Some(slot) = self.chain.get_mut(element as usize) {
                *slot = chain;
            }
            let after = clean.get(place as usize + 1);
            self.after[element as usize] = after.copied().unwrap_or(NONE);
        }
        if chain == 0 {
            self.first[key as usize] = clean.first().copied().unwrap_or(NONE);
        }
    }

    /// Puts together what is known of the orders of windows.
    fn chain_windows(&mut self, history: &History, findings: &mut Findings) {
        let is_window = |key: u32| matches!(history.keys[key as usize].kind, KeyKind::Window(_));
        if !(0..history.keys.len() as u32).any(is_window) {
            return;
        }
        let count = history.elements as usize;
        let (mut succ, mut pred) = (vec![NONE; count], vec![NONE; count]);
        self.chain = vec![0; count];
        // Whether a view of less than the whole window shows its first element.
        let mut first = vec![NONE; history.keys.len()];
        let mut look =
            |orders: &Orders, findings: &mut Findings, tx: u32, key: u32, view: &[u32]| {
                let KeyKind::Window(keep) = history.keys[key as usize].kind else {
                    return;
                };
                let good = |element: &&u32| {
                    orders.belongs(key, **element) && !orders.undone(history, **element)
                };
                let mut before = NONE;
                for &element in view.iter().filter(good) {
                    if before == NONE {
                        if (view.len() as u64) < u64::from(keep) {
                            first[key as usize] = element;
                        }
                    } else if element != before {
                        let known = (succ[before as usize], pred[element as usize]);
                        if known == (NONE, NONE) {
                            succ[before as usize] = element;
                            pred[element as usize] = before;
                        } else if known != (element, before) {
                            findings.tear(key, Anomaly::Incompatible, || {
                                words::other_neighbours(history, tx, key, before, element, known)
                            });
                        }
                    }
                    before = element;
                }
            };
        for (key, known) in (0u32..).zip(&history.keys) {
            look(
                self,
                findings,
                NONE,
                key,
                known.order.as_deref().unwrap_or(&[]),
            );
        }
        for (at, tx) in (0u32..).zip(&history.transactions) {
            for op in tx.ops.iter().filter(|_| tx.status == TxStatus::Committed) {
                if let MicroOp::Read { key, saw } = op {
                    look(self, findings, at, *key, history.list(*key, saw));
                }
            }
        }
        let mut chains = 0;
        for head in 0..history.elements {
            let key = self.key_of[head as usize];
            if key == NONE || !is_window(key) || pred[head as usize] != NONE {
                continue;
            }
            let mut chain = vec![head];
            while let Some(&last) = chain.last()
                && succ[last as usize] != NONE
            {
                chain.push(succ[last as usize]);
            }
            chains += 1;
            self.place_all(key, &chain, chains);
        }
        for (key, element) in first.into_iter().enumerate().filter(|(_, e)| *e != NONE) {
            self.first[key] = element;
        }
    }

    /// From every element to the next one that somebody else wrote.
    fn link_others(&mut self) {
        // Later places first, so that the next one knows already.
        let mut elements: Vec<u32> = (0..self.place.len() as u32)
            .filter(|element| self.place[*element as usize] != NONE)
            .collect();
        elements.sort_unstable_by_key(|element| std::cmp::Reverse(self.place[*element as usize]));
        for element in elements {
            let after = self.after[element as usize];
            if after == NONE {
                continue;
            }
            let same = self.writer[element as usize] == self.writer[after as usize];
            self.next[element as usize] = if same {
                self.next[after as usize]
            } else {
                after
            };
        }
    }

    /// Writes that are nowhere in the end, and those that are in another order than they were made
    /// in, of transactions that had effects.
    fn note_lost(&self, history: &History, findings: &mut Findings) {
        // The last write of each key by the transaction at hand: (transaction, element).
        let mut latest = vec![(NONE, NONE); history.keys.len()];
        for (at, tx) in (0u32..).zip(&history.transactions) {
            if !self.alive[at as usize] {
                continue;
            }
            let window = |key: u32| matches!(history.keys[key as usize].kind, KeyKind::Window(_));
            let written = tx.ops.iter().filter_map(|op| Some((op.key(), op.adds()?)));
            for (key, element) in written {
                let place = self.place[element as usize];
                let own = self.writer[element as usize] == at;
                if own && place != NONE {
                    let chain = |e: u32| self.chain.get(e as usize).copied().unwrap_or(0);
                    let (tx, before) = std::mem::replace(&mut latest[key as usize], (at, element));
                    if tx == at
                        && chain(before) == chain(element)
                        && self.place[before as usize] > place
                    {
                        findings.tear(key, Anomaly::Incompatible, || {
                            words::backwards(history, at, key, before, element)
                        });
                    }
                } else if own && !window(key) {
                    findings.tear(key, Anomaly::LostWrite, || {
                        words::lost(history, at, key, element)
                    });
                }
            }
        }
    }
}

/// Whether an operation is one that its key can have.
fn fits(history: &History, op: &MicroOp) -> Result<(), String> {
    let key = &history.keys[op.key() as usize];
    let register = key.kind == KeyKind::Register;
    let known = |element: u32| match element < history.elements {
        true => Ok(()),
        false => Err(format!("there is no element {element}")),
    };
    match op {
        MicroOp::Append { element, .. } if !register => known(*element),
        MicroOp::Read { saw, .. } if !register => match saw {
            Saw::List(list) => list.iter().try_for_each(|element| known(*element)),
            Saw::Prefix(_) if key.kind != KeyKind::List => {
                Err("a window has no beginning that could be read".to_owned())
            }
            Saw::Prefix(length) => {
                let longest = key.order.as_ref().map_or(0, Vec::len);
                match *length as usize <= longest {
                    true => Ok(()),
                    false => Err(format!(
                        "a read of the first {length} of {longest} elements"
                    )),
                }
            }
        },
        MicroOp::Write { version, .. } if register => known(*version),
        MicroOp::Get { version, .. } if register => version.map_or(Ok(()), known),
        MicroOp::Append { .. } | MicroOp::Read { .. } => Err("a list operation".to_owned()),
        MicroOp::Write { .. } | MicroOp::Get { .. } => Err("a register operation".to_owned()),
    }
}
