//! Taking records in, and saying what is here.

use super::shard::{Kept, Role, ShardLog};
use super::{REPORT, Storage, layout};
use crate::{Message, Record, Shard, Term};
use std::sync::Arc;
use triptych_nodes::{Nanos, Out};

/// Local ids from here on are not taken: see the agreement on overflow.
const LOCALS: u32 = 1 << 31;
/// How far beyond the prefix a record may be.
const WINDOW: u32 = 1 << 22;

impl Storage {
    /// Records have come, from their engine or from another keeper.
    pub(super) fn replicate(
        &mut self,
        now: Nanos,
        id: Shard,
        records: Vec<(u32, Arc<Record>)>,
        gone: &[u32],
        out: &mut Out<Message>,
    ) {
        if id.term.view > self.membership.newest() {
            return self.tell(now, out);
        }
        let Some(&place) = self.places.get(&id) else {
            return;
        };
        let bound = self.config.limits.pending_bytes.saturating_mul(2);
        let before = self.below(&self.shards[place]);
        let shard = &mut self.shards[place];
        let limit = match shard.role {
            Role::None => return,
            Role::Current => LOCALS,
            // What was not ordered then never will be.
            Role::Ended => shard.ordered,
        };
        let limit = limit.min(shard.have.saturating_add(WINDOW));
        let (have, holes) = (shard.have, shard.holes.len());
        let (mut kept, mut copied) = (false, 0);
        for (local, record) in records {
            if local >= limit || (local < have && !shard.holes.contains(&local)) {
                continue;
            }
            let mut meta = Kept::of(&record);
            let bytes = meta.bytes;
            // What closes a gap is taken for longer, so that the gap can be closed at all.
            let bound = if local == shard.have {
                bound.saturating_mul(2)
            } else {
                bound
            };
            if local >= shard.ordered && shard.pending + bytes as usize > bound {
                self.counts.refused += 1;
                continue;
            }
            let key = layout::record_key(id, local);
            let value = layout::encode_record(&key, &record);
            meta.cached = Some(record);
            if !shard.keep(local, meta) {
                continue;
            }
            if local == shard.have {
                shard.have += 1;
            }
            kept = true;
            self.disk.put(key, value);
            self.cache.add(place, local, bytes);
            self.counts.records += 1;
            self.counts.bytes += u64::from(bytes);
            copied += u64::from(local < shard.ordered);
        }
        if !gone.is_empty() {
            let limit = limit.min(shard.ordered);
            let gone = gone.iter().filter(|&&local| local < limit);
            gone.for_each(|&local| self.free(place, local, None));
        }
        let shard = &mut self.shards[place];
        shard.advance();
        let more = shard.have > have || shard.holes.len() < holes;
        if kept || more {
            self.disk.wait(place, shard);
        }
        self.recheck |= more && shard.role == Role::Ended;
        if copied > 0 {
            self.counts.repairs += copied;
            self.look_again(id.term);
        }
        self.gaps(now, place, more, out);
        if self.below(&self.shards[place]) > before {
            self.news(place);
        }
    }

    /// Notes what is missing in a shard after something has come, and asks for it if that was shown
    /// more than once.
    fn gaps(&mut self, now: Nanos, place: usize, more: bool, out: &mut Out<Message>) {
        let shard = &mut self.shards[place];
        let missing = match shard.role {
            Role::Ended => shard.ordered > shard.have,
            _ => shard.seen > shard.have,
        };
        if !missing && shard.holes.is_empty() {
            (shard.gap, shard.asked) = (None, None);
            self.kick |= self.wanting.remove(&place);
            return;
        }
        self.wanting.insert(place);
        if more {
            // What was asked for has come, or something else: what is missing now is another gap.
            (shard.gap, shard.asked) = (Some((now, 1)), None);
            self.kick |= shard.role == Role::Ended || !shard.holes.is_empty();
        } else {
            let (since, shown) = shard.gap.unwrap_or((now, 0));
            shard.gap = Some((since, shown + 1));
            if shown + 1 == 2 && shard.role == Role::Current {
                self.chase_shard(now, place, out);
            }
        }
    }

    /// More of a shard counts: to be reported, or to be complete.
    pub(super) fn news(&mut self, place: usize) {
        let shard = &self.shards[place];
        match shard.role {
            Role::Current => {
                if let Some(term) = self.terms.get_mut(&shard.id.term) {
                    term.unreported = true;
                }
            }
            Role::Ended => self.recheck = true,
            Role::None => {}
        }
    }

    /// The terms of the newest view.
    fn current(&self) -> impl Iterator<Item = Term> + use<> {
        let terms = self.membership.current().map(|view| view.terms());
        terms.into_iter().flatten()
    }

    fn stored(&self, term: Term) -> Vec<(triptych_nodes::NodeId, u32)> {
        let shards = self
            .terms
            .get(&term)
            .into_iter()
            .flat_map(|term| &term.shards);
        let shards = shards.flatten().map(|&place| &self.shards[place]);
        let shards = shards.filter(|shard| shard.role == Role::Current);
        let below = shards.map(|shard| (shard.id.engine, self.below(shard)));
        below.filter(|&(_, below)| below > 0).collect()
    }

    /// Reports what is new: at once if that was not done for a while, or when it is time (`due`).
    pub(super) fn report(&mut self, now: Nanos, due: bool, out: &mut Out<Message>) {
        let timing = self.config.timing;
        let every = timing.report_every.max(1);
        let mut next: Option<Nanos> = None;
        for term in self.current() {
            let Some(log) = self.terms.get(&term).filter(|log| log.unreported) else {
                continue;
            };
            let at = match log.reported {
                _ if timing.on_ticks && due => now,
                _ if timing.on_ticks => (now / every + 1) * every,
                Some(before) => before + every,
                None => now,
            };
            if at <= now {
                self.send_report(now, term, out);
            } else {
                next = Some(next.map_or(at, |next| next.min(at)));
            }
        }
        if let Some(next) = next
            && !self.report_armed
        {
            self.report_armed = true;
            out.timer(next - now, REPORT);
        }
    }

    fn send_report(&mut self, now: Nanos, term: Term, out: &mut Out<Message>) {
        let below = self.stored(term);
        let (Some(log), Some(view)) = (self.terms.get_mut(&term), self.membership.current()) else {
            return;
        };
        (log.reported, log.unreported) = (Some(now), false);
        if !below.is_empty()
            && let Some(primary) = view.metas(term.log).first()
        {
            out.send(primary.node, Message::Stored { term, below });
        }
    }

    /// Shards of which more was reported than is ordered.
    pub(super) fn unreflected(&self) -> impl Iterator<Item = &ShardLog> {
        let shards = self.current().filter_map(|term| self.terms.get(&term));
        let places = shards.flat_map(|term| term.shards.iter().flatten());
        let shards = places.map(|&place| &self.shards[place]);
        shards.filter(|shard| shard.role == Role::Current && self.below(shard) > shard.ordered)
    }

    /// Repeats reports that no cut reflects, and asks whether there was one.
    pub(super) fn report_again(&mut self, now: Nanos, out: &mut Out<Message>) {
        let again = self.config.timing.again_after;
        let mut terms: Vec<Term> = self.unreflected().map(|shard| shard.id.term).collect();
        terms.dedup();
        for term in terms {
            let log = self.terms.get(&term);
            let reported = log.and_then(|log| log.reported);
            if reported.is_none_or(|at| now >= at + again) {
                self.send_report(now, term, out);
                self.chase_term(now, term, out);
            }
        }
    }
}
