//! Who lives, who acts, and whether a new view is wanted: from what was heard, and when.

use super::plan::{self, Alive, Living};
use crate::{Config, Member, View, ViewId};
use std::collections::BTreeMap;
use std::rc::Rc;
use triptych_nodes::{Nanos, NodeId};

/// Why the next view is wanted, the most pressing first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A member was not heard of for too long.
    Died,
    /// A sequencer has sealed the view: somebody began to end it, or its numbers run out.
    Sealed,
    /// A member lives another life than the view names.
    Restarted,
    /// Nodes know a newer view than this controller does: whoever had it chosen did not get to say
    /// so, and the register tells.
    Behind,
    /// A configured node lives, and is in no role.
    Joined,
    /// There is none yet.
    First,
}

/// What a node said last.
#[derive(Clone, Copy, Debug)]
struct Heard {
    member: Member,
    at: Nanos,
    view: ViewId,
    complete: ViewId,
    sealed: ViewId,
}

/// What a controller knows about the others.
#[derive(Clone, Debug)]
pub struct Watch {
    config: Rc<Config>,
    me: NodeId,
    start: Nanos,
    nodes: BTreeMap<NodeId, Heard>,
    controllers: BTreeMap<NodeId, Nanos>,
    /// Since when there is each reason.
    reasons: BTreeMap<Reason, Nanos>,
}

impl Watch {
    /// Nothing was heard yet.
    pub fn new(config: Rc<Config>, me: NodeId, now: Nanos) -> Self {
        Watch {
            config,
            me,
            start: now,
            nodes: BTreeMap::new(),
            controllers: BTreeMap::new(),
            reasons: BTreeMap::new(),
        }
    }

    /// Everybody who may be in a view.
    pub fn configured(&self) -> impl Iterator<Item = NodeId> + '_ {
        let roles = [
            &self.config.sequencers,
            &self.config.storages,
            &self.config.engines,
        ];
        roles.into_iter().flatten().copied()
    }

    /// A node lives: what it says in [`crate::Message::Alive`]. What an earlier life of it said is
    /// late, and is ignored.
    pub fn alive(
        &mut self,
        now: Nanos,
        member: Member,
        view: ViewId,
        complete: ViewId,
        sealed: ViewId,
    ) {
        if self.config.controllers.contains(&member.node) {
            self.controllers.insert(member.node, now);
            return;
        }
        if !self.configured().any(|node| node == member.node) {
            return;
        }
        let before = self.nodes.get(&member.node);
        let before = before.filter(|heard| heard.member.life >= member.life);
        if before.is_some_and(|heard| heard.member.life > member.life) {
            return;
        }
        let most = |of: fn(&Heard) -> ViewId, now: ViewId| before.map_or(now, |at| of(at).max(now));
        let heard = Heard {
            member,
            at: now,
            view: most(|heard| heard.view, view),
            complete: most(|heard| heard.complete, complete),
            sealed: most(|heard| heard.sealed, sealed),
        };
        self.nodes.insert(member.node, heard);
    }

    /// The newest view that a node is known to know.
    pub fn knows(&self, node: NodeId) -> ViewId {
        self.nodes.get(&node).map_or(0, |heard| heard.view)
    }

    /// Who lives. Whoever is about to be taken for dead is left out: what fails together is noticed
    /// at different moments, as the last messages went at different moments.
    pub fn living(&self, now: Nanos) -> Alive {
        let timing = &self.config.timing;
        let patience = timing.dead_after.saturating_sub(timing.alive_every);
        let patience = patience.max(timing.dead_after / 2);
        let nodes = self.nodes.values();
        let living = nodes.filter(|heard| now.saturating_sub(heard.at) < patience);
        let living = living.map(|heard| {
            let (life, complete) = (heard.member.life, heard.complete);
            (heard.member.node, Living { life, complete })
        });
        living.collect()
    }

    /// Whether this controller is the lowest that lives, as far as it knows. A new one takes the
    /// others for living until it has given them time.
    pub fn leads(&self, now: Nanos) -> bool {
        let lower = self.config.controllers.iter();
        let mut lower = lower.filter(|&&node| node < self.me);
        lower.all(|node| {
            let heard = self.controllers.get(node).copied().unwrap_or(self.start);
            now.saturating_sub(heard) >= self.config.timing.dead_after
        })
    }

    /// Why a new view is wanted now, if one is: the most pressing reason of those that have lasted
    /// long enough. Some wait a little, so that what happens together makes one view.
    pub fn reason(&mut self, now: Nanos, current: Option<&View>) -> Option<Reason> {
        let reasons = match current {
            Some(current) => self.changes(now, current),
            None => self.first(now),
        };
        self.reasons.retain(|reason, _| reasons.contains(reason));
        for &reason in &reasons {
            self.reasons.entry(reason).or_insert(now);
        }
        let timing = &self.config.timing;
        let due = self.reasons.iter().find(|&(reason, &since)| {
            let patience = match reason {
                Reason::Died | Reason::Sealed => 0,
                Reason::Restarted => timing.again_after,
                Reason::Behind => timing.alive_every,
                Reason::Joined => 2 * timing.alive_every,
                Reason::First if self.living(now).len() == self.configured().count() => 0,
                Reason::First => timing.dead_after,
            };
            now >= since.saturating_add(patience)
        });
        due.map(|(&reason, _)| reason)
    }

    fn first(&self, now: Nanos) -> Vec<Reason> {
        let mut reasons = Vec::new();
        if self.nodes.values().any(|heard| heard.view > 0) {
            reasons.push(Reason::Behind);
        }
        if plan::roles(&self.config, None, &self.living(now)).is_ok() {
            reasons.push(Reason::First);
        }
        reasons
    }

    fn changes(&self, now: Nanos, current: &View) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let patience = self.config.timing.dead_after;
        let roles = [&current.sequencers, &current.storages, &current.engines];
        for member in roles.into_iter().flatten() {
            let heard = self.nodes.get(&member.node);
            let at = heard.map_or(self.start, |heard| heard.at);
            if now.saturating_sub(at) >= patience {
                reasons.push(Reason::Died);
            } else if heard.is_some_and(|heard| heard.member.life > member.life) {
                reasons.push(Reason::Restarted);
            }
            if heard.is_some_and(|heard| heard.sealed >= current.id) {
                reasons.push(Reason::Sealed);
            }
        }
        let living = self.living(now);
        let roles = [&current.sequencers, &current.storages, &current.engines];
        let is_in = |node: &NodeId| {
            let mut members = roles.into_iter().flatten();
            members.any(|member| member.node == *node)
        };
        if !living.keys().all(is_in) {
            reasons.push(Reason::Joined);
        }
        if self.nodes.values().any(|heard| heard.view > current.id) {
            reasons.push(Reason::Behind);
        }
        reasons
    }

    /// How far it has got, for an operator: how many nodes live, and how many are configured.
    pub fn counts(&self, now: Nanos) -> (u64, u64) {
        (
            self.living(now).len() as u64,
            self.configured().count() as u64,
        )
    }
}
