//! What all parts of an engine need in a turn.

use super::Bug;
use crate::{Failure, Membership, Message, Reply, Timing, ViewId};
use std::cell::Cell;
use triptych_nodes::{Nanos, NodeId, Out, Peer};

/// Who waits for an answer: a client, and its number for what it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiter {
    pub(super) peer: Peer,
    pub(super) op: u64,
}

/// One call of the node: when it is, what is known of the cluster, and where effects go.
pub(super) struct Turn<'a> {
    pub(super) now: Nanos,
    pub(super) out: &'a mut Out<Message>,
    pub(super) members: &'a Membership,
    pub(super) bug: Option<Bug>,
    /// When the controllers were asked for newer views last.
    pub(super) told: &'a Cell<Option<Nanos>>,
}

impl Turn<'_> {
    pub(super) fn send(&mut self, to: NodeId, message: Message) {
        self.out.send(to, message);
    }

    pub(super) fn reply(&mut self, to: Waiter, reply: Reply) {
        let op = to.op;
        self.out.send(to.peer, Message::Reply { op, reply });
    }

    pub(super) fn fail(&mut self, to: Waiter, failure: Failure) {
        self.reply(to, Reply::Failed(failure));
    }

    pub(super) fn timing(&self) -> &Timing {
        &self.members.config().timing
    }

    pub(super) fn again_after(&self) -> Nanos {
        self.timing().again_after
    }

    /// Somebody knows a newer view: asks for it, but not all the time.
    pub(super) fn ask_for_views(&mut self) {
        let told = self.told.get();
        if told.is_none_or(|at| self.is_over(at, self.again_after())) {
            self.members.tell(self.out);
            self.told.set(Some(self.now));
        }
    }

    /// Whether so much time has passed since then.
    pub(super) fn is_over(&self, since: Nanos, span: Nanos) -> bool {
        self.now >= since.saturating_add(span)
    }

    /// Whether an engine of the newest view is this one, in this life.
    pub(super) fn is_engine(&self) -> bool {
        let view = self.members.current();
        view.is_some_and(|view| view.engines.contains(&self.members.me()))
    }

    /// Engines that index a log in the newest view, without this one.
    pub(super) fn other_indexes(&self, log: crate::LogId) -> Vec<NodeId> {
        let Some(view) = self.members.current() else {
            return Vec::new();
        };
        let indexes = view.indexes(log).into_iter().map(|member| member.node);
        indexes
            .filter(|&node| node != self.members.me().node)
            .collect()
    }

    /// Who can tell the entries of a log's metalog in a view: its sequencers, the primary first, then
    /// its storages.
    pub(super) fn tellers(&self, view: ViewId, log: crate::LogId) -> Vec<NodeId> {
        let Some(view) = self.members.view(view) else {
            return Vec::new();
        };
        let metas = view.metas(log).into_iter();
        let all = metas.chain(view.storages.iter().copied());
        all.map(|member| member.node).collect()
    }
}

/// One of several, by the number of the attempt.
pub(super) fn nth(of: &[NodeId], attempt: usize) -> Option<NodeId> {
    of.get(attempt.checked_rem(of.len())?).copied()
}
