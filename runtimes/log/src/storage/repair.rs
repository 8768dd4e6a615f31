//! Getting what is missing: records and entries.

use super::shard::Role;
use super::{Bug, Storage};
use crate::{Message, Term, View};
use std::sync::Arc;
use triptych_nodes::{Nanos, NodeId, Out};

/// Records that are asked for at once.
const AT_ONCE: u32 = 512;
/// Shards of ended terms that are copied at the same time.
const COPYING: usize = 8;

impl Storage {
    /// Asks for everything that is missing and was not asked for lately.
    pub(super) fn chase(&mut self, now: Nanos, out: &mut Out<Message>) {
        let again = self.config.timing.again_after;
        let copying = |place: &&usize| {
            let shard = &self.shards[**place];
            shard.role == Role::Ended && shard.asked.is_some_and(|at| now < at + again)
        };
        let mut copied = self.wanting.iter().filter(copying).count();
        for place in self.wanting.iter().copied().collect::<Vec<_>>() {
            let shard = &self.shards[place];
            let fresh = shard.asked.is_some_and(|at| now < at + again);
            match shard.role {
                _ if fresh => {}
                Role::Ended if copied >= COPYING => {}
                Role::Ended => copied += usize::from(self.chase_shard(now, place, out)),
                Role::Current | Role::None => {
                    let since = shard.gap.map_or(now, |(since, _)| since);
                    if !shard.holes.is_empty() || now >= since + again {
                        self.chase_shard(now, place, out);
                    }
                }
            }
        }
    }

    /// Asks for what is missing in a shard, and says whether there is something.
    pub(super) fn chase_shard(&mut self, now: Nanos, place: usize, out: &mut Out<Message>) -> bool {
        let me = self.me();
        let shard = &mut self.shards[place];
        let total = match shard.role {
            Role::None => Some(0),
            Role::Current => None,
            Role::Ended => Some(shard.ordered),
        };
        let wanted = shard.wanted(total, AT_ONCE);
        let wanted = wanted.filter(|_| shard.role != Role::None);
        let (Some((from, to)), Some(view)) = (wanted, self.membership.current()) else {
            self.wanting.remove(&place);
            shard.asked = None;
            return false;
        };
        let id = shard.id;
        let others = view.keepers(id).iter().copied().filter(|&node| node != me);
        // The engine has what is new; of what is old it may have something too.
        let mut targets: Vec<NodeId> = others.collect();
        match shard.role {
            Role::Current => targets.insert(0, id.engine),
            _ => targets.push(id.engine),
        }
        // Whoever has answered is asked again.
        shard.turn += usize::from(shard.asked.is_some());
        shard.asked = Some(now);
        let target = targets[shard.turn % targets.len()];
        let shard = id;
        out.send(target, Message::FetchRecords { shard, from, to });
        true
    }

    /// Asks for entries that have been missing for a while.
    pub(super) fn chase_entries(&mut self, now: Nanos, out: &mut Out<Message>) {
        let again = self.config.timing.again_after;
        for term in self.lacking.iter().copied().collect::<Vec<_>>() {
            let Some(log) = self.terms.get(&term) else {
                continue;
            };
            let waited = log.gap.is_none_or(|(since, _)| now >= since + again);
            if log.last.is_some() || waited {
                self.chase_term(now, term, out);
            }
        }
    }

    /// Asks somebody for the entries of a term from the first on that is not here; not too often.
    pub(super) fn chase_term(&mut self, now: Nanos, term: Term, out: &mut Out<Message>) {
        let (me, again) = (self.me(), self.config.timing.again_after);
        let (Some(log), Some(of), Some(newest)) = (
            self.terms.get_mut(&term),
            self.membership.view(term.view),
            self.membership.current(),
        ) else {
            return;
        };
        if log.done || log.asked.is_some_and(|at| now < at + again) {
            return;
        }
        let targets = sources(of, newest, term, me);
        log.turn += usize::from(log.asked.is_some());
        log.asked = Some(now);
        if let Some(&target) = targets.get(log.turn % targets.len().max(1)) {
            let from = log.applied;
            out.send(target, Message::FetchEntries { term, from });
        }
    }

    /// Whether all is here that the newest view has this node keep; if so, tells the controllers.
    pub(super) fn check_complete(&mut self, out: &mut Out<Message>) {
        let Some(view) = self.membership.current() else {
            return;
        };
        if self.membership.complete >= view.id {
            return;
        }
        if !self.has(Bug::SkipRepair) && !self.is_complete(view) {
            return;
        }
        self.membership.complete = view.id;
        self.membership.tell(out);
    }

    fn is_complete(&self, view: &View) -> bool {
        let me = self.me();
        let old = view.holders.range(..view.id);
        old.into_iter().all(|(&id, engines)| {
            let mut mine = engines
                .iter()
                .filter(|(_, nodes)| nodes.contains(&me))
                .peekable();
            if mine.peek().is_none() {
                return true;
            }
            mine.all(|(&engine, _)| {
                (0..view.shape.logs).all(|log| {
                    let term = Term { view: id, log };
                    let done = self.terms.get(&term).is_some_and(|log| log.done);
                    let place = self.places.get(&crate::Shard { term, engine });
                    let whole = place.map(|&place| &self.shards[place]);
                    done && whole.is_some_and(|shard| {
                        shard.holes.is_empty() && self.below(shard) >= shard.ordered
                    })
                })
            })
        })
    }

    /// Whether what is missing in a shard of an ended term is to be copied.
    pub(super) fn copies(&self, place: usize) -> bool {
        let shard = &self.shards[place];
        let lacks = shard.have < shard.ordered || !shard.holes.is_empty();
        lacks && shard.role == Role::Ended && !self.has(Bug::SkipRepair)
    }
}

/// Who may have the entries of a term, the primary first.
fn sources(of: &Arc<View>, newest: &Arc<View>, term: Term, me: NodeId) -> Vec<NodeId> {
    let metas = of.metas(term.log).into_iter();
    let storages = of.storages.iter().chain(&newest.storages).copied();
    let mut all: Vec<NodeId> = Vec::new();
    for member in metas.chain(storages) {
        if member.node != me && !all.contains(&member.node) {
            all.push(member.node);
        }
    }
    all
}
