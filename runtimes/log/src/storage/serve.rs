//! Giving back what is here.

use super::shard::Slot;
use super::{Bug, Storage, layout};
use crate::{Found, Message, Missing, Record, SeqNum, Shard, Term};
use std::collections::BTreeMap;
use std::sync::Arc;
use triptych_nodes::{Nanos, Out, Peer};

/// Reads that wait for their place to be ordered, or for the disk, at most.
const WAITING: usize = 1 << 16;
/// Answers to other nodes that are being read from the disk at the same time, at most.
const JOBS: usize = 64;
/// Records, freed ids, and bytes in one answer to another node.
const RECORDS: usize = 512;
const GONE: usize = 4096;
const BYTES: usize = 1 << 20;
/// Entries in one answer.
const ENTRIES: usize = 512;

/// What is being answered.
#[derive(Debug, Default)]
pub(super) struct Serving {
    /// Reads of what is not known to be ordered, by when they came.
    waiting: BTreeMap<SeqNum, Vec<(Peer, u64, Nanos)>>,
    /// How many.
    pub(super) parked: usize,
    /// What the disk was asked for.
    reads: BTreeMap<u64, Reading>,
    token: u64,
    /// Answers that wait for the disk.
    jobs: BTreeMap<u64, Job>,
}

#[derive(Debug)]
struct Reading {
    place: usize,
    local: u32,
    for_whom: ForWhom,
}

#[derive(Clone, Copy, Debug)]
enum ForWhom {
    Engine { peer: Peer, op: u64, seq: SeqNum },
    Job { job: u64, at: usize },
}

/// An answer to [`Message::FetchRecords`].
#[derive(Debug)]
struct Job {
    peer: Peer,
    shard: Shard,
    records: Vec<(u32, Option<Arc<Record>>)>,
    gone: Vec<u32>,
    /// How many come from the disk.
    lacking: usize,
}

impl Storage {
    /// Somebody wants a record.
    pub(super) fn read_at(
        &mut self,
        now: Nanos,
        peer: Peer,
        op: u64,
        seq: SeqNum,
        out: &mut Out<Message>,
    ) {
        if !self.try_read(peer, op, seq, out) {
            let term = seq.term();
            if term.view > self.membership.newest() {
                self.tell(now, out);
            }
            if self.serving.parked >= WAITING {
                return not_here(peer, op, seq, out);
            }
            self.serving.parked += 1;
            let waiting = self.serving.waiting.entry(seq).or_default();
            waiting.push((peer, op, now));
            self.chase_term(now, term, out);
        }
    }

    /// Answers a read, unless nobody can tell yet what is there.
    fn try_read(&mut self, peer: Peer, op: u64, seq: SeqNum, out: &mut Out<Message>) -> bool {
        let term = seq.term();
        if term.view == 0 || term.log >= self.config.shape.logs {
            not_here(peer, op, seq, out);
            return true;
        }
        let Some(log) = self.terms.get(&term) else {
            let unknown = term.view > self.membership.newest();
            if !unknown {
                not_here(peer, op, seq, out);
            }
            return !unknown;
        };
        let Some((engine, local)) = log.locate(seq.position(), self.has(Bug::RenumberWrong)) else {
            if log.done {
                not_here(peer, op, seq, out);
            }
            return log.done;
        };
        match log.shards[engine] {
            Some(place) => self.give(peer, op, seq, (place, local), out),
            None => not_here(peer, op, seq, out),
        }
        true
    }

    fn give(
        &mut self,
        peer: Peer,
        op: u64,
        seq: SeqNum,
        (place, local): (usize, u32),
        out: &mut Out<Message>,
    ) {
        let missing = match self.shards[place].slot(local) {
            Slot::Missing => Missing::NotHere,
            Slot::Freed => Missing::Freed,
            Slot::Damaged => Missing::Damaged,
            Slot::Kept(_) => {
                if let Some(record) = self.cached(place, local) {
                    self.answer(peer, op, seq, Ok(record), out);
                } else if self.serving.reads.len() < WAITING {
                    let for_whom = ForWhom::Engine { peer, op, seq };
                    self.read(place, local, for_whom, out);
                } else {
                    not_here(peer, op, seq, out);
                }
                return;
            }
        };
        self.answer(peer, op, seq, Err(missing), out);
    }

    fn answer(
        &mut self,
        peer: Peer,
        op: u64,
        seq: SeqNum,
        found: Result<Arc<Record>, Missing>,
        out: &mut Out<Message>,
    ) {
        let found = found.map(|record| Found {
            seq,
            record,
            aux: self.memos.get(seq),
        });
        out.send(peer, Message::ReadDone { op, seq, found });
    }

    /// A record, if it is in memory.
    fn cached(&mut self, place: usize, local: u32) -> Option<Arc<Record>> {
        let kept = self.shards[place].kept_mut(local)?;
        let record = kept.cached.clone();
        kept.used |= record.is_some();
        match record {
            Some(_) => self.counts.hits += 1,
            None => self.counts.misses += 1,
        }
        record
    }

    fn read(&mut self, place: usize, local: u32, for_whom: ForWhom, out: &mut Out<Message>) {
        // What is not written yet would not be found.
        self.disk.flush(&mut self.shards, true, out);
        self.serving.token += 1;
        let token = self.serving.token;
        let reading = Reading {
            place,
            local,
            for_whom,
        };
        self.serving.reads.insert(token, reading);
        out.read(token, layout::record_key(self.shards[place].id, local));
    }

    /// The disk has answered.
    pub(super) fn read_done(&mut self, token: u64, value: Option<&[u8]>, out: &mut Out<Message>) {
        let Some(reading) = self.serving.reads.remove(&token) else {
            return;
        };
        let Reading {
            place,
            local,
            for_whom,
        } = reading;
        let found = self.check(place, local, value, out);
        match for_whom {
            ForWhom::Engine { peer, op, seq } => self.answer(peer, op, seq, found, out),
            ForWhom::Job { job, at } => {
                let Some(of) = self.serving.jobs.get_mut(&job) else {
                    return;
                };
                of.lacking -= 1;
                of.records[at].1 = found.ok();
                if of.lacking == 0
                    && let Some(done) = self.serving.jobs.remove(&job)
                {
                    done.send(out);
                }
            }
        }
    }

    /// What was read from the disk, if it is what it should be.
    fn check(
        &mut self,
        place: usize,
        local: u32,
        value: Option<&[u8]>,
        out: &mut Out<Message>,
    ) -> Result<Arc<Record>, Missing> {
        let shard = &mut self.shards[place];
        let key = layout::record_key(shard.id, local);
        let blind = self.bug == Some(Bug::ServeDamaged);
        let record = value.and_then(|value| match blind {
            true => layout::decode_blindly(value),
            false => layout::decode_record(&key, value),
        });
        match (shard.slot(local), record) {
            (Slot::Freed, _) => Err(Missing::Freed),
            (Slot::Missing, _) => Err(Missing::NotHere),
            (Slot::Damaged, _) => Err(Missing::Damaged),
            (Slot::Kept(_), None) => {
                self.damaged(place, local, value.is_none(), out);
                Err(Missing::Damaged)
            }
            (Slot::Kept(_), Some(record)) => {
                let record = Arc::new(record);
                if let Some(kept) = shard.kept_mut(local).filter(|kept| kept.cached.is_none()) {
                    kept.cached = Some(Arc::clone(&record));
                    self.cache.add(place, local, kept.bytes);
                }
                Ok(record)
            }
        }
    }

    /// The disk has spoilt a record, or lost it.
    fn damaged(&mut self, place: usize, local: u32, lost: bool, out: &mut Out<Message>) {
        let shard = &mut self.shards[place];
        let key = layout::record_key(shard.id, local);
        let Some(kept) = shard.spoil(local) else {
            return;
        };
        let what = if lost {
            "is not on the disk"
        } else {
            "is damaged"
        };
        out.notice(format!(
            "the record under key {} {what}; it is copied from another keeper",
            layout::hex(&key)
        ));
        self.counts.damaged += 1;
        self.forget(&kept);
        self.disk.delete(key);
        self.wanting.insert(place);
        self.kick = true;
    }

    /// Answers reads of a term that waited for what is known now.
    pub(super) fn unpark(&mut self, term: Term, out: &mut Out<Message>) {
        if self.serving.parked == 0 {
            return;
        }
        let Some(log) = self.terms.get(&term) else {
            return;
        };
        let known = if log.done { u32::MAX } else { log.positions };
        let (first, end) = (SeqNum::new(term, 0), SeqNum::new(term, known));
        let ready: Vec<SeqNum> = match log.done {
            true => self
                .serving
                .waiting
                .range(first..=end)
                .map(|(&seq, _)| seq)
                .collect(),
            false => self
                .serving
                .waiting
                .range(first..end)
                .map(|(&seq, _)| seq)
                .collect(),
        };
        for seq in ready {
            for (peer, op, _) in self.serving.waiting.remove(&seq).unwrap_or_default() {
                self.serving.parked -= 1;
                if !self.try_read(peer, op, seq, out) {
                    not_here(peer, op, seq, out);
                }
            }
        }
    }

    /// Tells those who have waited for too long that it is not here.
    pub(super) fn give_up(&mut self, now: Nanos, out: &mut Out<Message>) {
        let patience = self.config.timing.again_after.saturating_mul(2);
        let Serving {
            waiting, parked, ..
        } = &mut self.serving;
        waiting.retain(|&seq, reads| {
            reads.retain(|&(peer, op, since)| {
                let waits = now < since + patience;
                if !waits {
                    *parked -= 1;
                    not_here(peer, op, seq, out);
                }
                waits
            });
            !reads.is_empty()
        });
        for term in waiting.keys().map(|seq| seq.term()).collect::<Vec<_>>() {
            self.chase_term(now, term, out);
        }
    }

    /// Another node wants records of a shard.
    pub(super) fn fetch_records(
        &mut self,
        peer: Peer,
        id: Shard,
        from: u32,
        to: u32,
        out: &mut Out<Message>,
    ) {
        let Some(&place) = self.places.get(&id) else {
            return;
        };
        let (mut records, mut gone, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut lacking = Vec::new();
        let to = to.min(self.shards[place].seen);
        for local in from..to {
            match self.shards[place].slot(local) {
                Slot::Freed if gone.len() < GONE => gone.push(local),
                Slot::Kept(kept) if records.len() < RECORDS && bytes < BYTES => {
                    bytes += kept.bytes as usize;
                    let record = self.cached(place, local);
                    if record.is_none() {
                        lacking.push((local, records.len()));
                    }
                    records.push((local, record));
                }
                _ => break,
            }
        }
        if records.is_empty() && gone.is_empty() {
            return;
        }
        let job = Job {
            peer,
            shard: id,
            records,
            gone,
            lacking: lacking.len(),
        };
        if lacking.is_empty() {
            return job.send(out);
        }
        if self.serving.jobs.len() >= JOBS {
            return;
        }
        self.serving.token += 1;
        let number = self.serving.token;
        self.serving.jobs.insert(number, job);
        for (local, at) in lacking {
            let for_whom = ForWhom::Job { job: number, at };
            self.read(place, local, for_whom, out);
        }
    }

    /// Another node wants entries.
    pub(super) fn fetch_entries(
        &mut self,
        peer: Peer,
        term: Term,
        from: u32,
        out: &mut Out<Message>,
    ) {
        if let Some(log) = self.terms.get(&term).filter(|log| log.engines.is_some()) {
            let entries = log.entries(from, ENTRIES);
            out.send(peer, Message::Committed { term, entries });
        }
    }

    /// An index wants to know of ordered records.
    pub(super) fn fetch_index(
        &mut self,
        peer: Peer,
        shard: Shard,
        from: u32,
        to: u32,
        out: &mut Out<Message>,
    ) {
        let place = self.places.get(&shard).copied();
        if let Some(message) = place.and_then(|place| self.indexed(place, from, to)) {
            out.send(peer, message);
        }
    }
}

impl Job {
    /// Sends as much as is there without a gap.
    fn send(self, out: &mut Out<Message>) {
        let Job {
            peer,
            shard,
            records,
            mut gone,
            ..
        } = self;
        let spoilt = records.iter().find(|(_, record)| record.is_none());
        if let Some(&(end, _)) = spoilt {
            gone.retain(|&local| local < end);
        }
        let whole = |(local, record): (u32, Option<Arc<Record>>)| Some((local, record?));
        let records: Vec<_> = records.into_iter().map_while(whole).collect();
        if !records.is_empty() || !gone.is_empty() {
            let answer = Message::Replicate {
                shard,
                records,
                gone,
            };
            out.send(peer, answer);
        }
    }
}

fn not_here(peer: Peer, op: u64, seq: SeqNum, out: &mut Out<Message>) {
    let found = Err(Missing::NotHere);
    out.send(peer, Message::ReadDone { op, seq, found });
}
