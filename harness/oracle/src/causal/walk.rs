//! Goes through the events once, carrying along what every strand has to see, and judges each look.

use super::past::{self, Past};
use super::unit::Unit;
use super::views::Views;
use super::words::{self, Torn};
use super::writes::Writes;
use super::{Anomaly, Findings, Hop, NONE, Seen, misses};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use triptych_model::causes::{Act, Causes};
use triptych_model::history::{NOBODY, TxStatus};

/// How a strand came to know of writes: by an event of its own client, which made or saw this one.
#[derive(Clone, Copy)]
struct Learned {
    event: u32,
    from: u32,
}

pub(super) struct Walk<'a> {
    pub(super) causes: &'a Causes,
    pub(super) writes: &'a Writes,
    misses: &'a misses::Misses,
    pub(super) views: Views<'a>,
    /// Of a strand: what it has to see.
    past: Vec<Past>,
    /// The same as it was after events that others come after, and how many still do.
    kept: BTreeMap<u32, (Past, u32)>,
    /// Of a write: what whoever sees it has to see.
    before: Vec<Option<Past>>,
    learned: Vec<Learned>,
    /// Writes that came after what their documents hold in the end instead of them.
    undone_at_end: BTreeSet<u32>,
    /// Of a key: writes of which something in their pasts still matters, and until when.
    live: Vec<Vec<(u32, u32)>>,
    /// Of a key: writes of transactions that somebody still misses a part of, and until when.
    parts: Vec<Vec<(u32, u32)>>,
    /// The look at several keys that goes on: its number, its strand, what is known of it.
    look: Option<(u32, u32, Unit)>,
    /// Transactions that go on.
    open: BTreeMap<u32, Unit>,
    /// What clients have done so far: to which keys they wrote, at which they looked, and who has
    /// seen something of another one.
    wrote: BTreeSet<(u32, u32)>,
    looked: BTreeSet<(u32, u32)>,
    met: BTreeSet<u32>,
    /// Whether there are transactions that wrote something.
    batches: bool,
    pub(super) seen: Seen,
}

/// Judges every look, and the end.
pub(super) fn walk<'a>(
    causes: &'a Causes,
    writes: &'a Writes,
    misses: &'a misses::Misses,
    findings: &mut Findings,
) -> Seen {
    let mut walk = Walk {
        causes,
        writes,
        misses,
        views: Views::new(causes, writes),
        past: vec![Past::default(); causes.strands.len()],
        kept: BTreeMap::new(),
        before: vec![None; causes.names.len()],
        learned: Vec::new(),
        undone_at_end: BTreeSet::new(),
        live: vec![Vec::new(); causes.keys.len()],
        parts: vec![Vec::new(); causes.keys.len()],
        look: None,
        open: BTreeMap::new(),
        wrote: BTreeSet::new(),
        looked: BTreeSet::new(),
        met: BTreeSet::new(),
        batches: writes.tx.iter().any(|tx| *tx != NONE),
        seen: Seen::default(),
    };
    let mut uses = vec![0u32; causes.events.len()];
    for event in &causes.events {
        if let Act::After { event } = event.act {
            uses[event as usize] += 1;
        }
    }
    for (at, event) in (0u32..).zip(&causes.events) {
        walk.step(at, event.strand, &event.act, findings);
        if uses[at as usize] > 0 {
            let past = Rc::clone(&walk.past[event.strand as usize]);
            walk.kept.insert(at, (past, uses[at as usize]));
        }
    }
    walk.end_look(findings);
    walk.end(findings);
    walk.seen
}

impl Walk<'_> {
    fn session(&self, strand: u32) -> u32 {
        self.causes.strands[strand as usize].session
    }

    fn step(&mut self, at: u32, strand: u32, act: &Act, findings: &mut Findings) {
        let look = match act {
            Act::Read { look, .. } => *look,
            _ => None,
        };
        if self.look.as_ref().map(|(open, ..)| *open) != look {
            self.end_look(findings);
        }
        self.views.step(at, act);
        match act {
            Act::Step => {}
            Act::After { event } => self.come_after(at, strand, *event),
            Act::Write { key, write, tx } => {
                self.wrote.insert((self.session(strand), *key));
                if self.writes.event[*write as usize] != at {
                    return;
                }
                if let Some(tx) = tx {
                    let until = self.misses.batch_until[*tx as usize];
                    if until > at {
                        self.parts[*key as usize].push((until, *write));
                    }
                } else {
                    let base = Rc::clone(&self.past[strand as usize]);
                    self.past[strand as usize] = self.made(at, *write, &base, &base);
                }
            }
            Act::Commit { tx } => self.commit(at, strand, *tx, findings),
            Act::Read { key, tx, .. } => {
                self.learn(at, strand, *key);
                let judged = tx.is_none_or(|tx| {
                    self.causes.batches[tx as usize].status == TxStatus::Committed
                });
                if judged {
                    self.judge(at, strand, *key, look, tx.unwrap_or(NONE), findings);
                }
            }
        }
    }

    /// Takes over what was known after an event of another strand.
    fn come_after(&mut self, at: u32, strand: u32, event: u32) {
        let Some((past, uses)) = self.kept.get_mut(&event) else {
            return;
        };
        let until = &self.misses.until;
        let own = &mut self.past[strand as usize];
        *own = past::join(own, past, None, |write| until[write as usize] >= at);
        *uses -= 1;
        if *uses == 0 {
            self.kept.remove(&event);
        }
    }

    /// A write happens after `base`. Gives `past` with it.
    fn made(&mut self, at: u32, write: u32, base: &Past, past: &Past) -> Past {
        self.seen.writes += 1;
        let (slot, key) = (write as usize, self.writes.key[write as usize]);
        if self.misses.at_end[slot] && self.writes.once[slot] {
            let last = self.causes.keys[key as usize].last.iter().flatten();
            let mut older = last.filter(|one| past::get(base, **one).is_some());
            if older.next().is_some() {
                self.undone_at_end.insert(write);
            }
        }
        let until = &self.misses.until;
        let mut before = Rc::clone(base);
        let mut past = Rc::clone(past);
        if until[slot] > at {
            let how = self.learned.len() as u32;
            self.learned.push(Learned {
                event: at,
                from: write,
            });
            before = past::with(&before, write, how, |w| until[w as usize] >= at);
            past = past::with(&past, write, how, |w| until[w as usize] >= at);
        }
        let last = before.iter().map(|known| until[known.write as usize]).max();
        if let Some(last) = last.filter(|last| *last > at && self.writes.once[slot]) {
            self.before[slot] = Some(before);
            self.live[key as usize].push((last, write));
        }
        past
    }

    fn commit(&mut self, at: u32, strand: u32, tx: u32, findings: &mut Findings) {
        if self.causes.batches[tx as usize].status != TxStatus::Committed {
            return;
        }
        if let Some(unit) = self.open.remove(&tx) {
            let kinds = [Anomaly::FracturedRead, Anomaly::TornSnapshot];
            self.end_unit(strand, &unit, kinds, findings);
        }
        let base = Rc::clone(&self.past[strand as usize]);
        let mut past = Rc::clone(&base);
        for write in &self.writes.of_tx[tx as usize] {
            if self.writes.at[*write as usize] == at {
                past = self.made(at, *write, &base, &past);
            }
        }
        self.past[strand as usize] = past;
    }

    /// Whoever sees writes comes after them.
    fn learn(&mut self, at: u32, strand: u32, key: u32) {
        let there = &self.views.of(key).there;
        let live = &mut self.live[key as usize];
        live.retain(|(until, write)| {
            let keep = *until >= at;
            if !keep {
                self.before[*write as usize] = None;
            }
            keep
        });
        let until = &self.misses.until;
        for (_, write) in live.iter() {
            let slot = *write as usize;
            let own = &self.past[strand as usize];
            let place = (self.writes.place(*write), *write);
            if past::get(own, *write).is_some() || !there.contains(&place) {
                continue;
            }
            let Some(before) = &self.before[slot] else {
                continue;
            };
            let how = self.learned.len() as u32;
            let joined = past::join(own, before, Some(how), |w| until[w as usize] >= at);
            if !Rc::ptr_eq(&joined, own) {
                self.learned.push(Learned {
                    event: at,
                    from: *write,
                });
                self.past[strand as usize] = joined;
            }
        }
    }

    /// Whether one write is surely older than another.
    fn older(&self, one: u32, other: u32) -> bool {
        let before = self.before[other as usize].as_ref();
        self.writes.loaded[one as usize]
            || before.is_some_and(|before| past::get(before, one).is_some())
    }

    /// Whether a write that the last state of its document does not show was not replaced by something
    /// newer.
    pub(super) fn surely_lost(&self, key: u32, write: u32) -> bool {
        let instead = self.views.instead(key);
        instead.is_none_or(|there| {
            let loaded = |(_, one): &(u32, u32)| self.writes.loaded[*one as usize];
            self.undone_at_end.contains(&write) || there.iter().any(loaded)
        })
    }

    /// Whether a write that the last look did not show was not replaced by something newer.
    fn surely_missed(&self, key: u32, write: u32) -> bool {
        let instead = self.views.instead(key);
        instead.is_none_or(|there| there.iter().any(|(_, one)| self.older(*one, write)))
    }

    fn judge(
        &mut self,
        at: u32,
        strand: u32,
        key: u32,
        look: Option<u32>,
        tx: u32,
        findings: &mut Findings,
    ) {
        self.count(strand, key);
        if let Some((write, replaced)) = self.views.undone(key)
            && self.writes.tx[write as usize] != tx
        {
            let anomaly = match replaced {
                true => Anomaly::IntermediateRead,
                false => Anomaly::AbortedRead,
            };
            let hops = [self.writes.event[write as usize], at].map(|event| Hop { event, write });
            findings.add(anomaly, 2, || {
                words::unwanted(self.causes, anomaly, hops, write)
            });
        }
        let mut units = [None, None];
        if let Some(number) = look {
            let open = self.look.take().map(|(_, _, unit)| unit);
            units[0] = Some((number, open.unwrap_or_default()));
        }
        if tx != NONE {
            units[1] = Some((tx, self.open.remove(&tx).unwrap_or_default()));
        }
        let mut told: BTreeSet<Anomaly> = BTreeSet::new();
        for write in self.views.missed(key) {
            let of = self.writes.tx[write as usize];
            if of != NONE && of == tx || !self.surely_missed(key, write) {
                continue;
            }
            match past::get(&self.past[strand as usize], write) {
                Some(how) => {
                    let anomaly = self.kind(write, how);
                    if told.insert(anomaly) {
                        let hops = self.hops(at, write, how);
                        findings.add(anomaly, hops.len(), || {
                            words::missed(self.causes, anomaly, hops, write)
                        });
                    }
                }
                None => {
                    for (_, unit) in units.iter_mut().flatten() {
                        unit.miss(write, of, at);
                    }
                }
            }
        }
        let there = &self.views.of(key).there;
        let parts = &mut self.parts[key as usize];
        parts.retain(|(until, _)| *until >= at);
        for (_, write) in parts.iter() {
            let of = self.writes.tx[*write as usize];
            if of != tx && there.contains(&(self.writes.place(*write), *write)) {
                for (_, unit) in units.iter_mut().flatten() {
                    unit.see(*write, of, at);
                }
            }
        }
        let [look, own] = units;
        if let Some((number, mut unit)) = look {
            unit.keys.insert(key);
            self.look = Some((number, strand, unit));
        }
        if let Some((tx, mut unit)) = own {
            unit.keys.insert(key);
            self.open.insert(tx, unit);
        }
    }

    /// Which guarantee a look breaks that misses a write, by how the write is known.
    fn kind(&self, write: u32, how: u32) -> Anomaly {
        let Learned { event, from } = self.learned[how as usize];
        let is_look =
            |event: u32| matches!(self.causes.events[event as usize].act, Act::Read { .. });
        if !is_look(event) {
            return Anomaly::ReadYourWrites;
        }
        if from == write {
            return Anomaly::MonotonicReads;
        }
        let before = self.before[from as usize].as_deref();
        let Some(how) = before.and_then(|before| past::get(before, write)) else {
            return Anomaly::Causality;
        };
        let Learned { event, from } = self.learned[how as usize];
        match (is_look(event), from == write) {
            (false, _) => Anomaly::MonotonicWrites,
            (true, true) => Anomaly::WritesFollowReads,
            (true, false) => Anomaly::Causality,
        }
    }

    /// The way from a write to an event that had to see it.
    fn hops(&self, at: u32, write: u32, how: u32) -> Vec<Hop> {
        let mut hops = vec![Hop { event: at, write }];
        let mut how = Some(how);
        while let Some(number) = how {
            let Learned { event, from } = self.learned[number as usize];
            hops.push(Hop { event, write: from });
            let is_look = matches!(self.causes.events[event as usize].act, Act::Read { .. });
            if !is_look {
                break;
            }
            if from == write {
                let event = self.writes.event[write as usize];
                hops.push(Hop { event, write });
                break;
            }
            let event = self.writes.event[from as usize];
            hops.push(Hop { event, write: from });
            let before = self.before[from as usize].as_deref();
            how = before.and_then(|before| past::get(before, write));
        }
        hops.reverse();
        hops
    }

    fn end_look(&mut self, findings: &mut Findings) {
        let Some((_, strand, unit)) = self.look.take() else {
            return;
        };
        if unit.keys.len() > 1 {
            let kinds = [Anomaly::FracturedLook, Anomaly::TornLook];
            self.end_unit(strand, &unit, kinds, findings);
        }
    }

    /// Judges what must see all or nothing.
    fn end_unit(
        &mut self,
        strand: u32,
        unit: &Unit,
        [fractured, torn]: [Anomaly; 2],
        findings: &mut Findings,
    ) {
        for kind in [fractured, torn] {
            *self.seen.tried.entry(kind).or_default() += 1;
        }
        self.seen.conflicts += u64::from(unit.met_something());
        let of = &self.writes.event;
        let broken = unit.fractured();
        if let Some((_, (seen, looked), (missed, later))) = broken {
            let hops = vec![
                Hop {
                    event: of[seen as usize],
                    write: seen,
                },
                Hop {
                    event: of[missed as usize],
                    write: missed,
                },
                Hop {
                    event: looked,
                    write: seen,
                },
                Hop {
                    event: later,
                    write: missed,
                },
            ];
            findings.add(fractured, hops.len(), || {
                words::torn(self.causes, fractured, hops, missed, Torn::Part)
            });
        }
        let past = &self.past[strand as usize];
        let known = unit.missed.iter().filter_map(|(write, event)| {
            let own = broken.is_some_and(|(tx, ..)| self.writes.tx[*write as usize] == tx);
            let how = past::get(past, *write).filter(|_| !own)?;
            Some((*write, *event, how))
        });
        let Some((write, event, how)) = known.min() else {
            return;
        };
        // The look that missed it comes last, though it may have been the first.
        let mut hops = self.hops(event, write, how);
        hops.sort_by_key(|hop| hop.event == event && hop.write == write);
        findings.add(torn, hops.len(), || {
            words::torn(self.causes, torn, hops, write, Torn::Before)
        });
    }

    /// Counts what a look tries.
    fn count(&mut self, strand: u32, key: u32) {
        let session = self.session(strand);
        if session == NOBODY {
            return;
        }
        self.seen.looks += 1;
        let mut tried = |anomaly: Anomaly, was: bool| {
            *self.seen.tried.entry(anomaly).or_default() += u64::from(was);
        };
        tried(
            Anomaly::ReadYourWrites,
            self.wrote.contains(&(session, key)),
        );
        tried(Anomaly::MonotonicReads, !self.looked.insert((session, key)));
        let met = self.met.contains(&session);
        for anomaly in [
            Anomaly::MonotonicWrites,
            Anomaly::WritesFollowReads,
            Anomaly::Causality,
        ] {
            tried(anomaly, met);
        }
        for anomaly in [Anomaly::AbortedRead, Anomaly::IntermediateRead] {
            tried(anomaly, self.batches);
        }
        if !met {
            let there = self.views.of(key).there.iter();
            let foreign = |write: &u32| {
                let event = self.writes.event[*write as usize];
                let by = self.causes.events.get(event as usize);
                by.is_some_and(|by| self.session(by.strand) != session)
            };
            if there.map(|(_, write)| *write).any(|write| foreign(&write)) {
                self.met.insert(session);
            }
        }
    }
}
