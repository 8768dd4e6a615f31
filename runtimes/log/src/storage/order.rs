//! Views, entries, and what they order.

use super::shard::{Role, Slot};
use super::term::TermLog;
use super::{Bug, Storage, layout};
use crate::{Entry, Message, SeqNum, Shard, Step, Term, View};
use std::ops::RangeInclusive;
use std::sync::Arc;
use triptych_nodes::{Nanos, NodeId, Out};

/// Records that one message to an index is about, at most.
const ITEMS: u32 = 4096;

impl Storage {
    /// Views have come.
    pub(super) fn learn(&mut self, now: Nanos, views: Vec<Arc<View>>, out: &mut Out<Message>) {
        let new = self.membership.learn(views);
        let Some(first) = new.first() else { return };
        for view in &new {
            for term in view.terms() {
                let log = self.terms.entry(term).or_insert_with(|| TermLog::new(term));
                log.learn(&view.engines);
                for (&shard, &place) in self.places.range(shards_of(term)) {
                    if let Some(engine) = log.engine(shard.engine) {
                        log.shards[engine] = Some(place);
                    }
                }
            }
            for (log, end) in (0..).zip(&view.finals) {
                let term = Term {
                    view: view.id.saturating_sub(1),
                    log,
                };
                if let Some(log) = self.terms.get_mut(&term) {
                    log.last = Some(end.entries);
                    end.tail
                        .iter()
                        .for_each(|entry| log.offer(Arc::clone(entry), false));
                }
            }
        }
        let from = first.id.saturating_sub(1);
        self.take_roles();
        for term in self.terms.keys().copied().collect::<Vec<_>>() {
            if (from..=self.membership.newest()).contains(&term.view) {
                self.apply(now, term, out);
            }
        }
        self.chase_entries(now, out);
        (self.kick, self.recheck) = (true, true);
    }

    /// What this node has to do with each shard in the newest view.
    fn take_roles(&mut self) {
        let (Some(view), me) = (self.membership.current().cloned(), self.membership.me()) else {
            return;
        };
        let mut roles = vec![Role::None; self.shards.len()];
        for (&id, engines) in &view.holders {
            let role = match id {
                _ if id < view.id => Role::Ended,
                _ if id == view.id && view.storages.contains(&me) => Role::Current,
                _ => continue,
            };
            let mine = engines.iter().filter(|(_, nodes)| nodes.contains(&me.node));
            for (&engine, _) in mine {
                for log in 0..view.shape.logs {
                    let term = Term { view: id, log };
                    let place = self.place(Shard { term, engine });
                    roles.resize(self.shards.len(), Role::None);
                    roles[place] = role;
                }
            }
        }
        for (place, role) in roles.into_iter().enumerate() {
            let shard = &mut self.shards[place];
            if shard.role != role {
                (shard.role, shard.gap, shard.asked, shard.turn) = (role, None, None, 0);
            }
            if self.copies(place) {
                self.wanting.insert(place);
            } else if role != Role::Current {
                self.wanting.remove(&place);
            }
        }
    }

    /// Entries have come, from the primary or from whoever was asked for them.
    pub(super) fn committed(
        &mut self,
        now: Nanos,
        term: Term,
        entries: Vec<Arc<Entry>>,
        out: &mut Out<Message>,
    ) {
        if term.view > self.membership.newest() {
            return self.tell(now, out);
        }
        let Some(log) = self
            .terms
            .get_mut(&term)
            .filter(|log| log.engines.is_some())
        else {
            return;
        };
        let before = log.applied;
        entries
            .into_iter()
            .for_each(|entry| log.offer(entry, false));
        self.apply(now, term, out);
        let Some(log) = self.terms.get_mut(&term).filter(|log| log.lacks()) else {
            return;
        };
        if log.applied > before {
            (log.gap, log.asked) = (Some((now, 1)), None);
            if log.last.is_some() {
                self.chase_term(now, term, out);
            }
        } else {
            let (since, shown) = log.gap.unwrap_or((now, 0));
            log.gap = Some((since, shown + 1));
            if shown + 1 == 2 {
                self.chase_term(now, term, out);
            }
        }
    }

    /// Applies what can be applied of a term.
    pub(super) fn apply(&mut self, now: Nanos, term: Term, out: &mut Out<Message>) {
        loop {
            let Some(log) = self.terms.get_mut(&term) else {
                return;
            };
            let Some((entry, found)) = log.next() else {
                break;
            };
            if log.apply(&entry).is_err() {
                let number = entry.number;
                let Term { view, log } = term;
                out.notice(format!(
                    "entry {number} of log {log} in view {view} does not follow those before it"
                ));
                break;
            }
            if !found {
                let key = layout::entry_key(term, entry.number);
                let value = layout::encode_entry(&key, &entry);
                self.disk.put(key, value);
            }
            self.step(term, &entry.step, found);
        }
        self.unpark(term, out);
        let Some(log) = self.terms.get_mut(&term) else {
            return;
        };
        if log.lacks() {
            self.lacking.insert(term);
        } else {
            self.lacking.remove(&term);
            (log.gap, log.asked) = (None, None);
            if log.last.is_some() && !log.done {
                log.done = true;
                self.end(term);
                self.unpark(term, out);
            }
        }
        if let Some(log) = self.terms.get_mut(&term)
            && log.lacks()
            && log.gap.is_none()
        {
            log.gap = Some((now, 0));
        }
    }

    /// What an entry does; `found` if it was applied before this life.
    fn step(&mut self, term: Term, step: &Step, found: bool) {
        match step {
            Step::Cut {
                first,
                starts,
                deltas,
            } => {
                let Some(log) = self.terms.get(&term) else {
                    return;
                };
                for (engine, (&start, &delta)) in starts.iter().zip(deltas).enumerate() {
                    let place = log.shards.get(engine).copied().flatten();
                    let Some(place) = place.filter(|_| delta > 0) else {
                        continue;
                    };
                    let shard = &mut self.shards[place];
                    if shard.announced == shard.ordered && !found {
                        self.announce.push(place);
                    }
                    shard.order(start + delta);
                    if found {
                        shard.announced = shard.ordered;
                    }
                    if self.copies(place) {
                        self.wanting.insert(place);
                        self.kick = true;
                    }
                }
                if self.releases.reach(term.log) > SeqNum::new(term, *first) {
                    self.releases.look_from(term.log, term.view);
                }
            }
            Step::Trim(trim) => {
                if self.has(Bug::FreeOnTrim) {
                    let mut trim = trim.clone();
                    trim.streams
                        .iter_mut()
                        .for_each(|(_, bound)| *bound = bound.next());
                    self.release(term, &trim, &[]);
                }
            }
            Step::Release { trim, refused } => self.release(term, trim, refused),
        }
    }

    /// A term has ended: what it has not ordered goes.
    fn end(&mut self, term: Term) {
        let places: Vec<usize> = self
            .places
            .range(shards_of(term))
            .map(|(_, &at)| at)
            .collect();
        for place in places {
            let (keeps, drops) = (self.has(Bug::KeepUnordered), self.has(Bug::DropOnFinal));
            let shard = &mut self.shards[place];
            let (id, total) = (shard.id, shard.ordered);
            if !keeps {
                let from = total.saturating_sub(u32::from(drops));
                let have = shard.have.min(total);
                for (local, kept) in shard.cut_off(from) {
                    self.releases.drop_later(layout::record_key(id, local));
                    self.forget(&kept);
                }
                let shard = &mut self.shards[place];
                if drops {
                    // It does not even know.
                    (shard.have, shard.seen, shard.durable) = (have, have, have);
                }
            }
            let shard = &mut self.shards[place];
            (shard.gap, shard.asked, shard.turn) = (None, None, 0);
            if self.copies(place) {
                self.wanting.insert(place);
            }
        }
        (self.kick, self.recheck) = (true, true);
    }

    /// Tells indexes what was ordered since this was last done, if this node is the one to do it.
    pub(super) fn tell_indexes(&mut self, out: &mut Out<Message>) {
        for place in std::mem::take(&mut self.announce) {
            let shard = &mut self.shards[place];
            let (id, mut from, to) = (shard.id, shard.announced, shard.ordered);
            shard.announced = to;
            let Some(view) = self.membership.current() else {
                continue;
            };
            if view.keepers(id).first() != Some(&self.membership.me().node) {
                continue;
            }
            while from < to
                && let Some(message) = self.indexed(place, from, to)
                && let Message::Indexed { to, .. } = message
            {
                let indexes = view.indexes(id.term.log);
                if let Some((last, others)) = indexes.split_last() {
                    others
                        .iter()
                        .for_each(|index| out.send(index.node, message.clone()));
                    out.send(last.node, message);
                }
                from = to;
            }
        }
    }

    /// What an index wants to know of ordered records of a shard, of as many as go into one message;
    /// none if nothing of it is here.
    pub(super) fn indexed(&self, place: usize, from: u32, to: u32) -> Option<Message> {
        let shard = &self.shards[place];
        let end = to.min(shard.ordered).min(from.saturating_add(ITEMS));
        let mut items = Vec::with_capacity(end.saturating_sub(from) as usize);
        let mut to = from;
        while to < end {
            match shard.slot(to) {
                Slot::Kept(kept) => items.push((to, kept.item())),
                Slot::Freed => {}
                Slot::Missing | Slot::Damaged => break,
            }
            to += 1;
        }
        let shard = shard.id;
        (to > from).then_some(Message::Indexed {
            shard,
            from,
            to,
            items,
        })
    }
}

/// All shards of a term.
fn shards_of(term: Term) -> RangeInclusive<Shard> {
    let shard = |engine| Shard { term, engine };
    shard(NodeId(0))..=shard(NodeId(u16::MAX))
}
