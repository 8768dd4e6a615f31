//! The storage: keeps records, says what it has, and gives back what was ordered.
//!
//! ```text
//!  engine ── Replicate ──▶ shard: gap-free prefix ── Stored ──▶ primary sequencer
//!     ▲                        │   (FetchRecords fills gaps)         │
//!     │                        ▼                                     │
//!  ReadAt/ReadDone ◀── cache, disk ◀── cuts number the records ◀── Committed
//!                              │                  │
//!                        Release frees       Indexed ──▶ index engines
//! ```
//!
//! * A [`shard`] has a slot for each local id: what the record's book, tags and condition are, and
//!   the record itself while the cache has room. From there come the prefix that is reported, what
//!   indexes are told, and what a trim may free.
//! * A [`term`] applies the entries of a metalog in their order, and keeps cuts as columns of
//!   numbers. A sequence number's record is found in them by binary search.
//! * What was ordered for good stays; what a view's end leaves unordered is dropped then, so that
//!   nothing that was given up comes back.
//! * A view may name this node as keeper of shards of ended terms: it copies what it lacks from the
//!   other keepers, and says in `Alive` when it has all.
//!
//! # On disk
//!
//! Numbers in keys are big-endian, so that keys are in the order of what they name.
//!
//! ```text
//!  key                                            value
//!  ┌───┬──────┬─────┬────────┬──────────┐        ┌──────────┬──────┬───────────┬──────┬──────┬──────┐
//!  │ r │ view │ log │ engine │ local id │        │ checksum │ book │ how many  │ tags │ cond.│ data │
//!  └───┴──────┴─────┴────────┴──────────┘        └──────────┴──────┴───────────┴──────┴──────┴──────┘
//!    1    2      2      2         4                   8         8    4 (bit 31:   8 each  0/16
//!                                                                    condition)
//!  ┌───┬──────┬─────┬────────┬──────────┐        ┌──────────┬────────────────────────────────────┐
//!  │ f │ view │ log │ engine │  chunk   │        │ checksum │ a bit for each local id; none: all │
//!  └───┴──────┴─────┴────────┴──────────┘        └──────────┴────────────────────────────────────┘
//!  ┌───┬──────┬─────┬────────┐                   ┌──────────┬──────────────────┐
//!  │ e │ view │ log │ number │                   │ checksum │ entry (postcard) │
//!  └───┴──────┴─────┴────────┘                   └──────────┴──────────────────┘
//! ```
//!
//! The checksum is XXH3 of the rest of the value, seeded with that of the key. A record is written
//! when it comes, and deleted together with the note (`f`) that it was freed. Which records are
//! ordered, and where, is recovered by applying the entries again; what they free is freed again.
//!
//! Damage, whether found at the start (when everything is verified) or by a read, is told to the
//! operator with the key, deleted, and copied from another keeper.

mod cache;
mod disk;
mod layout;
mod order;
mod receive;
mod recover;
mod repair;
mod serve;
mod shard;
mod term;
#[cfg(test)]
mod tests;
mod trim;

use crate::{
    Config, Failure, Level, MEMBERSHIP, Membership, Message, Reply, Request, SeqNum, Shard, Term,
};
use shard::{CHUNK, Kept, ShardLog};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use term::TermLog;
use triptych_nodes::{Nanos, Node, NodeId, Out, Peer};

/// Things that a storage can be made to do wrong, to see whether somebody notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bug {
    /// It reports the highest record that it has, whatever is missing before it.
    ReportGaps,
    /// It reports records before they are synced.
    ReportBeforeSync,
    /// At the end of a view it drops the last ordered record of each shard too.
    DropOnFinal,
    /// At the end of a view it keeps what was never ordered.
    KeepUnordered,
    /// It frees records as soon as a trim is ordered, that at the bound among them.
    FreeOnTrim,
    /// It numbers the shards of a cut from the last engine to the first.
    RenumberWrong,
    /// It says that it has copied what it is to keep, and has not.
    SkipRepair,
    /// It gives back what it reads from its disk without looking at the checksum.
    ServeDamaged,
}

const REPORT: u64 = 1;
const TICK: u64 = 2;
const SWEEP: u64 = 3;

/// A storage node.
pub struct Storage {
    config: Rc<Config>,
    membership: Membership,
    bug: Option<Bug>,
    shards: Vec<ShardLog>,
    /// Where each shard is in `shards`.
    places: BTreeMap<Shard, usize>,
    terms: BTreeMap<Term, TermLog>,
    cache: cache::Records,
    memos: cache::Memos,
    disk: disk::Disk,
    serving: serve::Serving,
    releases: trim::Releases,
    /// Shards of which indexes must be told.
    announce: Vec<usize>,
    /// Shards that lack something, and terms that lack entries.
    wanting: BTreeSet<usize>,
    lacking: BTreeSet<Term>,
    /// Whether it is time to look what can be asked for, and whether all is complete now.
    kick: bool,
    recheck: bool,
    /// When the controllers were last asked for views.
    told: Option<Nanos>,
    tick_armed: bool,
    report_armed: bool,
    sweep_armed: bool,
    /// What recovery has to tell.
    notices: Vec<String>,
    counts: Counts,
}

/// What is counted for an operator.
#[derive(Debug, Default)]
struct Counts {
    records: u64,
    bytes: u64,
    freed: u64,
    walked: u64,
    refused: u64,
    repairs: u64,
    damaged: u64,
    hits: u64,
    misses: u64,
}

impl Storage {
    fn me(&self) -> NodeId {
        self.membership.me().node
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// Asks the controllers for views that others know already; not too often.
    fn tell(&mut self, now: Nanos, out: &mut Out<Message>) {
        let due = self
            .told
            .is_none_or(|at| now >= at + self.config.timing.again_after);
        if due {
            self.told = Some(now);
            self.membership.tell(out);
        }
    }

    /// The place of a shard, made if need be.
    fn place(&mut self, shard: Shard) -> usize {
        let next = self.shards.len();
        let place = *self.places.entry(shard).or_insert(next);
        if place == next {
            let mut new = ShardLog::new(shard);
            if let Some(term) = self.terms.get_mut(&shard.term)
                && let Some(engine) = term.engine(shard.engine)
            {
                term.shards[engine] = Some(place);
                new.order(term.ordered[engine]);
                new.announced = new.ordered;
            }
            self.shards.push(new);
        }
        place
    }

    /// Up to where a shard is as durable as the level asks for.
    fn below(&self, shard: &ShardLog) -> u32 {
        match self.config.level {
            _ if self.has(Bug::ReportGaps) => shard.seen,
            Level::Synced if !self.has(Bug::ReportBeforeSync) => shard.durable,
            _ => shard.have,
        }
    }

    /// A record that was kept is no more.
    fn forget(&mut self, kept: &Kept) {
        self.counts.records -= 1;
        self.counts.bytes -= u64::from(kept.bytes);
        if kept.cached.is_some() {
            self.cache.remove(kept.bytes);
        }
    }

    /// Frees a record, on disk too; `seq` is its place, if it is known.
    fn free(&mut self, place: usize, local: u32, seq: Option<SeqNum>) {
        let shard = &mut self.shards[place];
        let Some(before) = shard.free(local) else {
            return;
        };
        self.counts.freed += 1;
        self.disk.freed.insert((place, local / CHUNK));
        if let Some(kept) = before {
            self.disk.delete(layout::record_key(shard.id, local));
            self.forget(&kept);
        }
        if let Some(seq) = seq {
            self.memos.remove(seq);
        }
    }

    /// What is regularly looked at: what is missing, and who waits.
    fn tick(&mut self, now: Nanos, out: &mut Out<Message>) {
        self.report_again(now, out);
        self.chase_entries(now, out);
        self.give_up(now, out);
        self.kick = true;
    }

    fn arm(&mut self, now: Nanos, out: &mut Out<Message>) {
        let busy = || {
            !self.wanting.is_empty()
                || !self.lacking.is_empty()
                || self.serving.parked > 0
                || self.unreflected().next().is_some()
        };
        if !self.tick_armed && busy() {
            self.tick_armed = true;
            out.timer(self.config.timing.again_after.max(2) / 2, TICK);
        }
        if !self.sweep_armed && self.releases.busy() {
            self.sweep_armed = true;
            out.timer(self.releases.pause(now), SWEEP);
        }
    }
}

impl Node for Storage {
    type Message = Message;

    fn on_start(&mut self, _now: Nanos, out: &mut Out<Message>) {
        self.membership.start(out);
        for notice in std::mem::take(&mut self.notices) {
            out.notice(notice);
        }
    }

    fn on_message(&mut self, now: Nanos, from: Peer, message: Message, out: &mut Out<Message>) {
        match message {
            Message::Replicate {
                shard,
                records,
                gone,
            } => self.replicate(now, shard, records, &gone, out),
            Message::Committed { term, entries } => self.committed(now, term, entries, out),
            Message::ReadAt { op, seq } => self.read_at(now, from, op, seq, out),
            Message::Annotate { seq, aux } => self.memos.set(seq, aux),
            Message::FetchRecords {
                shard,
                from: first,
                to,
            } => {
                self.fetch_records(from, shard, first, to, out);
            }
            Message::FetchEntries { term, from: first } => {
                self.fetch_entries(from, term, first, out);
            }
            Message::FetchIndex {
                shard,
                from: first,
                to,
            } => {
                self.fetch_index(from, shard, first, to, out);
            }
            Message::Views { views } => self.learn(now, views, out),
            Message::Request { op, request } => {
                let reply = match request {
                    Request::Status => {
                        let gauges = self.gauges().into_iter();
                        Reply::Status {
                            view: self.membership.newest(),
                            gauges: gauges
                                .map(|(name, value)| (name.to_owned(), value))
                                .collect(),
                        }
                    }
                    _ => Reply::Failed(Failure::Bad("this is a storage".to_owned())),
                };
                out.send(from, Message::Reply { op, reply });
            }
            // Nothing else is said to a storage.
            _ => {}
        }
    }

    fn on_timer(&mut self, now: Nanos, timer: u64, out: &mut Out<Message>) {
        match timer {
            MEMBERSHIP => self.membership.ring(out),
            REPORT => {
                self.report_armed = false;
                self.report(now, true, out);
            }
            TICK => {
                self.tick_armed = false;
                self.tick(now, out);
            }
            SWEEP => {
                self.sweep_armed = false;
                self.sweep(now);
            }
            _ => {}
        }
    }

    fn on_persisted(&mut self, _now: Nanos, token: u64, out: &mut Out<Message>) {
        if token == MEMBERSHIP {
            self.membership.persisted(out);
            return;
        }
        for place in self.disk.persisted(token, &mut self.shards) {
            self.news(place);
        }
    }

    fn on_read(&mut self, _: Nanos, token: u64, value: Option<Vec<u8>>, out: &mut Out<Message>) {
        self.read_done(token, value.as_deref(), out);
    }

    fn on_turn_end(&mut self, now: Nanos, out: &mut Out<Message>) {
        self.cache.shrink(&mut self.shards);
        self.tell_indexes(out);
        self.disk.flush(&mut self.shards, false, out);
        self.report(now, false, out);
        if std::mem::take(&mut self.kick) {
            self.chase(now, out);
        }
        if std::mem::take(&mut self.recheck) {
            self.check_complete(out);
        }
        self.arm(now, out);
    }

    fn gauges(&self) -> Vec<(&'static str, u64)> {
        let Counts {
            records,
            bytes,
            freed,
            walked,
            refused,
            repairs,
            damaged,
            hits,
            misses,
        } = self.counts;
        let sum = |of: fn(&ShardLog) -> usize| self.shards.iter().map(of).sum::<usize>() as u64;
        let cuts: usize = self.terms.values().map(TermLog::cuts).sum();
        vec![
            ("view", u64::from(self.membership.newest())),
            ("member", u64::from(self.membership.is_member())),
            ("complete", u64::from(self.membership.complete)),
            ("records", records),
            ("bytes", bytes),
            ("freed", freed),
            ("walked", walked),
            ("pending_bytes", sum(|shard| shard.pending)),
            ("holes", sum(|shard| shard.holes.len())),
            ("wanting", self.wanting.len() as u64),
            ("cuts", cuts as u64),
            ("repairs", repairs),
            ("damaged", damaged),
            ("not_accepted", refused),
            ("cache_records", self.cache.count as u64),
            ("cache_bytes", self.cache.bytes as u64),
            ("cache_hits", hits),
            ("cache_misses", misses),
            ("memos", self.memos.len() as u64),
            ("parked", self.serving.parked as u64),
        ]
    }
}
