//! What waits at a server: requests, for keys, for versions or for a newer ring, and replies to writes
//! that are made and not as durable as the level says. Whatever waits, others go on.

use super::clients::{Done, Stop};
use super::{NodeBug, Outbox, Server};
use crate::clock::Clock;
use crate::message::Message;
use crate::port::{Failure, Reply, Request};
use crate::version::Key;
use std::collections::{BTreeMap, BTreeSet};
use triptych_nodes::{Nanos, Peer};

/// A request, which may have to wait.
pub(super) struct Parked {
    pub(super) from: Peer,
    pub(super) op: u64,
    pub(super) request: Request,
    /// When it came.
    pub(super) since: Nanos,
    /// How long before that it was asked first.
    pub(super) age: Nanos,
}

/// A write that is made, and not as durable as the level says.
struct Promised {
    from: Peer,
    op: u64,
    since: Nanos,
    reply: Reply,
}

/// What requests may wait for.
#[derive(Default, PartialEq)]
struct Sight {
    received: Clock,
    stable: Clock,
    frozen: usize,
    epoch: u64,
    /// When the row was asked for last that still says this epoch.
    row_at: Nanos,
}

/// What waits.
#[derive(Default)]
pub(super) struct Desk {
    next: u64,
    parked: BTreeMap<u64, Parked>,
    /// Who waits for a key.
    by_key: BTreeMap<Key, Vec<u64>>,
    /// Keys of requests that wait for keys, and how many of those name each: they are not forgotten
    /// meanwhile, or a request of many keys might never find all of them.
    pinned: BTreeMap<Key, usize>,
    /// Who waits for something else.
    others: BTreeSet<u64>,
    /// By the number of the own version, and by when it came.
    promised: BTreeMap<(u64, u64), Promised>,
    /// What was there when others were looked at last.
    seen: Sight,
}

impl Desk {
    pub(super) fn len(&self) -> usize {
        self.parked.len() + self.promised.len()
    }

    /// Whether a request waits that names this key.
    pub(super) fn is_pinned(&self, key: &Key) -> bool {
        self.pinned.contains_key(key)
    }

    fn park(&mut self, id: u64, parked: Parked) {
        for key in keys_of(&parked.request) {
            *self.pinned.entry(key.clone()).or_default() += 1;
        }
        self.parked.insert(id, parked);
    }

    fn unpark(&mut self, id: u64) -> Option<Parked> {
        let parked = self.parked.remove(&id)?;
        for key in keys_of(&parked.request) {
            if let Some(many) = self.pinned.get_mut(key) {
                *many -= 1;
                if *many == 0 {
                    self.pinned.remove(key);
                }
            }
        }
        Some(parked)
    }

    /// Nobody listens any more.
    pub(super) fn gone(&mut self, client: Peer) {
        let gone = self.parked.iter().filter(|(_, p)| p.from == client);
        let gone: Vec<u64> = gone.map(|(&id, _)| id).collect();
        for id in gone {
            self.unpark(id);
            self.others.remove(&id);
        }
        self.promised.retain(|_, promised| promised.from != client);
    }
}

/// The keys that a request looks at.
fn keys_of(request: &Request) -> &[Key] {
    match request {
        Request::Read { keys, .. } | Request::ReadAt { keys, .. } => keys,
        Request::Update { key, .. } => std::slice::from_ref(key),
        Request::Write { .. } | Request::Snapshot { .. } | Request::Status => &[],
    }
}

fn reply(from: Peer, op: u64, reply: Reply, out: &mut Outbox) {
    out.send(from, Message::Reply { op, reply });
}

impl Server {
    pub(super) fn on_request(
        &mut self,
        now: Nanos,
        from: Peer,
        op: u64,
        age: Nanos,
        request: Request,
        out: &mut Outbox,
    ) {
        let parked = Parked {
            from,
            op,
            request,
            since: now,
            age,
        };
        self.serve(now, parked, out);
    }

    fn serve(&mut self, now: Nanos, parked: Parked, out: &mut Outbox) {
        let Parked { from, op, .. } = parked;
        match self.attempt(now, &parked, out) {
            Ok(Done::Reply(answer)) => reply(from, op, answer, out),
            Ok(Done::Promise(number, answer)) => {
                let id = self.desk.next;
                self.desk.next += 1;
                let promised = Promised {
                    from,
                    op,
                    since: parked.since,
                    reply: answer,
                };
                self.desk.promised.insert((number, id), promised);
            }
            Err(Stop::Fail(failure)) => reply(from, op, Reply::Failed(failure), out),
            Err(stop) => {
                let id = self.desk.next;
                self.desk.next += 1;
                match stop {
                    Stop::Keys(keys) => {
                        for key in keys {
                            self.behind.want(&key);
                            self.desk.by_key.entry(key).or_default().push(id);
                        }
                    }
                    _ => drop(self.desk.others.insert(id)),
                }
                self.desk.park(id, parked);
            }
        }
    }

    /// Looks again at what waits, if something has come that it may wait for.
    pub(super) fn wake(&mut self, now: Nanos, out: &mut Outbox) {
        if self.desk.others.is_empty() {
            return;
        }
        let sight = Sight {
            received: self.core.received().clone(),
            stable: self.core.stable().clone(),
            frozen: self.core.frozen().len(),
            epoch: self.ring.epoch,
            row_at: self.members.row_at,
        };
        if sight == self.desk.seen {
            return;
        }
        self.desk.seen = sight;
        for id in std::mem::take(&mut self.desk.others) {
            if let Some(parked) = self.desk.unpark(id) {
                self.serve(now, parked, out);
            }
        }
    }

    /// Keys were loaded.
    pub(super) fn wake_keys(&mut self, now: Nanos, keys: &[Key], out: &mut Outbox) {
        for key in keys {
            for id in self.desk.by_key.remove(key).unwrap_or_default() {
                // It may wait for several keys, and was looked at when the first of them came.
                if let Some(parked) = self.desk.unpark(id) {
                    self.serve(now, parked, out);
                }
            }
        }
    }

    /// Answers the writes that have become durable.
    pub(super) fn keep_promises(&mut self, out: &mut Outbox) {
        if self.desk.promised.is_empty() {
            return;
        }
        let upto = self.durable();
        while let Some(entry) = self.desk.promised.first_entry() {
            if entry.key().0 > upto {
                return;
            }
            let promised = entry.remove();
            reply(promised.from, promised.op, promised.reply, out);
        }
    }

    /// How many of its own versions are as durable as the level says.
    pub(super) fn durable(&self) -> u64 {
        let Some(slot) = self.slot else {
            return 0;
        };
        let further = self.config.further();
        if further == 0 {
            return self.free;
        }
        if self.has_bug(NodeBug::AcksBeforeDurable) {
            return self.core.received().get(slot);
        }
        // Only those count that would inherit.
        let mut at = slot;
        let mut upto = self.free;
        for nth in 0..further {
            let seat = self.ring.successor(at);
            let seat = seat.filter(|seat| seat.is_whole() && seat.slot != slot);
            let (Some(seat), Some(held)) = (seat, self.held.get(nth)) else {
                return self.core.stable().get(slot);
            };
            upto = upto.min(held.get(slot));
            at = seat.slot;
        }
        // What is stable has been received by all, whatever was acknowledged since the ring changed.
        upto.max(self.core.stable().get(slot))
    }

    /// Answers what has waited for too long.
    pub(super) fn give_up(&mut self, now: Nanos, out: &mut Outbox) {
        let patience = self.config.timing.give_up_after;
        let late = |since: Nanos| now >= since.saturating_add(patience);
        let parked = self.desk.parked.iter();
        let gone = parked.filter(|(_, parked)| late(parked.since));
        let gone: Vec<u64> = gone.map(|(&id, _)| id).collect();
        for id in gone {
            self.desk.others.remove(&id);
            if let Some(parked) = self.desk.unpark(id) {
                let failed = Reply::Failed(Failure::Unavailable);
                reply(parked.from, parked.op, failed, out);
            }
        }
        let promised = self.desk.promised.iter();
        let gone = promised.filter(|(_, promised)| late(promised.since));
        let gone: Vec<(u64, u64)> = gone.map(|(&id, _)| id).collect();
        for id in gone {
            if let Some(promised) = self.desk.promised.remove(&id) {
                let failed = Reply::Failed(Failure::Unknown);
                reply(promised.from, promised.op, failed, out);
            }
        }
        // Nobody waits for these keys any more.
        let parked = &self.desk.parked;
        self.desk.by_key.retain(|_, waiting| {
            waiting.retain(|id| parked.contains_key(id));
            !waiting.is_empty()
        });
    }

    /// Answers everything: it is not on the ring any more.
    pub(super) fn dismiss(&mut self, out: &mut Outbox) {
        let desk = std::mem::take(&mut self.desk);
        self.desk.next = desk.next;
        for (_, parked) in desk.parked {
            let failed = Reply::Failed(Failure::Unavailable);
            reply(parked.from, parked.op, failed, out);
        }
        for (_, promised) in desk.promised {
            let failed = Reply::Failed(Failure::Unknown);
            reply(promised.from, promised.op, failed, out);
        }
    }
}
